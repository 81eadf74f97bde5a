"""TinyPerson (Yu et al., Scale Match for Tiny Person Detection, WACV 2020): `tinyperson:FOLDER`, the folder tiny_set.

A split is an annotation file, called as the file without `tiny_set_`, with `_erase` behind it for those of
erase_with_uncertain_dataset (whose pictures have their ignored and uncertain regions painted over) and `mini_` before
those of mini_annotations: `train`, `test_all`, `train_sw640_sh512_all_erase`, `mini_test_all`.

`ignore` and `uncertain` make a box an ignored one, as in the official evaluation; plain COCO readers take all of them
for persons, because `iscrowd` is 0. Corner files list windows of pictures: their `corner` is (x1, y1, x2, y2),
whatever the read-me says, and several records share a file. Dense pictures, whose labels are not exhaustive, are used
neither for training nor for scoring, so only the splits called `with_dense` have them; pictures without labels
(no_label_images) are always left out.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from finespot.data.builder import counted, whole_number
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco_file import Record
from finespot.data.formats.coco_records import Dialect, read_coco
from finespot.data.formats.splits import find_split, ordered
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Window

ERASED = "erase_with_uncertain_dataset"
DENSE = "labeled_dense_images"
_UNLABELED = "no_label_images"
_FILE = re.compile(r"tiny_set_((train|test)(?:_.+)?)\.json")
# A picture is called after its video and its frame: bb_V0032_I0001640.jpg.
_FRAME = re.compile(r"(.+_V\d+)_I\d+")


@register("format", "tinyperson")
class TinyPerson:
    """The published folder with its annotation files in several places."""

    def splits(self, place: Path) -> list[str]:
        """The annotation files that are there."""
        return ordered(_files(place))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        files = _files(place)
        file = find_split({name: files[name] for name in ordered(files)}, split, place)
        notes: list[str] = []
        folder = _pictures(place, split, file, notes)
        dense = "with_dense" in split
        seen: Counter[str] = Counter()

        def keep(image: Record) -> bool:
            kind = str(image["file_name"]).split("/")[0]
            seen[kind] += 1
            return kind != _UNLABELED and (dense or kind != DENSE)

        dialect = Dialect(
            ignored_by=("ignore", "uncertain"),
            honored=True,
            attributes=("uncertain", "logo", "in_dense_image"),
            keep=keep,
            group=_group,
            window=_window,
        )
        dataset = read_coco(file, [folder], name=place.resolve().name, split=split, dialect=dialect, findings=findings)
        dataset.notes[:0] = [*notes, *_told(seen, dense)]
        return dataset


def _files(place: Path) -> dict[str, Path]:
    """The annotation files by split."""
    if not place.is_dir():
        raise FineSpotError("expected the folder tiny_set but there is none", where=place)
    found: dict[str, Path] = {}
    for folder, before, behind in (
        (place / "annotations", "", ""),
        (place / ERASED / "annotations", "", "_erase"),
        (place / "mini_annotations", "mini_", ""),
    ):
        for file in sorted(folder.rglob("tiny_set_*.json")):
            match = _FILE.fullmatch(file.name)
            if match is None:
                continue
            split = f"{before}{match[1]}{behind}"
            if split in found:
                raise FineSpotError(f"{file} would be the same split '{split}'", where=found[split])
            found[split] = file
    if not found:
        raise FineSpotError("expected annotations/tiny_set_train.json and others but there are none", where=place)
    return found


def _pictures(place: Path, split: str, file: Path, notes: list[str]) -> Path:
    """The folder that the file names of a split are relative to."""
    match = _FILE.fullmatch(file.name)
    side = match[2] if match else ""
    erased = place / ERASED / side
    if split.endswith("_erase"):
        return erased
    if not (place / side).is_dir() and erased.is_dir():
        notes.append(f"there is no folder {side}: the pictures are the erased ones of {ERASED}/{side}")
        return erased
    return place / side


def _group(image: Record) -> str | None:
    """The video of a frame or of a window of one; other windows belong to their file by default."""
    match = _FRAME.fullmatch(PurePosixPath(image["file_name"]).stem)
    return match[1] if match else None


def _window(image: Record, where: str) -> Window | None:
    """The window that a record of a corner file stands for."""
    corner = image.get("corner")
    if corner is None:
        return None
    if not isinstance(corner, list) or len(corner) != 4:
        raise FineSpotError("expected a corner [x1, y1, x2, y2]", where=where)
    x1, y1, x2, y2 = (whole_number(value, "coordinate of corner", where) for value in corner)
    if (image.get("width", x2 - x1), image.get("height", y2 - y1)) != (x2 - x1, y2 - y1):
        raise FineSpotError(
            f"expected a corner [x1, y1, x2, y2] of {image.get('width')}x{image.get('height')} pixels but got {corner}",
            where=where,
        )
    return x1, y1, x2, y2


def _told(seen: Counter[str], dense: bool) -> list[str]:
    """Notes on the pictures that are left out, or would be in another split."""
    notes = []
    if crowds := seen[DENSE]:
        what = counted(crowds, "1 picture of a dense crowd", "pictures of dense crowds")
        rule = "their labels are not exhaustive; the official rules use them neither for training nor for scoring"
        notes.append(f"{what}: {rule}" if dense else f"{what} left out: {rule}")
    if unlabeled := seen[_UNLABELED]:
        notes.append(counted(unlabeled, "1 picture without labels left out", "pictures without labels left out"))
    return notes
