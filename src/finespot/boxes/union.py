"""Non-maximum merging: doubles grow together instead of being deleted.

What a tile cut in two is found as two pieces, neither of which is right; their union is. `nmm` keeps the boxes that
greedy suppression keeps, with their scores and classes, and gives each the hull of itself and of all that it beats
(the GREEDYNMM of sliced prediction; that asks each piece again with the grown box, here the best box itself decides).
With `transitive` a chain of matches is one object (NMM): each box belongs to the best of the better boxes that it
matches, whether that one begins a group or belongs to one itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.boxes.choice import Kept, check_word
from finespot.boxes.match import match_table
from finespot.boxes.suppression import (
    PAIR_BUDGET,
    SMALLEST_HEAD,
    BoxTable,
    CenterSearch,
    Ranked,
    Rows,
    greedy_beaten,
    settle,
)
from finespot.registry import register
from finespot.structures import MATCH_METRICS


@register("nms", "nmm")
@dataclass(frozen=True)
class Nmm:
    """The hull of the best box and of all whose `metric` with it is greater than the threshold; `transitive`: of all
    that a chain of such matches, each with a better box, leads to it.
    """

    metric: str = "iou"
    transitive: bool = False
    agnostic: bool = False
    thresholded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_word("nmm", "metric", self.metric, MATCH_METRICS)

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        ranked = Ranked.build(boxes, scores, labels, threshold, max_det, self.agnostic)
        if len(ranked) == 0:
            return Kept.of(ranked, labels, ranked.rows)
        table = match_table(ranked, threshold, self.metric)
        owner = _chained(table) if self.transitive else _owned(table, ranked.wanted)
        kept = np.flatnonzero(owner == np.arange(len(owner)))[: ranked.wanted]
        return Kept.of(ranked, labels, kept)._replace(boxes=_hulls(ranked.boxes, owner)[kept])


def _owned(table: BoxTable, wanted: int) -> Rows:
    """For each row the best kept one that beats it, itself where it is kept, -1 beyond the last one wanted."""
    kept = settle(table, wanted, greedy_beaten)
    owner = np.full(len(table.area), len(table.area))
    owner[kept] = kept
    others = np.flatnonzero(owner == len(owner))
    if len(others):
        for better, row in table.across(kept, others):
            # A kept box beats only worse ones.
            later = better < row
            np.minimum.at(owner, row[later], better[later])
    return np.where(owner == len(owner), -1, owner)


def _chained(table: BoxTable) -> Rows:
    """For each row the first of its group: from row to row, always to the best of the better ones that match."""
    count = len(table.area)
    above = np.arange(count)
    left, done, size = np.arange(count), 0, count
    near = table.within(CenterSearch.build(table, left))
    if near.total > PAIR_BUDGET:  # where boxes pile up, few of them are the best of all the others
        size = SMALLEST_HEAD
    while done < count and len(left):
        for better, row in table.across(np.arange(done, min(done + size, count)), left):
            worse = better < row
            np.minimum.at(above, row[worse], better[worse])
        done, size = done + size, 2 * size
        left = left[(above[left] == left) & (left >= done)]
    while True:
        higher = above[above]
        if np.array_equal(higher, above):
            return above
        above = higher


def _hulls(boxes: NDArray[np.float32], owner: Rows) -> NDArray[np.float32]:
    """Boxes (N, 4), grown by those that they own."""
    hulls: NDArray[np.float32] = boxes.copy()
    members = np.flatnonzero((owner >= 0) & (owner != np.arange(len(owner))))
    np.minimum.at(hulls[:, :2], owner[members], boxes[members, :2])
    np.maximum.at(hulls[:, 2:], owner[members], boxes[members, 2:])
    return hulls
