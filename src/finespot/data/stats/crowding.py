"""How close objects lie: overlap with a neighbor, and what suppression would take of the truth itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import nms
from finespot.data.stats.columns import Columns, Floats, Ints

# Pairs looked at at once: bounds the memory.
_CHUNK = 500_000


def overlapping(columns: Columns, iou: float) -> NDArray[np.bool_]:
    """Whether each object has an IoU above `iou` with another object of its picture, of any class."""
    found = np.zeros(len(columns.picture), np.bool_)
    if not len(found):
        return found
    order = np.lexsort((columns.boxes[:, 0], columns.picture))
    picture, boxes = columns.picture[order], columns.boxes[order]
    # A partner that starts at x overlaps at most x2 - x of this box's width, so nothing beyond x1 + (1 - iou) * width
    # can reach the threshold. On the line of keys, pictures lie further apart than any reach.
    left, right = boxes[:, 0], boxes[:, 2]
    key = picture * (right.max() - left.min() + 1) + (left - left.min())
    reach = (1 - iou) * (right - left) + 4 * np.spacing(key[-1])
    end = np.searchsorted(key, key + reach, side="right")
    hit = np.zeros(len(found), np.bool_)
    for one, other in _pairs(np.arange(1, len(key) + 1), end):
        near = _iou(boxes[one], boxes[other]) > iou
        hit[one[near]] = hit[other[near]] = True
    found[order] = hit
    return found


def suppressed(columns: Columns, classes: int, iou: float) -> int:
    """How many objects class-wise suppression at `iou` would delete if the truth were the detections."""
    own_class = columns.picture * classes + columns.labels
    return len(own_class) - len(nms(columns.boxes, np.zeros(len(own_class)), own_class, iou))


def _pairs(start: Ints, end: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(i, j) for all i and start[i] <= j < end[i], in pieces."""
    counts = end - start
    edges = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = edges[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(edges, done + _CHUNK, side="right")))
        part = counts[begin:stop]
        first = np.repeat(start[begin:stop] - (np.cumsum(part) - part), part)
        yield np.repeat(np.arange(begin, stop), part), first + np.arange(int(part.sum()))
        begin = stop


def _iou(a: Floats, b: Floats) -> Floats:
    """IoU of pairs of boxes."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    return np.asarray(shared / union)
