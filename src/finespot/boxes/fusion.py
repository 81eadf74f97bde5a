"""Weighted boxes fusion ("Weighted boxes fusion", 2021): doubles are averaged instead of deleted.

Box by box, by falling score: it joins the fused box of its class with the highest IoU, if that is greater than the
threshold, or begins one of its own; a fused box is the mean of its members weighted by their scores. Windows of a
picture count as one model: a box that only one of them saw keeps its score.

A fused box lies within the hull of its members. So boxes part into heaps whose hulls do not overlap, and what happens
in one does not touch another: step by step the next box of every heap is fused at once. In large heaps it goes box by
box: fused boxes, which move, stand in a grid for each class and size (powers of 2), in which a box looks only into the
cells that the threshold allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.boxes.choice import Kept, check_word
from finespot.boxes.decay import Overlaps, listed
from finespot.boxes.match import share
from finespot.boxes.ranges import range_pairs
from finespot.boxes.suppression import Ranked, Rows
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import MATCH_METRICS

Values = NDArray[np.float64]
Corners = tuple[float, float, float, float]
_Grid = dict[tuple[int, int], list["_Cluster"]]

# Boxes of a heap at most that are fused in steps with those of the others.
_LARGEST = 256
# Pairs that are compared at once: bounds the memory of a step.
_CHUNK = 500_000


@register("nms", "weighted")
@dataclass(frozen=True)
class Weighted:
    """Fused boxes with the mean (`conf_type=avg`) or the best (`max`) of their members' scores. `metric=ios` joins by
    the IoS.
    """

    conf_type: str = "avg"
    metric: str = "iou"
    agnostic: bool = False
    thresholded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_word("weighted", "conf_type", self.conf_type, ("avg", "max"))
        check_word("weighted", "metric", self.metric, MATCH_METRICS)

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        ranked = Ranked.build(boxes, scores, labels, threshold, max_det, self.agnostic)
        if len(ranked) == 0:
            return Kept.of(ranked, labels, ranked.rows)
        if ranked.scores[-1] < 0:
            raise FineSpotError(f"expected scores of 0 or more as weights but got {ranked.scores[-1]}")
        fused = _fuse(ranked, threshold, self.metric)
        values = fused.weight / fused.count if self.conf_type == "avg" else fused.best
        kind = ranked.scores.dtype if np.issubdtype(ranked.scores.dtype, np.floating) else np.dtype(np.float64)
        scores = values.astype(kind)
        # Of equal scores, the cluster that began first.
        order = np.lexsort((fused.rank, -scores))[: ranked.wanted]
        begun = Kept.of(ranked, labels, fused.rank)
        return Kept(fused.box.astype(np.float32)[order], scores[order], begun.labels[order])


@dataclass
class _Fused:
    """Fused boxes as columns: `box` and weighted `sums` (n, 4), `weight`, `count`, `best` score of the members, and the
    `rank` of the first of them (n,); where the count is 0, none began.
    """

    box: Values
    sums: Values
    weight: Values
    count: Rows
    best: Values
    rank: Rows

    @classmethod
    def empty(cls, size: int) -> _Fused:
        box, sums = np.zeros((size, 4)), np.zeros((size, 4))
        return cls(box, sums, np.zeros(size), np.zeros(size, np.int64), np.zeros(size), np.zeros(size, np.int64))

    def begin(self, place: Rows, rank: Rows, boxes: Values, scores: Values) -> None:
        """Fused boxes of one member each."""
        self.box[place], self.sums[place], self.rank[place] = boxes, scores[:, None] * boxes, rank
        self.weight[place] = self.best[place] = scores
        self.count[place] = 1

    def add(self, place: Rows, boxes: Values, scores: Values) -> None:
        """A member more for each."""
        self.weight[place] += scores
        self.count[place] += 1
        self.sums[place] += scores[:, None] * boxes
        moved = place[self.weight[place] > 0]
        self.box[moved] = self.sums[moved] / self.weight[moved, None]

    def begun(self) -> tuple[NDArray[Any], ...]:
        """The columns of those that began."""
        rows = np.flatnonzero(self.count)
        return tuple(column[rows] for column in (self.box, self.sums, self.weight, self.count, self.best, self.rank))


def _fuse(ranked: Ranked, threshold: float, metric: str) -> _Fused:
    heap = _heaps(ranked)
    large = np.bincount(heap)[heap] > _LARGEST
    small = np.flatnonzero(~large)
    order = small[np.argsort(heap[small], kind="stable")]
    parts = (_in_steps(ranked, order, heap[order], threshold, metric), _one_by_one(ranked, large, threshold, metric))
    return _Fused(*(np.concatenate(columns) for columns in zip(*(part.begun() for part in parts))))


def _heaps(ranked: Ranked) -> Rows:
    """The number of each box's heap, from 0; all of them in one where their overlaps are too many to list."""
    own = np.arange(len(ranked))
    hulls, labels = ranked.boxes, ranked.labels
    while True:
        rows = np.arange(len(hulls))
        pairs = listed(Overlaps(Ranked(rows, hulls, np.zeros(len(hulls)), labels, len(hulls)), 0.0))
        if pairs is None:
            return np.zeros(len(ranked), np.int64)
        first, second, _ = pairs
        if not len(first):
            return own
        joined = _joined(len(hulls), first, second)
        own, order = joined[own], np.argsort(joined, kind="stable")
        starts = np.flatnonzero(np.diff(joined[order], prepend=-1))
        low, high = np.minimum.reduceat(hulls[order, :2], starts), np.maximum.reduceat(hulls[order, 2:], starts)
        # A mean may leave the hull by rounding.
        hulls = np.concatenate([np.nextafter(low, -np.inf), np.nextafter(high, np.inf)], 1, dtype=np.float32)
        labels = labels[order[starts]]


def _joined(count: int, first: Rows, second: Rows) -> Rows:
    """For each of `count` numbers that of its group, from 0; pairs are of one group."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[first], root[second])
        lower = root.copy()
        for one in (root[first], root[second], first, second):
            np.minimum.at(lower, one, low)
        lower = lower[lower]
        if np.array_equal(lower, root):
            return np.unique(root, return_inverse=True)[1].reshape(-1)
        root = lower


def _in_steps(ranked: Ranked, order: Rows, heap: Rows, threshold: float, metric: str) -> _Fused:
    """The fused boxes of heaps; `order` are ranks, heap by heap, of which `heap` says whose they are."""
    boxes, scores = ranked.boxes[order].astype(np.float64), ranked.scores[order].astype(np.float64)
    fused = _Fused.empty(len(order))
    start = np.flatnonzero(np.diff(heap, prepend=-1))
    size = np.diff(start, append=len(order))
    largest = np.argsort(-size, kind="stable")
    start, size, begun = start[largest], size[largest], np.zeros(len(start), np.int64)
    for step in range(int(size.max(initial=0))):
        active = int(np.count_nonzero(size > step))
        row, place = start[:active] + step, np.full(active, -1)
        for which, position in range_pairs(start[:active], start[:active] + begun[:active], _CHUNK):
            match = _match(boxes[row[which]], fused.box[position], metric)
            hit = np.flatnonzero(match > threshold)
            # Of each heap's the best, and of equal ones the one begun first.
            hit = hit[np.lexsort((position[hit], -match[hit], which[hit]))]
            hit = hit[np.diff(which[hit], prepend=-1) > 0]
            place[which[hit]] = position[hit]
        joins, new = place >= 0, place < 0
        fused.add(place[joins], boxes[row[joins]], scores[row[joins]])
        fused.begin(start[:active][new] + begun[:active][new], order[row[new]], boxes[row[new]], scores[row[new]])
        begun[:active] += new
    return fused


def _match(boxes: Values, others: Values, metric: str) -> Values:
    """IoU or IoS of each pair; 0 where they share nothing."""
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    shared = np.maximum(high - low, 0).prod(1)
    own, other = ((one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1]) for one in (boxes, others))
    return share(shared, own + other - shared if metric == "iou" else np.minimum(own, other))


@dataclass(eq=False)
class _Cluster:
    """A fused box with its members' sums; `rank` is the first member's."""

    rank: int
    box: Corners
    best: float
    weight: float
    sums: list[float]
    count: int = 1
    cell: list[_Cluster] = field(default_factory=list)

    def add(self, box: Corners, score: float) -> None:
        self.weight += score
        self.count += 1
        self.sums = [total + score * value for total, value in zip(self.sums, box)]
        if self.weight > 0:
            x1, y1, x2, y2 = (total / self.weight for total in self.sums)
            self.box = (x1, y1, x2, y2)


def _one_by_one(ranked: Ranked, chosen: NDArray[np.bool_], threshold: float, metric: str) -> _Fused:
    """The fused boxes of the ranks that are chosen."""
    clusters: list[_Cluster] = []
    grids: dict[int, _Grids] = {}
    ranks = np.flatnonzero(chosen)
    columns = (ranked.boxes[ranks], ranked.scores[ranks], ranked.labels[ranks])
    for rank, corners, score, label in zip(ranks.tolist(), *(column.tolist() for column in columns)):
        box: Corners = tuple(corners)
        if label not in grids:
            grids[label] = _Grids(threshold, metric)
        grid = grids[label]
        found = grid.nearest(box)
        if found is None:
            found = _Cluster(rank, box, score, score, [score * value for value in box])
            clusters.append(found)
        else:
            found.cell.remove(found)
            found.add(box, score)
        grid.put(found)
    fused = _Fused.empty(len(clusters))
    if clusters:
        fused.box, fused.sums = np.array([one.box for one in clusters]), np.array([one.sums for one in clusters])
        fused.weight, fused.best = (np.array([getattr(one, name) for one in clusters]) for name in ("weight", "best"))
        fused.count, fused.rank = (np.array([getattr(one, name) for one in clusters]) for name in ("count", "rank"))
    return fused


class _Grids:
    """The fused boxes of a class: for each power of 2 above their longer side a grid of cells that wide."""

    def __init__(self, threshold: float, metric: str) -> None:
        self.threshold, self.metric = threshold, metric
        # Of two boxes whose IoU is greater than t, the centers are at most (1 - t) / (2 t) of the smaller's longer side
        # apart on each axis, and the longer sides differ by less than the factor 1 / t. An IoS says nothing of sizes.
        bound = threshold * (1 - 1e-9) if metric == "iou" else 0.0
        self.reach = (1 - bound) / (2 * bound) if bound > 0 else math.inf
        self.factor = bound
        self.levels: dict[int, _Grid] = {}

    def put(self, cluster: _Cluster) -> None:
        """Enter a fused box where it lies now; one without area is found by none."""
        x1, y1, x2, y2 = cluster.box
        side = max(x2 - x1, y2 - y1)
        level = math.frexp(side)[1]
        cell = 2.0**level
        place = math.floor((x1 + x2) / 2 / cell), math.floor((y1 + y2) / 2 / cell)
        cluster.cell = self.levels.setdefault(level, {}).setdefault(place, [])
        cluster.cell.append(cluster)

    def nearest(self, box: Corners) -> _Cluster | None:
        """The fused box of the highest metric above the threshold; of equal ones, the one begun first."""
        x1, y1, x2, y2 = box
        area = (x2 - x1) * (y2 - y1)
        best, found = self.threshold, None
        if area <= 0:
            return None
        for cell in self._cells(box):
            for cluster in cell:
                u1, v1, u2, v2 = cluster.box
                width = (x2 if x2 < u2 else u2) - (x1 if x1 > u1 else u1)
                height = (y2 if y2 < v2 else v2) - (y1 if y1 > v1 else v1)
                if width <= 0 or height <= 0:
                    continue
                shared, other = width * height, (u2 - u1) * (v2 - v1)
                match = shared / (area + other - shared if self.metric == "iou" else min(area, other))
                if match > best or (found is not None and match == best and cluster.rank < found.rank):
                    best, found = match, cluster
        return found

    def _cells(self, box: Corners) -> Iterator[list[_Cluster]]:
        """The cells in which a partner of this box can lie."""
        x1, y1, x2, y2 = box
        side = max(x2 - x1, y2 - y1)
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        low = math.frexp(side * self.factor)[1]
        high = math.frexp(side / self.factor)[1] if self.factor > 0 else None
        for level, grid in self.levels.items():
            if (self.factor > 0 and level < low) or (high is not None and level > high):
                continue
            cell = 2.0**level
            reach = min(self.reach * min(side, cell), (side + cell) / 2) * (1 + 1e-9)
            left, right = math.floor((cx - reach) / cell), math.floor((cx + reach) / cell)
            top, bottom = math.floor((cy - reach) / cell), math.floor((cy + reach) / cell)
            if (right - left + 1) * (bottom - top + 1) > len(grid):
                yield from grid.values()
                continue
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    cell_there = grid.get((column, row))
                    if cell_there:
                        yield cell_there
