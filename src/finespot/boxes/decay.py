"""Suppressions that lower scores instead of deleting boxes; the least score is to be applied to what they leave.

`soft` is Soft-NMS (2017): one box after the other is picked, by falling score, and lowers those that overlap it.
`matrix` is Matrix NMS ("SOLOv2", 2020): each box is lowered once, by its worst overlap with a better one, less what
that one suffers itself. Both need all overlaps, however small; they are found from the larger box of each pair, so that
one large box does not widen the search of all. Arithmetic is float64.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
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
# Ranks that overlap with one, and by how much.
Partners = Callable[[int], tuple[Rows, Values]]

# Overlaps that are kept in memory at most (24 bytes each); piles with more are looked at one box at a time.
_PAIR_BUDGET = 2_000_000
# Rounds over all pairs, before what is left goes one by one.
_ROUNDS = 100
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
        overlaps = Overlaps(ranked, threshold if self.thresholded else 0.0, self.metric)
        score, pairs = ranked.scores.astype(np.float64), listed(overlaps)
        if pairs is None:
            every = np.arange(len(ranked))
            picked, values = self._one_by_one(ranked, score, every, overlaps.of, ranked.wanted)
        else:
            self._in_rounds(ranked, score, *pairs)
            left = np.flatnonzero(score >= self.floor)
            picked = left[np.lexsort((ranked.rows[left], -score[left]))][: ranked.wanted]
            values = score[picked]
        return _rescored(Kept.of(ranked, labels, picked), values)

    def _in_rounds(self, ranked: Ranked, score: Values, first: Rows, second: Rows, iou: Values) -> None:
        """Leave in `score` what each box has when it is picked, or less than the floor; given all pairs.

        A box that is better than all its partners is picked before any of them, so nothing lowers it any more: all such
        boxes of the picture are picked at once, lower their partners, and leave with their pairs.
        """
        for _ in range(_ROUNDS):
            both = (score[first] >= self.floor) & (score[second] >= self.floor)
            first, second, iou = first[both], second[both], iou[both]
            if not len(first):
                return
            one, two = score[first], score[second]
            ahead = (one > two) | ((one == two) & (ranked.rows[first] < ranked.rows[second]))
            better, worse = np.where(ahead, first, second), np.where(ahead, second, first)
            beaten = np.zeros(len(score), bool)
            beaten[worse] = True
            now = ~beaten[better]
            # In the order of ranks, so that boxes of other classes change no last digit.
            lowering = np.flatnonzero(now)[np.argsort(better[now], kind="stable")]
            np.multiply.at(score, worse[lowering], self._factor(iou[lowering]))
            first, second, iou = first[~now], second[~now], iou[~now]
        if not len(first):
            return
        # Long chains, of which each round takes a link.
        rest, partners = np.unique(np.concatenate([first, second])), _partners(first, second, iou)
        picked, values = self._one_by_one(ranked, score, rest, partners, len(rest))
        score[rest] = -np.inf
        score[picked] = values

    def _one_by_one(
        self, ranked: Ranked, score: Values, ranks: Rows, partners: Partners, wanted: int
    ) -> tuple[Rows, Values]:
        """The best of some ranks by falling score, and these scores; `score` is lowered on the way."""
        # Scores only fall, so an entry of the heap promises too much at worst: the top counts when it is up to date.
        heap = list(zip((-score[ranks]).tolist(), ranked.rows[ranks].tolist(), ranks.tolist()))
        heapq.heapify(heap)
        picked: list[int] = []
        values: list[float] = []
        while heap and len(picked) < wanted:
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
                others, iou = partners(rank)
                score[others] *= self._factor(iou)
        return np.array(picked, np.int64), np.array(values)

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


def listed(overlaps: Overlaps) -> tuple[Rows, Rows, Values] | None:
    """All pairs, or None where they would take too much memory."""
    found: list[tuple[Rows, Rows, Values]] = []
    total = 0
    for one in overlaps.pairs():
        found.append(one)
        total += len(one[0])
        if total > _PAIR_BUDGET:
            return None
    first, second, iou = (np.concatenate(column) for column in zip(*found)) if found else _NOTHING
    return first, second, iou


def _partners(first: Rows, second: Rows, iou: Values) -> Partners:
    """Looks up the partners of a rank, and how much they overlap, in a list of pairs."""
    owner = np.concatenate([first, second])
    order = np.argsort(owner, kind="stable")
    other, both = np.concatenate([second, first])[order], np.concatenate([iou, iou])[order]
    starts = np.searchsorted(owner[order], np.arange(owner.max() + 2)).tolist()
    return lambda rank: (other[starts[rank] : starts[rank + 1]], both[starts[rank] : starts[rank + 1]])


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
