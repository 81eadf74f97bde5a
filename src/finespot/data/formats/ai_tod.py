"""AI-TOD (Wang et al., Tiny Object Detection in Aerial Images, ICPR 2020) and AI-TOD-v2: `ai-tod:FOLDER`.

The annotation files are called differently from release to release; the split and the version are read from the words
of their names (aitod_training_v1.0, small_trainval_v1_1.0, aitodv2_test), and the number of pictures tells whether
that can be. They lie in the folder, in one that starts with `annotations`, or in the split's; pictures in
images/<split>, <split>/images or <split>, those of train and val in trainval's too. `version=1` or `version=2` chooses
where both are there.

A part of the pictures must be cut from xView by each user: the set without them is told by its number of pictures.
The cutting tool does not clip, so boxes reach over the edge; they are clipped here. Pictures of one xView scene, which
the official splits do not keep apart, are one group.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco_file import Record
from finespot.data.formats.coco_records import Dialect, read_coco
from finespot.data.formats.options import choice
from finespot.data.formats.splits import find_split
from finespot.errors import FineSpotError
from finespot.registry import register

NAMES = ("airplane", "bridge", "storage-tank", "ship", "swimming-pool", "vehicle", "person", "wind-mill")
# Pictures of each split, and how many of them come from xView.
PICTURES = {"train": 11214, "val": 2804, "trainval": 14018, "test": 14018}
FROM_XVIEW = {"train": 3704, "val": 935, "trainval": 4639, "test": 4667}
AUTO = "auto"

_WORDS = {
    "train": "train", "training": "train", "val": "val", "validation": "val", "trainval": "trainval", "test": "test",
}  # fmt: skip
_VERSION = re.compile(r"(?:aitod)?v([12])")


@register("format", "ai-tod")
class AiTod:
    """COCO files under many names, of two versions."""

    def __init__(self, version: str = AUTO) -> None:
        self.version = choice("version", version, (AUTO, "1", "2"))

    def splits(self, place: Path) -> list[str]:
        """The official splits that have an annotation file."""
        return list(self._files(place))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        files = find_split(self._files(place), split, place)
        if len(files) > 1:
            listed = ", ".join(str(file.relative_to(place)) for file in files)
            raise FineSpotError(
                f"expected one annotation file for the split '{split}' but got {listed}",
                where=place,
                hint="choose with ai-tod,version=1 or version=2, or move the others away",
            )
        dataset = read_coco(
            files[0],
            _picture_folders(place, split),
            name=place.resolve().name,
            split=split,
            dialect=Dialect(group=_scene),
            findings=findings,
        )
        if dataset.classes.names != NAMES:
            dataset.notes.append(f"the classes are not the official ones in their order ({', '.join(NAMES)})")
        if len(dataset) != PICTURES[split]:
            dataset.notes.append(_unusual(len(dataset), split, files[0]))
        return dataset

    def _files(self, place: Path) -> dict[str, list[Path]]:
        """The annotation files of each split that may be meant."""
        if not place.is_dir():
            raise FineSpotError("expected the folder of a data set but there is none", where=place)
        found: dict[str, list[Path]] = {split: [] for split in PICTURES}
        folders = [place, *sorted(place.glob("annotations*")), *(place / split for split in PICTURES)]
        for file in (file for folder in folders for file in sorted(folder.glob("*.json"))):
            words = re.split(r"[^a-z0-9]+", file.stem.lower())
            splits = {_WORDS[word] for word in words if word in _WORDS}
            versions = {match[1] for word in words if (match := _VERSION.fullmatch(word))}
            if len(splits) == 1 and (self.version == AUTO or versions <= {self.version}):
                found[splits.pop()].append(file)
        if not any(found.values()):
            raise FineSpotError("expected annotation files such as annotations/aitodv2_train.json", where=place)
        return {split: files for split, files in found.items() if files}


def _picture_folders(place: Path, split: str) -> list[Path]:
    """Where the pictures of a split may lie, the most likely place first."""
    names = {"train": (split, "trainval"), "val": (split, "trainval"), "trainval": (split, "train", "val")}
    folders = []
    for name in names.get(split, (split,)):
        folders += [place / "images" / name, place / name / "images", place / name / "Images", place / name]
    return [*folders, place / "images", place]


def _scene(image: Record) -> str | None:
    """The picture that a window was cut from: <scene>__<x>_<y>.png."""
    scene, cut, _ = os.path.basename(image["file_name"]).partition("__")
    return scene if cut else None


def _unusual(count: int, split: str, file: Path) -> str:
    """What a number of pictures other than the official one means."""
    without = PICTURES[split] - FROM_XVIEW[split]
    told = f"{file.name} has {count} pictures, not the {PICTURES[split]} of the official {split}"
    if count == without:
        return f"{told}: that is the set without the {FROM_XVIEW[split]} pictures that are cut from xView"
    others = [name for name, number in PICTURES.items() if number == count]
    return f"{told}: that is the number of {' or '.join(others)}" if others else told
