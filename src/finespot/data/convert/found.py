"""Detections of a data set's pictures: read from label files with scores, and brought back from windows to files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from finespot.boxes import cxcywh_to_xyxy
from finespot.data.convert.rules import Rule
from finespot.data.dataset import Dataset
from finespot.data.formats.text import lines, real, whole
from finespot.errors import FineSpotError
from finespot.images import open_image
from finespot.structures import Classes, Detections, Placement
from finespot.tiling import Part, merge

_NAMES = ("class", "center x", "center y", "width", "height", "score")


def stems(dataset: Dataset) -> dict[str, int]:
    """The pictures by the stem of their file name; those that share one are left out."""
    found: dict[str, int] = {}
    shared = set()
    for index in range(len(dataset)):
        stem = os.path.splitext(os.path.basename(dataset.path(index)))[0]
        if found.setdefault(stem, index) != index:
            shared.add(stem)
    return {stem: index for stem, index in found.items() if stem not in shared}


def read_yolo_results(folder: Path, dataset: Dataset) -> list[Detections]:
    """What `*.txt` files with lines `class cx cy w h score` say of each picture of a data set, by file stem.

    Raises
    ------
    FineSpotError
        A file has no picture, or a line is wrong.
    """
    pictures = stems(dataset)
    found = [Detections.empty(dataset.size(i), dataset.classes, dataset.path(i)) for i in range(len(dataset))]
    for file in sorted(folder.glob("*.txt")):
        if file.stem not in pictures:
            raise FineSpotError(f"no picture of the split, or more than one, is called '{file.stem}'", where=file)
        index = pictures[file.stem]
        rows = [_row(line.split(), len(dataset.classes), where) for where, line in lines(file)]
        if rows:
            height, width = dataset.size(index)
            table = np.array(rows, np.float64)
            boxes = cxcywh_to_xyxy(table[:, 1:5] * (width, height, width, height)).astype(np.float32)
            found[index] = replace(
                found[index], boxes=boxes, scores=table[:, 5].astype(np.float32), labels=table[:, 0].astype(np.int64)
            )
    return found


def _row(fields: Sequence[str], classes: int, where: str) -> list[float]:
    if len(fields) != len(_NAMES):
        raise FineSpotError(f"expected 6 fields (class cx cy w h score) but got {len(fields)}", where=where)
    label = whole(fields[0], _NAMES[0], where)
    if not 0 <= label < classes:
        raise FineSpotError(f"expected a class from 0 to {classes - 1} but got {label}", where=where)
    values = [real(field, name, where) for field, name in zip(fields[1:], _NAMES[1:])]
    if min(values[2:4]) < 0:
        raise FineSpotError(f"expected a width and height of 0 or more but got {' '.join(fields[3:5])}", where=where)
    return [label, *values]


def whole_pictures(dataset: Dataset, found: Sequence[Detections], iou: float) -> list[Detections]:
    """Detections of windows joined to those of the files they were cut from, suppressed once over all windows."""
    windows: dict[str, list[int]] = defaultdict(list)
    for index in range(len(dataset)):
        windows[dataset.path(index)].append(index)
    joined = []
    for path, indices in windows.items():
        parts = []
        for index in indices:
            x1, y1, _, _ = dataset.window(index) or (0, 0, 0, 0)
            placement = Placement((1.0, 1.0), (0.0, 0.0), dataset.size(index), (float(x1), float(y1)))
            one = found[index]
            parts.append(Part(placement, one.boxes, one.scores, one.labels, dataset.window(index)))
        size = open_image(path).size
        joined.append(merge(parts, size=size, classes=dataset.classes, iou=iou, source=path))
    return joined


def with_classes(found: Detections, rules: Sequence[Rule]) -> Detections:
    """Detections under the classes that the rules make; those of other classes are left out."""
    old = found.classes
    table = np.full(len(old), -1)
    for label, rule in enumerate(rules):
        table[[old.index(name) for name in rule.old]] = label
    labels = table[found.labels]
    ids = tuple(old.original_ids[old.index(rule.old[0])] for rule in rules)
    kept = replace(found.select(labels >= 0), classes=Classes(tuple(rule.new for rule in rules), ids))
    return replace(kept, labels=labels[labels >= 0])
