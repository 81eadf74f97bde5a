"""Findings about the truth of a split: boxes that are hardly right, pictures and classes without any."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.check.survey import Split
from finespot.data.findings import shown_box
from finespot.data.formats.text import read_text
from finespot.data.formats.yolo_text import box_or_polygon, existing, label_path
from finespot.errors import FineSpotError
from finespot.structures import Boxes, Labels

Ints = NDArray[np.int64]

TINY_PX = 2.0
# Share of the picture, and ratio of the sides.
HUGE, SLIVER = 0.9, 20.0
NEARLY_EQUAL = 0.9
# Boxes that follow in order of their left edge and are compared for being nearly equal.
_REACH = 64
# Share of a split's pictures.
_MOSTLY = 0.5

# A line is that of a box, as read and clipped, where no corner lies farther off.
_SAME_PX = 0.01

# Evidence for coordinates that start at 1: so many boxes, all on whole pixels, so many of them at pixel 1.
_ENOUGH, _AT_ONE, _WHOLE_PX = 20, 3, 0.02


@dataclass(frozen=True)
class _Objects:
    """All boxes of a split but ignore regions, with the picture and the row in it of each."""

    boxes: Boxes
    labels: Labels
    picture: Ints
    row: Ints
    heights: NDArray[np.float64]
    widths: NDArray[np.float64]


def check_labels(split: Split) -> None:
    """Boxes and classes of one split."""
    objects, lines = _objects(split), _Lines(split)
    _check_pictures(split)
    if not len(split.dataset):
        split.findings.add("no-pictures", "no picture is left", split.dataset.name)
    elif not len(objects.boxes):
        # Test sets are often published without labels.
        if not split.name.startswith("test"):
            split.findings.add("no-objects", f"{len(split.dataset)} pictures, no object", split.dataset.name)
    else:
        _check_classes(split, objects)
    _check_sides(split, objects, lines)
    _check_pairs(split, objects, lines)
    _check_one_based(split, objects)


def _objects(split: Split) -> _Objects:
    rows = split.dataset.rows
    counts = np.diff(rows.starts)
    picture = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(picture)) - rows.starts[picture]
    sizes = np.array([split.dataset.size(index) for index in range(len(counts))], np.float64).reshape(-1, 2)
    keep = ~rows.ignore
    of = picture[keep]
    return _Objects(rows.boxes[keep], rows.labels[keep], of, row[keep], sizes[of, 0], sizes[of, 1])


def _check_pictures(split: Split) -> None:
    """Pictures without any box, ignore regions included."""
    empty = np.flatnonzero(np.diff(split.dataset.rows.starts) == 0).tolist()
    for index in empty:
        split.note("unlabeled", "has no object", index)
    if len(empty) > _MOSTLY * len(split.dataset) and not split.name.startswith("test"):
        what = f"{len(empty)} of {len(split.dataset)} pictures have no object"
        split.findings.add("mostly-empty", what, split.dataset.name)


def _check_classes(split: Split, objects: _Objects) -> None:
    counts = np.bincount(objects.labels, minlength=len(split.dataset.classes))
    for label in np.flatnonzero(counts == 0).tolist():
        split.findings.add("class-empty", f"no object is a {split.dataset.classes[label]}", split.dataset.name)


def _check_sides(split: Split, objects: _Objects, lines: _Lines) -> None:
    """Boxes whose sides no object of a picture has."""
    sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]).astype(np.float64)
    least, most = sides.min(1, initial=np.inf), sides.max(1, initial=0)
    for at in np.flatnonzero(least < TINY_PX).tolist():
        _note(split, objects, lines, "tiny", f"is {sides[at, 0]:.2g} x {sides[at, 1]:.2g} px", at)
    for at in np.flatnonzero(sides.prod(1) > HUGE * objects.heights * objects.widths).tolist():
        _note(split, objects, lines, "huge", f"covers more than {HUGE:.0%} of the picture", at)
    for at in np.flatnonzero((most >= SLIVER * least) & (least >= TINY_PX)).tolist():
        _note(split, objects, lines, "sliver", f"is {sides[at, 0]:.3g} x {sides[at, 1]:.3g} px", at)


def _check_pairs(split: Split, objects: _Objects, lines: _Lines) -> None:
    """Boxes of one picture that cover nearly the same: of one class, or exactly the same of two.

    Only boxes whose left edges lie within a tenth of a width can overlap so much, so a row is compared with those that
    follow it in order of the left edge until one lies farther.
    """
    x1, y1, x2, y2 = objects.boxes.astype(np.float64).T
    order = np.lexsort((y1, x1, objects.picture))
    area = (x2 - x1) * (y2 - y1)
    start = np.arange(len(order))
    noted: set[tuple[str, int]] = set()
    for step in range(1, _REACH + 1):
        start = start[start < len(order) - step]
        a, b = order[start], order[start + step]
        close = (objects.picture[a] == objects.picture[b]) & (x1[b] - x1[a] <= (1 - NEARLY_EQUAL) * (x2 - x1)[a])
        start, a, b = start[close], a[close], b[close]
        if not len(start):
            return
        width = np.minimum(x2[a], x2[b]) - np.maximum(x1[a], x1[b])
        height = np.minimum(y2[a], y2[b]) - np.maximum(y1[a], y1[b])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        overlap = shared / (area[a] + area[b] - shared)
        equal, same_class = (objects.boxes[a] == objects.boxes[b]).all(1), objects.labels[a] == objects.labels[b]
        for kind, found in (
            ("conflict", equal & ~same_class),
            ("double", (overlap >= NEARLY_EQUAL) & ~equal & same_class),
        ):
            for one, other, iou in zip(a[found].tolist(), b[found].tolist(), overlap[found].tolist()):
                later, earlier = max(one, other), min(one, other)
                if (kind, later) not in noted:  # of three equal ones, two are too many
                    noted.add((kind, later))
                    _note(split, objects, lines, kind, _pair(split, objects, kind, earlier, iou), later)


def _pair(split: Split, objects: _Objects, kind: str, other: int, iou: float) -> str:
    if kind == "conflict":
        return f"is also a {split.dataset.classes[int(objects.labels[other])]}"
    return f"overlaps object {objects.row[other] + 1} of its class by {iou:.0%}"


def _check_one_based(split: Split, objects: _Objects) -> None:
    """Whole coordinates that start at 1 and end at the picture's last: Pascal VOC's, read as if they started at 0."""
    boxes = objects.boxes
    if len(boxes) < _ENOUGH or (np.abs(boxes - np.round(boxes)) > _WHOLE_PX).mean() > 0.01:
        return
    left_top = np.round(boxes[:, :2])
    at_one = int((left_top == 1).any(1).sum())
    at_end = (np.round(boxes[:, 2]) >= objects.widths) | (np.round(boxes[:, 3]) >= objects.heights)
    if left_top.min() == 1 and at_one >= _AT_ONE and at_end.any():
        what = f"{at_one} boxes begin at pixel 1, none at 0, and {int(at_end.sum())} end at the picture's edge"
        split.findings.add("one-based", what, split.dataset.name)


def _note(split: Split, objects: _Objects, lines: _Lines, kind: str, what: str, at: int) -> None:
    """A finding about one object."""
    index, row = int(objects.picture[at]), int(objects.row[at])
    x1, y1, x2, y2 = objects.boxes[at].tolist()
    name = split.dataset.classes[int(objects.labels[at])]
    # Only what is kept needs its place, which costs reading the label file again.
    kept = split.findings.counts.get(kind, 0) < split.findings.most
    what = f"{name} {shown_box((x1, y1, x2, y2))} {what}"
    split.note(kind, what, index, lines.place(index, row) if kept else "", (x1, y1, x2, y2))


class _Lines:
    """Where the objects of a split stand: data sets do not keep it, so label files are read again."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._index = -1
        self._file = ""
        self._rows: NDArray[np.float64] = np.zeros((0, 6))

    def place(self, index: int, row: int) -> str:
        """`file:line` of an object in a YOLO label file, else the picture and which object of it."""
        path = self._split.dataset.path(index)
        if self._split.yolo:
            if index != self._index:
                self._index, self._file = index, existing(label_path(path)) or ""
                self._rows = self._read(*self._split.dataset.size(index))
            boxes, labels, _ = self._split.dataset.columns(index)
            off = np.abs(self._rows[:, 2:] - boxes[row]).max(1, initial=0)
            found = np.flatnonzero((self._rows[:, 1] == labels[row]) & (off < _SAME_PX))
            if len(found):
                return f"{self._file}:{self._rows[found[0], 0]:.0f}"
        return f"{path}: object {row + 1}"

    def _read(self, height: int, width: int) -> NDArray[np.float64]:
        """Line number, label and clipped corners of each line of the file that holds a box or polygon."""
        rows = []
        if self._file:
            for number, line in enumerate(read_text(Path(self._file)).splitlines(), 1):
                with suppress(FineSpotError):  # a line that the reader has refused
                    label, corners = box_or_polygon(line.split(), len(self._split.dataset.classes), 0, "")
                    rows.append((number, label, *corners))
        found = np.array(rows, np.float64).reshape(-1, 6)
        found[:, 2:] = np.clip(found[:, 2:], 0, 1) * [width, height, width, height]
        return found
