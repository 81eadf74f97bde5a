"""UAVVaste (Kraft et al., Remote Sensing 13, 965, 2021): `uavvaste:FOLDER`.

The folder is the published one: annotations/annotations.json (COCO, one class `rubbish` with id 0, polygons whose area
is `area`), beside it train_val_test_distribution_file.json with the file names of each split, and images/ with the
pictures, which must be fetched by their address first. `bbox` is taken as it stands: its right and bottom edge are
often a pixel short of the polygon's. Frames of one video are one group.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from finespot.data.builder import counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco_file import Record, load_coco, load_json
from finespot.data.formats.coco_records import Dialect, read_content
from finespot.data.formats.splits import find_split, ordered
from finespot.errors import FineSpotError
from finespot.registry import register

ANNOTATIONS = "annotations.json"
SPLITS = "train_val_test_distribution_file.json"
_FRAME = re.compile(r"(.+)_(?:img|frame)_\d+")


@register("format", "uavvaste")
class UavVaste:
    """One COCO file for all splits and a list of file names a split."""

    def splits(self, place: Path) -> list[str]:
        """The splits of the split file."""
        return list(_split_lists(_folder(place) / SPLITS))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        folder = _folder(place)
        lists = _split_lists(folder / SPLITS)
        wanted = find_split(lists, split, place)
        file = folder / ANNOTATIONS
        content = load_coco(file)
        known = _file_names(content)
        absent = sorted(wanted - known)
        if absent:
            raise FineSpotError(
                f"expected the pictures of the split '{split}' in {file} but it lacks {len(absent)} of them",
                where=folder / SPLITS,
                hint=f"the first is {absent[0]}",
            )
        dialect = Dialect(
            keep=lambda image: image["file_name"] in wanted,
            group=_video,
            missing="fetch the pictures from the address under flickr_url of each record into the folder images",
        )
        dataset = read_content(
            content,
            file,
            [place / "images", place],
            name=place.resolve().name,
            split=split,
            dialect=dialect,
            findings=findings,
        )
        dataset.notes += _doubts(lists, split, known)
        return dataset


def _folder(place: Path) -> Path:
    """The folder of the two JSON files."""
    for folder in (place / "annotations", place):
        if (folder / ANNOTATIONS).is_file():
            return folder
    raise FineSpotError(f"expected the folder of a data set with annotations/{ANNOTATIONS}", where=place)


def _split_lists(file: Path) -> dict[str, frozenset[str]]:
    """The file names of each split."""
    content: Any = load_json(file)
    if not isinstance(content, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in content.values()
    ):
        raise FineSpotError("expected a list of file names for each split", where=file)
    return {split: frozenset(content[split]) for split in ordered(content)}


def _file_names(content: Record) -> frozenset[str]:
    images = content["images"] if isinstance(content["images"], list) else []
    names = [image.get("file_name") for image in images if isinstance(image, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _video(image: Record) -> str | None:
    match = _FRAME.fullmatch(PurePosixPath(image["file_name"]).stem)
    return match[1] if match else None


def _doubts(lists: dict[str, frozenset[str]], split: str, known: frozenset[str]) -> list[str]:
    """What is odd about the lists."""
    notes = []
    for other, names in lists.items():
        if other != split and (shared := len(names & lists[split])):
            notes.append(f"{counted(shared, '1 picture is', 'pictures are')} in the split {other} too")
    if nowhere := len(known.difference(*lists.values())):
        notes.append(counted(nowhere, "1 picture is in no split", "pictures are in no split"))
    return notes
