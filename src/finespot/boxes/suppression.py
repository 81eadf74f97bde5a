"""Non-maximum suppression: exact greedy, class by class, without a time limit and without a coordinate offset.

The result is that of the textbook loop (keep the best box, delete what overlaps it by more than a threshold, repeat)
in float32 arithmetic; what differs is the order of the work. Boxes whose IoU exceeds t also exceed it on each axis
alone, so their centers differ by at most (1 - t) / (2 t) of the smaller side. A sweep over (class, strip, x) finds the
few pairs that near; their IoU is computed at once, and the greedy choice is then a walk over those pairs. Where boxes
pile up, so that even near pairs are too many, the best boxes are settled first and delete their piles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.boxes.ranges import range_pairs
from finespot.errors import FineSpotError

Rows = NDArray[np.int64]
Pairs = tuple[Rows, Rows]
Choice = Callable[[Pairs, int], NDArray[np.bool_]]

# Measured on one core: below this many boxes the full matrix is quicker than the sweep.
_DENSE = 96
# Near pairs looked at before piles are settled from the top (about 20 ns a pair), and how many at once (memory).
PAIR_BUDGET = 2_000_000
_CHUNK = 200_000
SMALLEST_HEAD = 256
# A loop in Python takes over from the vectorized rounds when few pairs are left, or when a chain needs many rounds.
_FEW_PAIRS = 1000
_ROUNDS = 24


def nms(boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, iou: float, max_det: int | None = None) -> Rows:
    """Rows kept by greedy suppression within each class, by falling score.

    Parameters
    ----------
    boxes:
        Corners xyxy, shape (N, 4), taken as float32.
    scores, labels:
        Shape (N,). Of equal scores the lower row comes first.
    iou:
        A box goes when its IoU with a kept box of its class and a better score is greater than this (0 to 1).
        Boxes without area neither delete nor are deleted.
    max_det:
        At most so many rows, the best ones, over all classes; None keeps all.

    Returns
    -------
    Row numbers, int64, by falling score.

    Raises
    ------
    FineSpotError
        A coordinate or score is NaN or infinite, the lengths differ, `iou` lies outside 0 to 1 or `max_det` is
        negative.
    """
    ranked = Ranked.build(boxes, scores, labels, iou, max_det)
    if len(ranked) == 0:
        return ranked.rows
    table = BoxTable.build(ranked.boxes, ranked.labels, iou)
    return ranked.rows[settle(table, ranked.wanted, greedy_beaten)]


@dataclass(frozen=True)
class Ranked:
    """Checked boxes (N, 4) and scores (N,) by falling score; of equal scores the lower row comes first.

    `rows` says which row each was, `labels` are small numbers from 0, `wanted` is how many are to be kept at most; with
    none wanted there are none.
    """

    rows: Rows
    boxes: NDArray[np.float32]
    scores: NDArray[Any]
    labels: Rows
    wanted: int

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def build(
        cls,
        boxes: ArrayLike,
        scores: ArrayLike,
        labels: ArrayLike,
        threshold: float,
        max_det: int | None,
        agnostic: bool = False,
    ) -> Ranked:
        """Check and sort; raises what `nms` says. `agnostic` takes all boxes for boxes of one class."""
        corners = np.asarray(boxes, np.float32)
        values = np.asarray(scores).reshape(-1)
        classes = np.asarray(labels).reshape(-1)
        count = len(values)
        if corners.size != 4 * count or len(classes) != count:
            raise FineSpotError(
                f"expected as many boxes, scores and labels but got {corners.shape}, {count} and {len(classes)}"
            )
        if not 0 <= threshold <= 1:
            raise FineSpotError(f"expected a threshold from 0 to 1 but got {threshold}", where="iou")
        if max_det is not None and max_det < 0:
            raise FineSpotError(f"expected a limit of 0 or more but got {max_det}", where="max_det")
        if not (np.isfinite(corners).all() and np.isfinite(values).all()):
            raise FineSpotError("expected finite boxes and scores but got NaN or infinity")
        order = np.zeros(0, np.int64)
        if count and max_det != 0:
            order = np.argsort(-values, kind="stable")
            classes = np.zeros(count, np.int64) if agnostic else _dense_labels(classes[order])
        wanted = count if max_det is None else max_det
        return cls(order, corners.reshape(-1, 4)[order], values[order], classes[: len(order)], wanted)


def _dense_labels(labels: NDArray[Any]) -> Rows:
    """Labels as small numbers from 0, so that a sort key can hold them."""
    low, high = int(labels.min()), int(labels.max())
    if high - low <= 4 * len(labels) + 1000:
        return labels.astype(np.int64) - low
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class BoxTable:
    """Boxes by falling score, as columns, with how far the center of a partner can lie (`reach_x`, `reach_y`)."""

    corners: tuple[NDArray[np.float32], ...]
    area: NDArray[np.float32]
    labels: Rows
    cx: NDArray[np.float64]
    cy: NDArray[np.float64]
    reach_x: NDArray[np.float64]
    reach_y: NDArray[np.float64]
    threshold: np.float32

    @classmethod
    def build(cls, boxes: NDArray[np.float32], labels: Rows, iou: float) -> BoxTable:
        columns = np.ascontiguousarray(boxes.T)
        wide = columns.astype(np.float64)
        center, side = (wide[:2] + wide[2:]) / 2, wide[2:] - wide[:2]
        reach = (side + side.max(axis=1, keepdims=True)) / 2
        # Float32 can lift an IoU over the threshold by rounding: search a little further than the bound.
        bound = iou * (1 - 1e-5)
        if bound > 0:
            reach = np.minimum(reach, side * ((1 - bound) / (2 * bound)))
        reach += 1e-6 * side
        # The comparison is that of a float32 IoU with a float64 threshold, done in float32.
        threshold = np.float32(iou)
        if float(threshold) > iou:
            threshold = np.nextafter(threshold, np.float32(-1))
        x1, y1, x2, y2 = columns
        area = (x2 - x1) * (y2 - y1)
        return cls((x1, y1, x2, y2), area, labels, center[0], center[1], reach[0], reach[1], threshold)

    def overlapping(self, first: Rows, second: Rows) -> NDArray[np.bool_]:
        """Whether the IoU of each pair is greater than the threshold."""
        x1, y1, x2, y2 = self.corners
        width = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
        height = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
        inter = np.maximum(width, 0) * np.maximum(height, 0)
        union = self.area[first] + self.area[second] - inter
        # Two boxes without area have no union: their IoU counts as 0.
        share = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
        return np.asarray(share > self.threshold)

    def within(self, search: CenterSearch) -> Near:
        """Near pairs among the rows of a search, each once where `close` is asked too."""
        return search.inside()

    def close(self, row: Rows, other: Rows) -> NDArray[np.bool_]:
        """Which near pairs are to be looked at, seen from the first of each."""
        return np.asarray(np.abs(self.cy[row] - self.cy[other]) <= self.reach_y[row])

    def across(self, first: Rows, second: Rows) -> Iterator[Pairs]:
        """The pairs (row of `first`, row of `second`) that overlap by more than the threshold; few at once."""
        search = CenterSearch.build(self, second)
        yield from self.hits(search, search.around(first))

    def hits(self, search: CenterSearch, near: Near) -> Iterator[Pairs]:
        """Those of the near pairs that overlap by more than the threshold."""
        for row, position in near.chunks():
            other = search.rows[position]
            close = self.close(row, other)
            row, other = row[close], other[close]
            hit = self.overlapping(row, other)
            yield row[hit], other[hit]


def settle(table: BoxTable, wanted: int, beaten: Choice) -> Rows:
    """Kept rows of the table, ascending, at most `wanted`: settle the best boxes, delete their piles, go on.

    `beaten` is the choice among conflicting pairs: see `greedy_beaten`.
    """
    alive = np.arange(len(table.area))
    kept: list[Rows] = []
    found = 0
    while len(alive):
        # With a limit, the boxes after the last kept one need not be looked at.
        size = min(len(alive), max(1024, 2 * (wanted - found)))
        while True:
            head = alive[:size]
            if size <= _DENSE:
                pairs = _matrix_pairs(table, head)
                break
            search = CenterSearch.build(table, head)
            near = table.within(search)
            if near.total <= PAIR_BUDGET or size <= SMALLEST_HEAD:
                pairs = conflicts(table, search, near)
                break
            size = max(SMALLEST_HEAD, int(size * 0.5 * (PAIR_BUDGET / near.total) ** 0.5))
        winners = head[~beaten(pairs, len(table.area))[head]]
        kept.append(winners)
        found += len(winners)
        if found >= wanted or size == len(alive):
            break
        alive = _outside(table, winners, alive[size:])
    return np.concatenate(kept)[:wanted]


def greedy_beaten(pairs: Pairs, count: int) -> NDArray[np.bool_]:
    """Which of `count` rows the greedy choice deletes, given all conflicting pairs (better row, worse row)."""
    better, worse = pairs
    dead = np.zeros(count, bool)
    for _ in range(_ROUNDS):
        if len(better) <= _FEW_PAIRS:
            break
        # A box that nobody better conflicts with is kept; all its partners go, and with them their conflicts.
        challenged = np.zeros(count, bool)
        challenged[worse] = True
        dead[worse[~challenged[better]]] = True
        still = ~(dead[better] | dead[worse])
        better, worse = better[still], worse[still]
    # In order of the better row, each row's own fate is known before its turn comes.
    turn = np.argsort(better, kind="stable")
    gone: set[int] = set()
    for first, second in zip(better[turn].tolist(), worse[turn].tolist()):
        if first not in gone:
            gone.add(second)
    dead[list(gone)] = True
    return dead


def _matrix_pairs(table: BoxTable, head: Rows) -> Pairs:
    """All conflicting pairs among a few rows."""
    first, second = np.triu_indices(len(head), 1)
    first, second = head[first], head[second]
    hit = table.overlapping(first, second)
    hit &= table.labels[first] == table.labels[second]
    return first[hit], second[hit]


@dataclass(frozen=True)
class Near:
    """Ranges of near boxes: query `row[k]` of the table is near positions `start[k]` to `end[k]` of a search."""

    row: Rows
    start: Rows
    end: Rows
    total: int

    def chunks(self) -> Iterator[Pairs]:
        """(row, position) pairs, so many at once that memory stays small."""
        for which, position in range_pairs(self.start, self.end, _CHUNK):
            yield self.row[which], position


@dataclass(frozen=True)
class CenterSearch:
    """Rows of a table sorted by class, horizontal strip and x, to find those whose center is near."""

    table: BoxTable
    rows: Rows
    key: NDArray[np.float64]
    strip: Rows
    origin: tuple[float, float]
    height: float
    strips: int
    span: float

    @classmethod
    def build(cls, table: BoxTable, rows: Rows) -> CenterSearch:
        cx, cy = table.cx[rows], table.cy[rows]
        x0, y0 = float(cx.min()), float(cy.min())
        tall = float(cy.max()) - y0
        # With strips as high as the mean reach, a box looks into two strips on the average, whatever the sizes are.
        height = max(2 * float(table.reach_y[rows].mean()), tall / (4 * len(rows)), 1e-9)
        strips = int(tall / height) + 1
        # The gap between strips is wider than any reach, so that no search runs over into the next one.
        span = float(cx.max()) - x0 + 2.001 * float(table.reach_x.max()) + 1
        strip = table.labels[rows] * strips + ((cy - y0) / height).astype(np.int64)
        key = strip * span + (cx - x0)
        order = np.argsort(key)
        return cls(table, rows[order], key[order], strip[order], (x0, y0), height, strips, span)

    def inside(self) -> Near:
        """Near pairs among the own rows, each once: later in the own strip, and all of the strips below."""
        table, rows = self.table, self.rows
        x = self.key - self.strip * self.span
        reach = table.reach_x[rows] + self._slack()
        here = np.arange(1, len(rows) + 1)
        end = np.searchsorted(self.key, self.key + reach, side="right")
        last = np.minimum(self._level(table.cy[rows] + table.reach_y[rows]), self.strips - 1)
        more = last - (self.strip - table.labels[rows] * self.strips)
        which, step = _expand(more)
        base = (self.strip[which] + step + 1) * self.span + x[which]
        low = np.searchsorted(self.key, base - reach[which], side="left")
        high = np.searchsorted(self.key, base + reach[which], side="right")
        return _ranges(np.concatenate([rows, rows[which]]), np.concatenate([here, low]), np.concatenate([end, high]))

    def around(self, queries: Rows) -> Near:
        """Near pairs of other rows (`queries`) with the own ones."""
        table = self.table
        reach_y = table.reach_y[queries]
        first = np.maximum(self._level(table.cy[queries] - reach_y), 0)
        last = np.minimum(self._level(table.cy[queries] + reach_y), self.strips - 1)
        which, step = _expand(last - first + 1)
        row = queries[which]
        strip = table.labels[row] * self.strips + first[which] + step
        base = strip * self.span + (table.cx[row] - self.origin[0])
        reach = table.reach_x[row] + self._slack()
        low = np.searchsorted(self.key, base - reach, side="left")
        high = np.searchsorted(self.key, base + reach, side="right")
        return _ranges(row, low, high)

    def _level(self, y: NDArray[np.float64]) -> Rows:
        return np.floor((y - self.origin[1]) / self.height).astype(np.int64)

    def _slack(self) -> float:
        return 4 * float(np.spacing(abs(self.key[-1]) + self.span))


def _expand(counts: Rows) -> Pairs:
    """For each count c of entry k: k repeated c times, with 0 to c - 1 beside it."""
    counts = np.maximum(counts, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)


def _ranges(row: Rows, start: Rows, end: Rows) -> Near:
    some = end > start
    row, start, end = row[some], start[some], end[some]
    return Near(row, start, end, int((end - start).sum()))


def conflicts(table: BoxTable, search: CenterSearch, near: Near) -> Pairs:
    """The near pairs that conflict, as (better row, worse row)."""
    found = list(table.hits(search, near))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    one, two = (np.concatenate(column) for column in zip(*found))
    return np.minimum(one, two), np.maximum(one, two)


def _outside(table: BoxTable, winners: Rows, rest: Rows) -> Rows:
    """The rows of `rest` that no winner deletes."""
    dead = np.zeros(len(table.area), bool)
    for _, other in table.across(winners, rest):
        dead[other] = True
    return rest[~dead[rest]]
