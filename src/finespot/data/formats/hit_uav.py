"""HIT-UAV (Suo et al., Scientific Data 10, 227, 2023), as published or in COCO layout: `hit-uav:FOLDER`.

The folder is one of the four official ones (normal_json, normal_xml, rotate_json, rotate_xml), holds them, or is in
COCO layout (annotations/<split>.json, images/<split>), in which the set is written. Where it holds several, `layout=`
chooses, or else the first of the order above; the JSON alone has the official picture ids, the XML alone the flag
`truncated`, and the normal JSON lacks `difficult`.

The official JSON is no COCO: the normal one calls its list `annotation`, both say `filename`. Boxes are 0-based in
all four, in the XML too; of rotated boxes the envelope is taken. DontCare is an ignore region without a class, not a
fifth class; `difficult` and `truncated` are attributes, and such objects stay objects.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from finespot.data.builder import no_split, number, shown
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.coco import Coco, coco_file, picture_folders
from finespot.data.formats.coco_file import Record, corners_of, load_coco
from finespot.data.formats.coco_records import Dialect, read_content
from finespot.data.formats.hit_uav_xml import DONT_CARE, open_xml, xml_splits
from finespot.data.formats.options import choice
from finespot.data.formats.rotated import rotated_envelope
from finespot.data.formats.splits import ordered
from finespot.errors import FineSpotError
from finespot.registry import register

LAYOUTS = ("normal_json", "normal_xml", "rotate_json", "rotate_xml")
AUTO = "auto"

# T_HHH_AA_W_NNNNN: day or night, altitude, camera angle, weather; then the number of the frame.
_NAME = re.compile(r"(\d+_\d+_\d+_\d+)_\d+\.\w+")
# A file beside the annotations of rotate_json that holds counts.
_NO_SPLIT = "log"


@register("format", "hit-uav")
class HitUav(Coco):
    """The four official layouts, and COCO layout with class-free regions."""

    def __init__(self, layout: str = AUTO) -> None:
        self.layout = choice("layout", layout, (AUTO, *LAYOUTS))

    def splits(self, place: Path) -> list[str]:
        """The splits of the layout that is there."""
        folder = self._folder(place)
        if _is_xml(folder):
            return xml_splits(folder)
        return ordered(name for name in super().splits(folder) if name != _NO_SPLIT)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split; the layout stands in the notes."""
        folder, name = self._folder(place), place.resolve().name
        if _is_xml(folder):
            return open_xml(folder, split, name=name, group=frames_of, findings=findings)
        splits = self.splits(place)
        if split not in splits:
            raise no_split(split, splits, place)
        file = coco_file(folder, split, splits)
        content = load_coco(file)
        note = "HIT-UAV in COCO layout"
        dialect = Dialect(strict_regions=True, group=lambda image: frames_of(image["file_name"]))
        if _is_official(content):
            note = f"HIT-UAV in its layout {'normal_json' if 'annotation' in content else 'rotate_json'}"
            content = _as_coco(content)
            dialect = replace(dialect, regions=frozenset((DONT_CARE,)), corners=_corners)
        folders = picture_folders(folder, split)
        dataset = read_content(content, file, folders, name=name, split=split, dialect=dialect, findings=findings)
        dataset.notes.insert(0, note)
        return dataset

    def _folder(self, place: Path) -> Path:
        """The folder of one layout."""
        if self.layout != AUTO:
            if (place / self.layout).is_dir():
                return place / self.layout
            if place.resolve().name == self.layout:
                return place
            raise FineSpotError(f"expected a folder {self.layout} but there is none", where=place)
        found = [place / layout for layout in LAYOUTS if (place / layout).is_dir()]
        return found[0] if found else place


def frames_of(file_name: str) -> str | None:
    """What the frames of one flight over a place have in common: the name before the number of the frame."""
    match = _NAME.fullmatch(file_name.replace("\\", "/").rpartition("/")[2])
    return match[1] if match else None


def _is_xml(folder: Path) -> bool:
    return (folder / "ImageSets").is_dir()


def _is_official(content: Record) -> bool:
    """Whether the pictures are named as in the official JSON."""
    images: Any = content["images"]
    return isinstance(images, list) and any(isinstance(one, dict) and "filename" in one for one in images)


def _as_coco(content: Record) -> Record:
    """The official JSON with COCO's keys."""
    images = [
        {"file_name": one["filename"], **one} if isinstance(one, dict) and "filename" in one else one
        for one in content["images"]
    ]
    records = content.get("annotations", content.get("annotation", []))
    return {**content, "images": images, "annotations": records}


def _corners(record: Record, where: str) -> Corners:
    """[x, y, width, height], or the envelope of [cx, cy, width, height, angle]."""
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 5:
        return corners_of(record, where)
    cx, cy, width, height, angle = (number(value, "value of bbox", where) for value in box)
    if width < 0 or height < 0:
        raise FineSpotError(f"expected a bbox with sides of 0 or more but got {shown(box)}", where=where)
    return rotated_envelope(cx, cy, width, height, angle)
