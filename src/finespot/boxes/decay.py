"""Suppressions that lower scores instead of deleting boxes; the least score is to be applied to what they leave.

`soft` is Soft-NMS (2017): one box after the other is picked, by falling score, and lowers those that overlap it.
`matrix` is Matrix NMS ("SOLOv2", 2020): each box is lowered once, by its worst overlap with a better one, less what
that one suffers itself. Both need all overlaps, however small; they are found from the larger box of each pair, so that
one large box does not widen the search of all. Arithmetic is float64.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.boxes.choice import Kept, check_number, check_word
from finespot.boxes.match import share
from finespot.boxes.suppression import BoxTable, CenterSearch, Ranked, Rows
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import MATCH_METRICS

Values = NDArray[np.float64]

# Overlaps that are kept in memory at most (24 bytes each); piles with more are looked at one box at a time.
_PAIR_BUDGET = 2_000_000
# What divides in place of 0, where a better box lies exactly on another.
_EPS = 1e-9


@register("nms", "soft")
@dataclass(frozen=True)
class Soft:
    """A picked box multiplies the scores of the others: by exp(-IoU^2 / sigma), or (`linear`) by 1 - IoU where the IoU
    is greater than the threshold. What falls below `floor` goes. `sigma` is 0.5 where left out. `metric=ios` takes the
    IoS instead.
    """

    method: str = "gaussian"
    sigma: float | None = None
    floor: float = 0.001
    metric: str = "iou"
    agnostic: bool = False

    def __post_init__(self) -> None:
        check_word("soft", "metric", self.metric, MATCH_METRICS)
        check_word("soft", "method", self.method, ("gaussian", "linear"))
        _check_sigma("soft", self.sigma, self.method)
        check_number("soft", "floor", self.floor, high=1.0)

    @property
    def thresholded(self) -> bool:
        """Whether the threshold has an effect: not on the Gaussian."""
        return self.method == "linear"

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        ranked = Ranked.build(boxes, scores, labels, threshold, max_det, self.agnostic)
        if len(ranked) == 0:
            return Kept.of(ranked, labels, ranked.rows)
        near = _Neighbors(Overlaps(ranked, threshold if self.thresholded else 0.0, self.metric))
        score = ranked.scores.astype(np.float64)
        # Scores only fall, so an entry of the heap promises too much at worst: the top counts when it is up to date.
        heap = [(-value, row, rank) for rank, (value, row) in enumerate(zip(score.tolist(), ranked.rows.tolist()))]
        picked: list[int] = []
        values: list[float] = []
        while heap and len(picked) < ranked.wanted:
            promised, row, rank = heap[0]
            value = float(score[rank])
            if value < self.floor:
                heapq.heappop(heap)
            elif value < -promised:
                heapq.heapreplace(heap, (-value, row, rank))
            else:
                heapq.heappop(heap)
                picked.append(rank)
                values.append(value)
                others, iou = near.of(rank)
                score[others] *= self._factor(iou)
        return _rescored(Kept.of(ranked, labels, np.array(picked, np.int64)), np.array(values))

    def _factor(self, iou: Values) -> Values:
        return np.asarray(1 - iou if self.method == "linear" else np.exp(-(iou**2) / (self.sigma or 0.5)))


@register("nms", "matrix")
@dataclass(frozen=True)
class Matrix:
    """Each score is multiplied by the least f(IoU of i and it) / f(largest IoU of i with a better one) over all better
    boxes i; f(x) = exp(-sigma x^2), or (`linear`) 1 - x. Takes no threshold. `sigma` is 2 where left out.
    """

    kernel: str = "gaussian"
    sigma: float | None = None
    agnostic: bool = False
    thresholded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_word("matrix", "kernel", self.kernel, ("gaussian", "linear"))
        _check_sigma("matrix", self.sigma, self.kernel)

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        ranked = Ranked.build(boxes, scores, labels, threshold, max_det, self.agnostic)
        if len(ranked) == 0:
            return Kept.of(ranked, labels, ranked.rows)
        overlaps = Overlaps(ranked, 0.0)
        worst = np.zeros(len(ranked))
        for _, second, iou in overlaps.pairs():
            np.maximum.at(worst, second, iou)
        decay = np.ones(len(ranked))
        for first, second, iou in overlaps.pairs():
            np.minimum.at(decay, second, self._ratio(iou, worst[first]))
        values = ranked.scores.astype(np.float64) * decay
        order = np.lexsort((ranked.rows, -values))[: ranked.wanted]
        return _rescored(Kept.of(ranked, labels, order), values[order])

    def _ratio(self, iou: Values, worst: Values) -> Values:
        if self.kernel == "linear":
            return np.asarray((1 - iou) / np.maximum(1 - worst, _EPS))
        return np.asarray(np.exp((self.sigma or 2.0) * (worst**2 - iou**2)))


class Overlaps:
    """The pairs of a class whose IoU (or IoS) is greater than `least`, as ranks; few at once, so that memory stays
    small.
    """

    def __init__(self, ranked: Ranked, least: float, metric: str = "iou") -> None:
        self._metric = metric
        table = BoxTable.build(ranked.boxes, ranked.labels, least if metric == "iou" else 0.0)
        self._corners = tuple(column.astype(np.float64) for column in table.corners)
        x1, y1, x2, y2 = self._corners
        self._area = (x2 - x1) * (y2 - y1)
        self._labels, self._least = ranked.labels, least
        # Seen from the larger of two boxes that overlap, the centers are no farther apart than its longer side.
        self._side = np.maximum(x2 - x1, y2 - y1)
        reach = self._side * (1 + 1e-6)
        self._table = replace(table, reach_x=np.minimum(reach, table.reach_x), reach_y=np.minimum(reach, table.reach_y))

    def __len__(self) -> int:
        return len(self._labels)

    def pairs(self) -> Iterator[tuple[Rows, Rows, Values]]:
        """(better rank, worse rank, IoU) of each pair, once."""
        table, side = self._table, self._side
        search = CenterSearch.build(table, np.arange(len(self)))
        cy = table.cy[search.rows]
        for row, position in search.around(search.rows).chunks():
            other = search.rows[position]
            once = (side[row] > side[other]) | ((side[row] == side[other]) & (row < other))
            once &= np.abs(table.cy[row] - cy[position]) <= table.reach_y[row]
            row, other = row[once], other[once]
            iou = self._matches(row, other)
            hit = iou > self._least
            row, other = row[hit], other[hit]
            yield np.minimum(row, other), np.maximum(row, other), iou[hit]

    def of(self, rank: int) -> tuple[Rows, Values]:
        """The partners of one box, found among all, with their IoU."""
        others = np.flatnonzero(self._labels == self._labels[rank])
        others = others[others != rank]
        iou = self._matches(np.array([rank]), others)
        hit = iou > self._least
        return others[hit], iou[hit]

    def _matches(self, first: Rows, second: Rows) -> Values:
        x1, y1, x2, y2 = self._corners
        width = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
        height = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        if self._metric == "ios":
            return share(shared, np.minimum(self._area[first], self._area[second]))
        return share(shared, self._area[first] + self._area[second] - shared)


class _Neighbors:
    """The partners of each box, looked up in a list of all pairs, or in all boxes where the list would be too long."""

    def __init__(self, overlaps: Overlaps) -> None:
        self._overlaps = overlaps
        self._starts: list[int] = []
        found: list[tuple[Rows, Rows, Values]] = []
        total = 0
        for one in overlaps.pairs():
            found.append(one)
            total += len(one[0])
            if total > _PAIR_BUDGET:
                return
        first, second, iou = (np.concatenate(column) for column in zip(*found)) if found else _NOTHING
        owner = np.concatenate([first, second])
        order = np.argsort(owner, kind="stable")
        self._partners = np.concatenate([second, first])[order]
        self._iou = np.concatenate([iou, iou])[order]
        self._starts = np.searchsorted(owner[order], np.arange(len(overlaps) + 1)).tolist()

    def of(self, rank: int) -> tuple[Rows, Values]:
        """Ranks that overlap with this one, and by how much."""
        if not self._starts:
            return self._overlaps.of(rank)
        own = slice(self._starts[rank], self._starts[rank + 1])
        return self._partners[own], self._iou[own]


_NOTHING = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def _check_sigma(owner: str, sigma: float | None, form: str) -> None:
    if sigma is None:
        return
    check_number(owner, "sigma", sigma)
    if form == "linear":
        raise FineSpotError(f"sigma has no effect on '{owner}' in its linear form", where="nms")


def _rescored(kept: Kept, values: Values) -> Kept:
    """With new scores, in the number type of the old ones."""
    kind = kept.scores.dtype if np.issubdtype(kept.scores.dtype, np.floating) else np.dtype(np.float64)
    return kept._replace(scores=values.astype(kind))
