"""Weighted boxes fusion ("Weighted boxes fusion", 2021): doubles are averaged instead of deleted.

Box by box, by falling score: it joins the fused box of its class with the highest IoU, if that is greater than the
threshold, or begins one of its own; a fused box is the mean of its members weighted by their scores. Windows of a
picture count as one model: a box that only one of them saw keeps its score. Fused boxes move, so they stand in a grid
for each class and size (powers of 2), in which a box looks only into the cells that the threshold allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from finespot.boxes.choice import Kept, check_word
from finespot.boxes.suppression import Ranked
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import MATCH_METRICS

Corners = tuple[float, float, float, float]
_Grid = dict[tuple[int, int], list["_Cluster"]]


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
        clusters = _fuse(ranked, threshold, self.metric)
        values = [one.weight / one.count if self.conf_type == "avg" else one.best for one in clusters]
        kind = ranked.scores.dtype if np.issubdtype(ranked.scores.dtype, np.floating) else np.dtype(np.float64)
        fused_scores = np.array(values).astype(kind)
        # Of equal scores, the cluster that began first.
        order = np.argsort(-fused_scores, kind="stable")[: ranked.wanted]
        fused = np.array([one.box for one in clusters]).astype(np.float32)
        begun = Kept.of(ranked, labels, np.array([one.rank for one in clusters], np.int64))
        return Kept(fused[order], fused_scores[order], begun.labels[order])


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


def _fuse(ranked: Ranked, threshold: float, metric: str) -> list[_Cluster]:
    clusters: list[_Cluster] = []
    grids: dict[int, _Grids] = {}
    rows = zip(ranked.boxes.tolist(), ranked.scores.tolist(), ranked.labels.tolist())
    for rank, (corners, score, label) in enumerate(rows):
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
    return clusters


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
