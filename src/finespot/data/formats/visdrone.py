"""VisDrone-DET (Zhu et al., Detection and Tracking Meet Drones Challenge, PAMI 2021): `visdrone:FOLDER`.

The folder holds VisDrone2019-DET-train, -val, -test-dev and -test-challenge, or is one of them. A line is
`left,top,width,height,score,category,truncation,occlusion`. Category 0 is an ignore region without a class; a score
of 0 makes an object of the categories 1 to 10 ignored. Common converters drop both, or train on them; then detections
there count as false, or as found. The category 11, 'others', is no class of the ten:

| others= | becomes |
| --- | --- |
| ignore | a region without a class, as the data set's description has it (the default); its attribute `others` is set |
| drop | nothing: what is found there is false, as in the official evaluation program |
| class | an object of an eleventh class, ignored where its score is 0 |
| object | an object of an eleventh class, whatever its score |
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from finespot.data.builder import Builder, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.options import choice
from finespot.data.formats.pairing import by_stem, label_stems, refuse_orphans, tell_absent
from finespot.data.formats.splits import WHOLE, find_split
from finespot.data.formats.text import left_top_width_height, lines, plain, whole
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Annotations, Classes
from finespot.writers import VISDRONE_CLASSES, write_atomic

# In the order of the categories 1 to 10.
NAMES = VISDRONE_CLASSES
OTHERS = "others"
SPLITS = ("train", "val", "test-dev", "test-challenge")
CHALLENGE = "test-challenge"

OTHERS_CHOICES = ("ignore", "drop", "class", "object")
_FOLDER = re.compile(r"VisDrone\d{4}-(DET|VID|MOT)-(.+)", re.IGNORECASE)
_COLUMNS = ("left", "top", "width", "height", "score", "category", "truncation", "occlusion")
# The scene of a picture is the first number of its name: 0000072_01234_d_0000003.
_NAME = re.compile(r"(\d{7})_\d{5}_d_\d+")
# Pictures in which other tools have painted the ignore regions, beside the originals.
_PAINTED = "_masked"
# A picture without rows; the official program cannot read an empty file, and takes this for a region without area.
_NOTHING = "0,0,0,0,0,0,0,0"


@register("format", "visdrone")
class VisDrone:
    """Folders `images` and `annotations`, a text file a picture."""

    keeps: ClassVar[Keeps] = Keeps(regions=True, ignored=True, attributes=frozenset({"truncation", "occlusion"}))

    def __init__(self, others: str = "ignore") -> None:
        self.others = choice("others", others, OTHERS_CHOICES)

    def splits(self, place: Path) -> list[str]:
        """The official splits that are there, in official order; `all` for a folder of another name."""
        return list(release_folders(place, ("DET",), "images"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        folder = find_split(release_folders(place, ("DET",), "images"), split, place)
        builder = Builder(place.resolve().name, split, class_list(self.others), findings)
        pictures = _originals(by_stem(folder / "images", builder), builder)
        annotations = folder / "annotations"
        known = truth_folder(annotations, split, builder)
        labels = {path.stem: path for path in annotations.glob("*.txt")} if known else {}
        refuse_orphans(sorted(labels.items()), pictures, folder / "images", builder)
        for stem, picture in pictures.items():
            with builder.guard(picture):
                scene = _NAME.fullmatch(stem)
                builder.picture(picture, stem, group=scene[1] if scene else None)
                if stem in labels:
                    self._read(labels[stem], builder)
        if known:
            absent = [annotations / f"{stem}.txt" for stem in pictures if stem not in labels]
            tell_absent(absent, len(pictures), "pictures and label files have the same names", builder)
        tell_others(self.others, builder)
        return builder.build()

    def _read(self, file: Path, builder: Builder) -> None:
        for where, line in lines(file):
            if line == _NOTHING:
                continue
            with builder.guard(where):
                fields = line.split(",")
                if len(fields) != len(_COLUMNS):
                    raise FineSpotError(
                        f"expected 8 values with commas between ({','.join(_COLUMNS)}) but got {len(fields)}",
                        where=where,
                    )
                add_row(builder, fields, self.others, where)

    def picture(self, split: str, name: str) -> str:
        """Where a picture of this file name belongs, below the data set's folder."""
        return f"VisDrone2019-DET-{split}/images/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write an annotation file a picture, as the official program reads them.

        The classes must be official ones, in any order: a category is a number, whose name other tools know by heart.
        Coordinates stay unrounded; the official sets have whole ones.
        """
        for part in parts:
            dataset = part.dataset
            categories = self._categories(dataset.classes, dataset.name)
            if part.split == CHALLENGE and not any(len(dataset.columns(i)[1]) for i in range(len(dataset))):
                continue  # its truth is not known, which is something else than empty files
            folder = root / f"VisDrone2019-DET-{part.split}" / "annotations"
            for index, stem in enumerate(label_stems(part.names, folder)):
                text = _text(dataset.annotations(index), categories)
                write_atomic(folder / f"{stem}.txt", text, sync=False)

    def _categories(self, classes: Classes, name: str) -> list[int]:
        """The official category of each label."""
        official = class_list("class")
        for one in classes:
            if one not in official:
                raise FineSpotError(
                    f"expected classes of VisDrone but got '{one}'",
                    where=name,
                    hint=f"rename it or leave it out; there are {', '.join(official)}",
                )
        if OTHERS in classes and self.others not in ("class", "object"):
            raise FineSpotError(
                "the class 'others' would be read back as ignore regions", where=name, hint="say visdrone,others=class"
            )
        return [official.original_ids[official.index(one)] for one in classes]


def class_list(others: str) -> Classes:
    """The ten classes, or eleven; category numbers as original ids."""
    names = (*NAMES, OTHERS) if others in ("class", "object") else NAMES
    return Classes(names, tuple(range(1, len(names) + 1)))


def release_folders(place: Path, kinds: Sequence[str], content: str) -> dict[str, Path]:
    """The folders of the splits below a place, official ones first.

    A folder is one where it holds a folder `content`. The place may be such a folder itself: then its split is in its
    name, or `all`.

    Raises
    ------
    FineSpotError
        There are none, or two of one split.
    """
    if not place.is_dir():
        raise FineSpotError("expected the folder of a data set but there is none", where=place)
    if (place / content).is_dir():
        match = _FOLDER.fullmatch(os.path.basename(os.path.abspath(place)))
        return {match[2] if match else WHOLE: place}
    found: dict[str, Path] = {}
    for folder in sorted(place.glob("*")):
        match = _FOLDER.fullmatch(folder.name)
        if match is None or match[1].upper() not in kinds or not (folder / content).is_dir():
            continue
        if match[2] in found:
            raise FineSpotError(
                f"expected one folder of the split '{match[2]}' but got {found[match[2]].name} and {folder.name}",
                where=place,
                hint="name one of them",
            )
        found[match[2]] = folder
    if not found:
        raise FineSpotError(
            f"expected folders like VisDrone2019-{kinds[0]}-train with a folder '{content}' in them", where=place
        )
    return {split: found[split] for split in sorted(found, key=_rank)}


def _rank(split: str) -> tuple[int, str]:
    return (SPLITS.index(split) if split in SPLITS else len(SPLITS), split)


def truth_folder(folder: Path, split: str, builder: Builder) -> bool:
    """Whether a split has its folder `annotations`; only the challenge's may lack it, and this is told."""
    if folder.is_dir():
        return True
    if split != CHALLENGE:
        raise FineSpotError("expected a folder with annotation files but there is none", where=folder)
    builder.notes.append(f"{split} has no annotations: its pictures are read without truth and cannot be scored")
    return False


def _originals(pictures: dict[str, str], builder: Builder) -> dict[str, str]:
    """The pictures without painted copies: those have no annotations here and would be taken for background."""
    kept = {
        stem: path
        for stem, path in pictures.items()
        if not (stem.endswith(_PAINTED) and stem.removesuffix(_PAINTED) in pictures)
    }
    if copies := len(pictures) - len(kept):
        text = counted(copies, "1 painted copy", "painted copies")
        builder.notes.append(f"{text} of pictures (*{_PAINTED}) left out")
    return kept


def add_row(
    builder: Builder, fields: Sequence[str], others: str, where: str, attributes: Mapping[str, int] | None = None
) -> None:
    """Add the box of the eight columns `left` to `occlusion` to the picture started last."""
    corners = left_top_width_height(fields, where)
    score, category, truncation, occlusion = (whole(text, what, where) for text, what in zip(fields[4:], _COLUMNS[4:]))
    if not 0 <= category <= len(NAMES) + 1:
        raise FineSpotError(f"expected a category from 0 to {len(NAMES) + 1} but got {category}", where=where)
    if score not in (0, 1):
        raise FineSpotError(f"expected a score of 0 or 1 but got {score}", where=where)
    ignore = score == 0
    if category > len(NAMES):
        builder.counts[OTHERS] += 1
        if others == "drop":
            return
        ignore = ignore and others == "class"
    region = category == 0 or (category > len(NAMES) and others == "ignore")
    # The official program takes no notice of others, where other protocols spare what is found on a region.
    aside = {OTHERS: 1} if region and category else {}
    builder.box(
        corners,
        -1 if region else category - 1,
        where=where,
        ignore=region or ignore,
        attributes={"truncation": truncation, "occlusion": occlusion, **aside, **(attributes or {})},
    )


def tell_others(others: str, builder: Builder) -> None:
    """Note what became of the objects of the category 11 where they are no class."""
    count = builder.counts[OTHERS]
    text = counted(count, "1 object of the category 'others'", "objects of the category 'others'")
    if text and others == "ignore":
        builder.notes.append(f"{text} read as ignore regions")
    elif text and others == "drop":
        builder.notes.append(f"{text} left out")


def _text(truth: Annotations, categories: Sequence[int]) -> str:
    nothing = [0] * len(truth)
    truncation, occlusion = (truth.attributes.get(name, nothing) for name in ("truncation", "occlusion"))
    rows = [
        f"{plain(x1)},{plain(y1)},{plain(x2 - x1)},{plain(y2 - y1)},"
        f"{int(not ignore)},{0 if label < 0 else categories[label]},{int(truncated)},{int(occluded)}"
        for (x1, y1, x2, y2), label, ignore, truncated, occluded in zip(
            truth.boxes.tolist(), truth.labels.tolist(), truth.ignore.tolist(), truncation, occlusion
        )
    ]
    return "".join(f"{row}\n" for row in rows or [_NOTHING])
