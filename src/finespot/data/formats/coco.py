"""COCO JSON: `coco:FOLDER` with annotations/<split>.json (or instances_<split>.json) and images/<split>.

Categories become labels 0..n-1 by ascending id and keep their ids for result files. `iscrowd` and `ignore` both make
a box an ignore region of its class: for training neither is an object; the attribute `crowd` keeps `iscrowd` alone,
which is all that COCO's own evaluation honors. Of other keys those are attributes that hold an integer or a truth
value in every annotation. `area` is what the file says. Pictures without annotations stay. Sizes come from the picture
files; a file whose width and height say otherwise is noted.

COCO has no ignore region without a class. Records with `dontcare` and a common `region_id`, one for each category and
with one box, are such a region; the writer makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from finespot.data.builder import no_split
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco_records import read_coco
from finespot.data.formats.coco_writer import coco_content
from finespot.data.formats.layout import Keeps, Part
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.writers import write_atomic

__all__ = ["Coco", "coco_file", "picture_folders", "read_coco"]

# Attributes that readers of other formats make. Whatever else holds whole numbers comes back too.
_ATTRIBUTES = (
    *("crowd", "difficult", "truncated", "truncation", "occluded", "occlusion", "out_of_view"),
    *("uncertain", "logo", "in_dense_image", "target_id"),
)
_PREFIX = "instances_"


@register("format", "coco")
class Coco:
    """A folder with one COCO file a split."""

    keeps: ClassVar[Keeps] = Keeps(regions=True, ignored=True, area=True, attributes=frozenset(_ATTRIBUTES))

    def splits(self, place: Path) -> list[str]:
        """Names of the files in annotations/, without `instances_`."""
        if not place.is_dir():
            raise FineSpotError("expected the folder of a data set but there is none", where=place)
        if not (place / "annotations").is_dir():
            raise FineSpotError("expected a folder 'annotations' with COCO files in it", where=place)
        return sorted(path.stem.removeprefix(_PREFIX) for path in (place / "annotations").glob("*.json"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        file = coco_file(place, split, self.splits(place))
        folders = picture_folders(place, split)
        return read_coco(file, folders, name=place.resolve().name, split=split, findings=findings)

    def picture(self, split: str, name: str) -> str:
        """Where a picture of this file name belongs, below the data set's folder."""
        return f"images/{split}/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write annotations/<split>.json of each split."""
        for part in parts:
            write_atomic(root / "annotations" / f"{part.split}.json", msgspec.json.encode(coco_content(part)))


def coco_file(place: Path, split: str, splits: Sequence[str]) -> Path:
    """The annotation file of a split."""
    for prefix in ("", _PREFIX):
        path = place / "annotations" / f"{prefix}{split}.json"
        if path.is_file():
            return path
    raise no_split(split, splits, place)


def picture_folders(place: Path, split: str) -> list[Path]:
    """Where the pictures of a split may lie, the most likely place first."""
    return [place / "images" / split, place / split, place / "images", place]
