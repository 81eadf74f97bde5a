"""UAVDT (Du et al., The Unmanned Aerial Vehicle Benchmark, ECCV 2018), the part M for detection: `uavdt:FOLDER`.

As published, `UAV-benchmark-M/<sequence>/img000001.jpg` and, in a folder `GT` below or beside the place,
`<sequence>_gt_whole.txt` and `<sequence>_gt_ignore.txt`; or `<sequence>/img1` and `<sequence>/gt/gt_whole.txt`, as
trackers have it. A line is `frame,target_id,left,top,width,height,out_of_view,occlusion,category`, frames counting
from 1. The splits train and test are the official lists of sequences; there is no official val. The boxes of the
ignore files are regions without a class, which common converters turn into cars. Each sequence is a group.

`classes=1` joins the three classes into `vehicle`, as the official evaluation does. `every=10` takes the frames 1, 11,
21 ... of each sequence, for training on neighbors that hardly differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from finespot.data.builder import Builder, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.options import choice
from finespot.data.formats.sequences import FrameRows, find_frames, rows_by_frame
from finespot.data.formats.splits import find_split
from finespot.data.formats.text import left_top_width_height, whole
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers import UAVDT_CLASSES, UAVDT_TEST

NAMES = UAVDT_CLASSES
VEHICLE = "vehicle"

TRAIN = (
    "M0101",
    "M0201",
    "M0202",
    "M0204",
    "M0206",
    "M0207",
    "M0210",
    "M0301",
    "M0401",
    "M0402",
    "M0501",
    "M0603",
    "M0604",
    "M0605",
    "M0702",
    "M0703",
    "M0704",
    "M0901",
    "M0902",
    "M1002",
    "M1003",
    "M1005",
    "M1006",
    "M1008",
    "M1102",
    "M1201",
    "M1202",
    "M1304",
    "M1305",
    "M1306",
)
SPLITS = {"train": TRAIN, "test": tuple(UAVDT_TEST)}

_SEQUENCE = re.compile(r"M\d{4}")
_FRAME = re.compile(r"img(\d+)")
_TRUTH_COLUMNS, _REGION_COLUMNS = range(9, 10), range(6, 10)


@register("format", "uavdt")
class Uavdt:
    """A folder of numbered pictures a sequence, with a file of objects and one of ignore regions."""

    def __init__(self, classes: str = "3", every: str = "1") -> None:
        self.names = NAMES if choice("classes", classes, ("3", "1")) == "3" else (VEHICLE,)
        self.every = whole(every, "every", "uavdt")
        if self.every < 1:
            raise FineSpotError(f"expected every=1 or more but got {self.every}")

    def splits(self, place: Path) -> list[str]:
        """`train` and `test`, where there is a sequence of theirs."""
        return list(_official(_sequences(place)))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        sequences = _sequences(place)
        official = find_split(_official(sequences), split, place)
        builder = Builder(place.resolve().name, split, Classes(self.names), findings)
        _tell_sequences(sequences, split, builder)
        shared = _shared_truth(place)
        for name in sorted(official):
            if name in sequences:
                with builder.guard(sequences[name]):
                    self._read(sequences[name], shared, builder)
        return builder.build()

    def _read(self, sequence: Path, shared: Path | None, builder: Builder) -> None:
        name = sequence.name
        inner = sequence / "img1"
        frames = find_frames(inner if inner.is_dir() else sequence, _FRAME, builder)
        official = UAVDT_TEST.get(name, len(frames))
        if official != len(frames):
            builder.notes.append(f"{name} has {len(frames)} frames, the official evaluation {official}")
        truth_file = _truth_file(sequence, "whole", shared)
        if truth_file is None:
            raise FineSpotError(
                f"the sequence has no {name}_gt_whole.txt", where=sequence, hint="it belongs into a folder GT beside"
            )
        objects = rows_by_frame(truth_file, _TRUTH_COLUMNS, frames, builder)
        region_file = _truth_file(sequence, "ignore", shared)
        regions: FrameRows = {}
        if region_file is None:
            builder.notes.append(f"{name} has no file of ignore regions")
        else:
            regions = rows_by_frame(region_file, _REGION_COLUMNS, frames, builder)
        for frame, picture in list(frames.items())[:: self.every]:
            with builder.guard(picture):
                stem = os.path.splitext(os.path.basename(picture))[0]
                builder.picture(picture, f"{name}/{stem}", group=name)
                for where, fields in objects.get(frame, ()):
                    with builder.guard(where):
                        self._add_object(fields, where, builder)
                for where, fields in regions.get(frame, ()):
                    with builder.guard(where):
                        target = whole(fields[1], "target id", where)
                        corners = left_top_width_height(fields[2:], where)
                        builder.box(corners, -1, where=where, ignore=True, attributes={"target_id": target})

    def _add_object(self, fields: list[str], where: str, builder: Builder) -> None:
        category = whole(fields[8], "category", where)
        if not 1 <= category <= len(NAMES):
            raise FineSpotError(
                f"expected a category from 1 to {len(NAMES)} but got {category}",
                where=where,
                hint="files for tracking have -1; detection needs gt_whole",
            )
        columns = {"target_id": 1, "out_of_view": 6, "occlusion": 7}
        builder.box(
            left_top_width_height(fields[2:], where),
            category - 1 if len(self.names) > 1 else 0,
            where=where,
            attributes={name: whole(fields[column], name, where) for name, column in columns.items()},
        )


def _sequences(place: Path) -> dict[str, Path]:
    """The folders of sequences by name, in the place or one folder down."""
    if not place.is_dir():
        raise FineSpotError("expected the folder of a data set but there is none", where=place)
    found: dict[str, Path] = {}
    for folder in sorted([*place.glob("M*"), *place.glob("*/M*")]):
        if not _SEQUENCE.fullmatch(folder.name) or not folder.is_dir():
            continue
        if folder.name in found:
            raise FineSpotError(f"the sequence is also at {folder}", where=found[folder.name])
        found[folder.name] = folder
    if not found:
        raise FineSpotError(
            "expected a folder for each sequence (M0101 ...) but found none",
            where=place,
            hint="the pictures come in UAV-benchmark-M",
        )
    return found


def _official(sequences: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """The official splits of which there is a sequence, with all their names."""
    return {split: names for split, names in SPLITS.items() if not sequences.keys().isdisjoint(names)}


def _tell_sequences(sequences: Mapping[str, Path], split: str, builder: Builder) -> None:
    official = sorted(SPLITS[split])
    if missing := [name for name in official if name not in sequences]:
        text = counted(len(missing), "1 sequence", "sequences")
        builder.notes.append(f"{text} of the {len(official)} of {split} not there: {', '.join(missing)}")
    known = {name for names in SPLITS.values() for name in names}
    if strange := [name for name in sequences if name not in known]:
        text = counted(len(strange), "1 sequence", "sequences")
        builder.notes.append(f"{text} in no official split, left out: {', '.join(strange)}")


def _shared_truth(place: Path) -> Path | None:
    """The folder GT that holds the truth of all sequences: below the place, or beside it."""
    beside = place.absolute().parent
    patterns = [(place, "GT"), (place, "*/GT"), (beside, "GT"), (beside, "UAV-benchmark-MOTD*/GT")]
    for folder, pattern in patterns:
        found = [path for path in sorted(folder.glob(pattern)) if any(path.glob("*_gt_whole.txt"))]
        if len(found) > 1:
            raise FineSpotError(f"expected one folder GT but got {found[0]} and {found[1]}", where=place)
        if found:
            return found[0]
    return None


def _truth_file(sequence: Path, kind: str, shared: Path | None) -> Path | None:
    """The file gt_<kind> of a sequence: its own, else that in the shared folder."""
    places = [sequence / "gt" / f"gt_{kind}.txt"]
    if shared is not None:
        places.append(shared / f"{sequence.name}_gt_{kind}.txt")
    return next((path for path in places if path.is_file()), None)
