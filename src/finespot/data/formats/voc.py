"""Pascal VOC XML (Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010): `voc:FOLDER`.

`Annotations/<stem>.xml` and `JPEGImages/<stem>.jpg` with splits in `ImageSets/Main/<split>.txt`; without such lists
each sub-folder is a split, or all is one split `all`. The files may also lie beside the pictures. Classes are the
names that occur in the files of all splits, sorted, so that ids do not depend on the split or on the order of a folder.
A difficult object is an ignored one, where common converters drop it. Rotated boxes (roLabelImg) become their
envelopes.

`one_based=` says where the corners lie, for all splits alike: `true` (VOC proper: counted from 1, the last pixel
inside), `false` (counted from 0, the right and lower edge outside: labelImg, CVAT), `false-inclusive` (counted from 0,
the last pixel inside) or `auto`, which looks for signs and notes what it took and why. Written is VOC proper, unless
the option says otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from finespot.data.builder import Builder, bytewise, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.options import choice
from finespot.data.formats.pairing import by_stem, label_stems, refuse_orphans, tell_absent
from finespot.data.formats.sizes import StatedSizes
from finespot.data.formats.splits import files_below, find_split, ordered, split_folders
from finespot.data.formats.text import lines
from finespot.data.formats.voc_xml import ONE_BASED, VocFile, edges, guess_one_based, read_voc, voc_text
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS, find_images, open_image
from finespot.registry import register
from finespot.structures import Classes, Size
from finespot.writers import write_atomic

_LABELS = ("Annotations", "annotations")
_PICTURES = ("JPEGImages", "images", "Images")
# A line of a list of one class: `000005 -1`.
_OF_A_CLASS = re.compile(r"\S+\s+(-1|0|1)")

Files = dict[str, VocFile]


@dataclass(frozen=True)
class _Place:
    """Where a split lies; `stems` is its list, None where it is all of its folders."""

    labels: Path
    pictures: Path
    stems: Path | None = None


@register("format", "voc")
class Voc:
    """An XML file a picture, paired by stem."""

    keeps: ClassVar[Keeps] = Keeps(ignored=True, attributes=frozenset({"truncated", "occluded"}))

    def __init__(self, one_based: str = "auto") -> None:
        self.one_based = choice("one_based", one_based, ("auto", *ONE_BASED))

    def splits(self, place: Path) -> list[str]:
        """The lists of ImageSets/Main, else the sub-folders, else `all`."""
        return list(_places(place))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        places = _places(place)
        here = find_split(places, split, place)
        files = {labels: _read_files(labels) for labels in sorted({one.labels for one in places.values()})}
        everything = [file for folder in files.values() for file in folder.values()]
        if findings is None and (faults := [fault for file in everything for fault in file.faults]):
            raise faults[0]
        builder = Builder(place.resolve().name, split, _classes(everything, place), findings)
        one_based = self._one_based(everything, places.values(), builder)
        pictures = by_stem(here.pictures, builder)
        paired, orphans = _pair(files[here.labels], pictures, builder)
        if here.stems is None:
            refuse_orphans(orphans.items(), pictures, here.pictures, builder)
            stems = list(pictures)
        else:
            stems = _listed(here.stems, pictures, paired, builder)
        _add_pictures({pictures[stem]: paired.get(stem) for stem in stems}, one_based, builder)
        absent = [here.labels / f"{stem}.xml" for stem in stems if stem not in paired]
        tell_absent(absent, len(stems), "XML files have the names of their pictures", builder)
        return builder.build()

    def _one_based(self, files: Sequence[VocFile], places: Iterable[_Place], builder: Builder) -> str:
        """The option's value; `auto` is decided on all splits, so that all are read alike."""
        if self.one_based != "auto":
            return self.one_based
        value, reason = guess_one_based(files, _Sizes(places))
        if reason:
            builder.notes.append(
                f"corners read as {'1' if value == 'true' else '0'}-based (one_based={value}): {reason}"
            )
        return value

    def picture(self, split: str, name: str) -> str:
        """Where a picture of this file name belongs, below the data set's folder: all splits share one."""
        return f"JPEGImages/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write an XML file a picture and a list a split; `difficult` says what is ignored, and nothing else."""
        one_based = "true" if self.one_based == "auto" else self.one_based
        written: dict[str, tuple[str, object]] = {}
        for part in parts:
            _need_plain([*part.names, *part.dataset.classes], root)
            stems = label_stems(part.names, root)
            for index, (stem, name) in enumerate(zip(stems, part.names)):
                path = part.dataset.path(index)
                picture = (path, part.dataset.window(index))
                if written.setdefault(stem, picture) != picture:
                    raise FineSpotError(
                        f"{name} of {part.split} and {written[stem][0]} would share a label file",
                        where=root,
                        hint="this layout keeps all splits in one folder: their pictures need different names",
                    )
                truth = part.dataset.annotations(index)
                channels = open_image(path).channels
                text = voc_text(name, channels, truth, part.dataset.classes, one_based)
                write_atomic(root / "Annotations" / f"{stem}.xml", text, sync=False)
            write_atomic(root / "ImageSets" / "Main" / f"{part.split}.txt", "".join(f"{stem}\n" for stem in stems))


class _Sizes:
    """The size of a file's picture, found when it is asked for; None where that cannot be opened."""

    def __init__(self, places: Iterable[_Place]) -> None:
        self._folders = {place.labels: place.pictures for place in places}
        self._found: dict[Path, dict[str, Path]] = {}

    def __call__(self, file: VocFile) -> Size | None:
        with suppress(FineSpotError):
            for labels, pictures in self._folders.items():
                if file.path.is_relative_to(labels):
                    if pictures not in self._found:
                        self._found[pictures] = {path.stem: path for path in find_images(pictures)}
                    return open_image(self._found[pictures].get(file.path.stem, "")).size
        return None


def _places(place: Path) -> dict[str, _Place]:
    if not place.is_dir():
        raise FineSpotError("expected the folder of a data set but there is none", where=place)
    labels, pictures = _inner(place, _LABELS), _inner(place, _PICTURES)
    lists = place / "ImageSets" / "Main"
    if lists.is_dir():
        found = {path.stem: path for path in lists.glob("*.txt") if not _is_of_a_class(path)}
        if not found:
            raise FineSpotError("expected lists of pictures (train.txt ...) but found none", where=lists)
        return {name: _Place(labels, pictures, found[name]) for name in ordered(found)}
    if inner := sorted(place.glob("*/ImageSets/Main")):
        names = ", ".join(path.parent.parent.name for path in inner)
        raise FineSpotError("expected a folder with ImageSets in it", where=place, hint=f"name one of {names} in it")
    folders = split_folders(labels, ".xml")
    if labels == place:
        return {name: _Place(_inner(one, _LABELS), _inner(one, _PICTURES)) for name, one in folders.items()}
    return {name: _Place(one, pictures / one.relative_to(labels)) for name, one in folders.items()}


def _inner(folder: Path, names: Sequence[str]) -> Path:
    """The first of these sub-folders that is there, else the folder."""
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def _is_of_a_class(file: Path) -> bool:
    """Whether a list `<class>_<split>.txt` says which pictures hold a class."""
    return "_" in file.stem and all(_OF_A_CLASS.fullmatch(line) for _, line in lines(file))


def _read_files(folder: Path) -> Files:
    """The files of a folder by stem."""
    found: Files = {}
    for path in files_below(folder, ".xml"):
        if path.stem in found:
            raise FineSpotError(
                f"{path} has the same stem, so both would belong to one picture", where=found[path.stem].path
            )
        found[path.stem] = read_voc(path)
    return found


def _classes(files: Iterable[VocFile], place: Path) -> Classes:
    names = sorted({one.name for file in files for one in file.objects})
    if not names:
        raise FineSpotError("expected at least one object, whose name is a class, but found none", where=place)
    return Classes(tuple(names))


def _pair(files: Files, pictures: Mapping[str, str], builder: Builder) -> tuple[Files, dict[str, Path]]:
    """The files by the stem of their picture, and those that have none.

    The element <filename> is often wrong (copied, without or with another extension), so it counts only where no
    picture has the stem of the file.
    """
    paired = {stem: file for stem, file in files.items() if stem in pictures}
    orphans: dict[str, Path] = {}
    for stem in sorted(files.keys() - pictures.keys()):
        named = _stem(files[stem].filename)
        if named in pictures and named not in paired:
            paired[named] = files[stem]
        else:
            orphans[stem] = files[stem].path
    if by_name := len(files) - len(orphans) - len(files.keys() & pictures.keys()):
        text = counted(by_name, "1 XML file was paired with the picture", "XML files were paired with the pictures")
        builder.notes.append(f"{text} that <filename> names, having no picture of the same stem")
    return paired, orphans


def _stem(name: str) -> str:
    """The stem of a picture's name, which may have a path before and an extension behind it."""
    stem, extension = os.path.splitext(name.replace("\\", "/").rpartition("/")[2])
    return stem if extension.lower() in EXTENSIONS else stem + extension


def _listed(file: Path, pictures: Mapping[str, str], paired: Files, builder: Builder) -> list[str]:
    """The stems of the pictures in a list, in bytewise order of the pictures' paths."""
    by_label = {label.path.stem: stem for stem, label in paired.items()}
    found: list[str] = []
    for where, line in lines(file):
        with builder.guard(kind="missing"):
            stem = next((one for one in (line, _stem(line)) if one in pictures or one in by_label), None)
            if stem is None:
                raise FineSpotError(f"the picture {line} does not exist", where=where)
            found.append(stem if stem in pictures else by_label[stem])
    stems = sorted(set(found), key=lambda stem: bytewise(pictures[stem]))
    if twice := len(found) - len(stems):
        builder.notes.append(
            counted(twice, "1 picture is listed twice, read once", "pictures are listed twice, read once")
        )
    if not stems:
        raise FineSpotError("expected a list of pictures but it is empty", where=file)
    return stems


def _add_pictures(pictures: Mapping[str, VocFile | None], one_based: str, builder: Builder) -> None:
    label_of = {name: label for label, name in enumerate(builder.classes)}
    sizes = StatedSizes(builder, "its XML file")
    for path, file in pictures.items():
        with builder.guard(path):
            name = os.path.basename(path)
            size = builder.picture(path, os.path.splitext(name)[0])
            if file is not None:
                sizes.compare(size, file.size or (None, None), name, path, str(file.path))
                _add_objects(file, one_based, label_of, builder)
    sizes.note()


def _add_objects(file: VocFile, one_based: str, label_of: Mapping[str, int], builder: Builder) -> None:
    for fault in file.faults:
        with builder.guard(file.path):
            raise fault
    for one in file.objects:
        with builder.guard(one.where):
            builder.box(
                edges(one, one_based),
                label_of[one.name],
                where=one.where,
                ignore=one.attributes.get("difficult", 0) != 0,
                attributes=one.attributes,
            )


def _need_plain(names: Iterable[str], root: Path) -> None:
    """Refuse names that do not come back from XML or from a line of a list."""
    for name in names:
        if not name.isprintable() or name != name.strip():
            raise FineSpotError(f"expected names of printable characters but got {name!r}", where=root)
