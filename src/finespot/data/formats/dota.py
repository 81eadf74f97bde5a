"""DOTA v1.0, v1.5 and v2.0 (Xia et al., CVPR 2018; Ding et al., TPAMI 2022): `dota:FOLDER` with train/, val/, test/.

A line of a label file is `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`; the box is the envelope of the four corners.
Objects that are marked difficult (2 where the development kit's cutter left a part of one) are ignored objects of
their class. Differs from common readers: lines before the objects are told by what they say, since some files have
none, and a short line is an error; floats, CRLF, a missing flag and pictures of any kind are read; names are compared
with `_` and blanks as `-`. A file `classes.txt` in the folder (a name a line) stands in for DOTA's own classes.

Written are the boxes as corners, clockwise from the top left; a difficult flag without the ignore flag is left out.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from finespot.data.builder import Builder
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.class_lists import class_list_text, read_class_list
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.options import choice
from finespot.data.formats.pairing import by_stem, label_stems, refuse_orphans, tell_absent
from finespot.data.formats.splits import WHOLE, files_in, find_split, ordered
from finespot.data.formats.text import lines, plain, real, whole
from finespot.errors import FineSpotError, unknown
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers import DOTA_CLASSES, dota_key
from finespot.writers.atomic import write_atomic

# Folders of label files; what the downloads hold inside of them varies.
_FOLDERS = {"1.0": ("labelTxt", "labelTxt-v1.0"), "1.5": ("labelTxt-v1.5",), "2.0": ("labelTxt-v2.0",)}
_OWN = "classes.txt"
# The kit's cutter calls the pieces of a picture stem__scale__x___y.
_PIECE = re.compile(r"(.+?)__\d+(?:\.\d+)?__-?\d+___-?\d+")


@register("format", "dota")
class Dota:
    """Pictures in images/, label files in labelTxt/ (labelTxt-v1.5/, labelTxt-v2.0/), below folders of splits or not.

    `version` chooses among the labels where a folder holds those of several, and the classes.
    """

    # `difficult` says what is ignored, and nothing else: the number of another layout does not come back.
    keeps: ClassVar[Keeps] = Keeps(ignored=True)

    def __init__(self, version: str = "auto") -> None:
        self._version = choice("version", version, ("auto", *DOTA_CLASSES))

    def splits(self, place: Path) -> list[str]:
        """The folders with pictures and labels, or `all` where the place itself has them."""
        return list(_split_folders(place))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        folders = _split_folders(place)
        folder = find_split(folders, split, place)
        version = _one_version(folders, place) if self._version == "auto" else self._version
        table = _Table.of(place, version)
        builder = Builder(place.resolve().name, split, Classes(table.names), findings)
        labels = _label_files(_label_folder(folder, version), builder)
        pictures = by_stem(folder / "images", builder)
        refuse_orphans(sorted(labels.items()), pictures, folder / "images", builder)
        absent = []
        for stem, path in pictures.items():
            with builder.guard(path):
                piece = _PIECE.fullmatch(stem)
                builder.picture(path, stem, group=piece[1] if piece else None)
                if stem in labels:
                    _read(labels[stem], table, builder)
                else:
                    absent.append(_label_folder(folder, version) / f"{stem}.txt")
        tell_absent(absent, len(pictures), "an empty file says that a picture holds no object", builder)
        return builder.build()

    def picture(self, split: str, name: str) -> str:
        """`<split>/images/<name>`."""
        return f"{split}/images/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write <split>/labelTxt/<stem>.txt for every picture, and classes.txt where the classes are not DOTA's."""
        version = "1.0" if self._version == "auto" else self._version
        names = parts[0].dataset.classes.names
        keys = [dota_key(name) for name in names]
        times = Counter(keys)
        doubled = [name for name, key in zip(names, keys) if times[key] > 1 or not key]
        if doubled:
            raise FineSpotError(f"the class names {', '.join(doubled)} cannot be told apart in label files", where=root)
        if names != DOTA_CLASSES[version]:
            write_atomic(root / _OWN, class_list_text(names, root / _OWN))
        for part in parts:
            folder = root / part.split / _FOLDERS[version][0]
            for index, stem in enumerate(label_stems(part.names, folder)):
                write_atomic(folder / f"{stem}.txt", _text(part.dataset, index, keys), sync=False)


@dataclass(frozen=True)
class _Table:
    """Class names, and what to do about a name that is not among them."""

    names: tuple[str, ...]
    labels: Mapping[str, int]
    hint: str

    @classmethod
    def of(cls, place: Path, version: str) -> _Table:
        own = place / _OWN
        if not own.is_file():
            names = DOTA_CLASSES[version]
            hint = f"these are the classes of v{version}; list others in {own}"
            return cls(names, {name: label for label, name in enumerate(names)}, hint)
        names = read_class_list(own)
        labels = {dota_key(name): label for label, name in enumerate(names)}
        if len(labels) < len(names):
            raise FineSpotError("expected class names that differ in more than letter case, _ and blanks", where=own)
        return cls(names, labels, f"the classes stand in {own}")

    def label(self, name: str, where: str) -> int:
        label = self.labels.get(dota_key(name))
        if label is None:
            error = unknown("class", name[:60], self.names, where=where)
            raise FineSpotError(error.what, where=where, hint=f"{error.hint} {self.hint}")
        return label


def _split_folders(place: Path) -> dict[str, Path]:
    """Folders with pictures and label files by split."""
    if not place.is_dir():
        raise FineSpotError("expected the folder of a data set but there is none", where=place)
    if _holds(place):
        return {WHOLE: place}
    found = {entry.name: entry for entry in place.iterdir() if _holds(entry)}
    if not found:
        raise FineSpotError("expected folders 'images' and 'labelTxt', or train, val and test with these", where=place)
    return {name: found[name] for name in ordered(found)}


def _holds(folder: Path) -> bool:
    return (folder / "images").is_dir() and bool(_versions(folder))


def _versions(folder: Path) -> list[str]:
    return [version for version, names in _FOLDERS.items() if any((folder / name).is_dir() for name in names)]


def _one_version(folders: Mapping[str, Path], place: Path) -> str:
    found = sorted({version for folder in folders.values() for version in _versions(folder)})
    if len(found) != 1:
        raise FineSpotError(
            f"expected the labels of one version but got those of v{' and v'.join(found)}",
            where=place,
            hint=f"say which, as in dota,version={found[-1]}:{place}",
        )
    return found[0]


def _label_folder(folder: Path, version: str) -> Path:
    """The folder of the version's label files; `labelTxt` is where people put those of any version."""
    names = dict.fromkeys((*_FOLDERS[version], "labelTxt"))
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise FineSpotError(f"expected a folder '{_FOLDERS[version][0]}' but there is none", where=folder)
    return found


def _label_files(folder: Path, builder: Builder) -> dict[str, Path]:
    """Label files by stem, from the folder or the one below it that does not hold the horizontal boxes."""
    names = files_in(folder, ".txt")
    inner = [one for one in sorted(folder.iterdir()) if one.is_dir() and not _horizontal(one.name)]
    if not names and inner:
        if len(inner) > 1:
            listed = ", ".join(one.name for one in inner[:5])
            raise FineSpotError(f"expected label files or one folder with them but got {listed}", where=folder)
        builder.notes.append(f"labels are read from {folder.name}/{inner[0].name}")
        folder, names = inner[0], files_in(inner[0], ".txt")
    return {os.path.splitext(name)[0]: folder / name for name in names}


def _horizontal(name: str) -> bool:
    """Whether a folder of the download holds the labels of the task with horizontal boxes."""
    return name.startswith(".") or name.endswith("_reclabelTxt") or "hbb" in name.lower()


def _read(file: Path, table: _Table, builder: Builder) -> None:
    for where, line in lines(file):
        fields = line.split()
        if _is_header(fields):
            continue
        with builder.guard(where):
            if len(fields) < 9:
                raise FineSpotError(
                    f"expected 8 coordinates, a class and a difficult flag but got {len(fields)} fields", where=where
                )
            points = [real(text, "coordinate", where) for text in fields[:8]]
            flag = fields.pop() if len(fields) > 9 else "0"
            difficult = whole(flag, "difficult flag", where)
            if difficult < 0:
                raise FineSpotError(f"expected a difficult flag of 0 or more but got {flag}", where=where)
            xs, ys = points[::2], points[1::2]
            builder.box(
                (min(xs), min(ys), max(xs), max(ys)),
                table.label(" ".join(fields[8:]), where),
                where=where,
                ignore=difficult > 0,
                attributes={"difficult": difficult},
            )


def _is_header(fields: Sequence[str]) -> bool:
    """Whether a line says something of the picture, such as `gsd:0.15`: a colon within a line that starts as text."""
    return fields[0][0].isalpha() and any(":" in field for field in fields)


def _text(dataset: Dataset, index: int, keys: Sequence[str]) -> str:
    truth = dataset.annotations(index)
    flags = truth.attributes.get("difficult", truth.ignore)
    rows = []
    for (x1, y1, x2, y2), label, ignore, flag in zip(
        truth.boxes.tolist(), truth.labels.tolist(), truth.ignore.tolist(), flags.tolist()
    ):
        if label >= 0:
            corners = " ".join(map(plain, (x1, y1, x2, y1, x2, y2, x1, y2)))
            rows.append(f"{corners} {keys[label]} {max(int(flag), 1) if ignore else 0}\n")
    return "".join(rows)
