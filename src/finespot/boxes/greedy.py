"""Suppressions that only choose: the best box stays, what resembles it more than a threshold goes, and so on.

`greedy` measures resemblance by IoU, `diou` by IoU less the distance of the centers ("Distance-IoU Loss", 2020), `nwd`
by the normalized Wasserstein distance ("Detecting tiny objects in aerial images", 2022), `ios` by the share of the
smaller box that is covered. `cluster` is the fixed point of "Enhancing geometric factors" (2021), iterated to its end:
its result is that of `greedy`. All search near pairs as `suppression` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.boxes.choice import Kept, check_number, check_word
from finespot.boxes.match import Float64Table, match_table, share
from finespot.boxes.suppression import BoxTable, Pairs, Ranked, Rows, greedy_beaten, settle
from finespot.registry import register
from finespot.structures import MATCH_METRICS

# Above this many times the constant, the NWD is 0 in float64.
_FARTHEST = 746.0


@dataclass(frozen=True)
class _Choosing:
    """Boxes are kept as they are; a subclass says by its table which pairs conflict. `agnostic`: of any classes."""

    agnostic: bool = field(default=False, kw_only=True)
    thresholded: ClassVar[bool] = True

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        ranked = Ranked.build(boxes, scores, labels, threshold, max_det, self.agnostic)
        rows = np.zeros(0, np.int64)
        if len(ranked):
            rows = settle(self._table(ranked, threshold), ranked.wanted, self._beaten)
        return Kept.of(ranked, labels, rows)

    def _table(self, ranked: Ranked, threshold: float) -> BoxTable:
        return BoxTable.build(ranked.boxes, ranked.labels, threshold)

    def _beaten(self, pairs: Pairs, count: int) -> NDArray[np.bool_]:
        return greedy_beaten(pairs, count)


@register("nms", "greedy")
@dataclass(frozen=True)
class Greedy(_Choosing):
    """A box goes when its IoU with a kept one is greater than the threshold; with `metric=ios`, its IoS."""

    metric: str = "iou"

    def __post_init__(self) -> None:
        check_word("greedy", "metric", self.metric, MATCH_METRICS)

    def _table(self, ranked: Ranked, threshold: float) -> BoxTable:
        return match_table(ranked, threshold, self.metric)


@register("nms", "cluster")
@dataclass(frozen=True)
class Cluster(_Choosing):
    """As `greedy`, by rounds over all boxes at once instead of one box after the other."""

    def _beaten(self, pairs: Pairs, count: int) -> NDArray[np.bool_]:
        return fixed_point(pairs, count)[0]


@register("nms", "diou")
@dataclass(frozen=True)
class Diou(_Choosing):
    """A box goes when its DIoU with a kept one is greater than the threshold: neighbors survive longer than doubles."""

    def _table(self, ranked: Ranked, threshold: float) -> BoxTable:
        # The DIoU is at most the IoU, so the pairs lie as near as those of the IoU.
        return _DiouTable(**vars(super()._table(ranked, threshold)), limit=threshold)


@register("nms", "ios")
@dataclass(frozen=True)
class Ios(_Choosing):
    """`greedy(metric=ios)`: a box goes when it and a kept one share more than the threshold of the smaller's area."""

    def _table(self, ranked: Ranked, threshold: float) -> BoxTable:
        return match_table(ranked, threshold, "ios")


@register("nms", "nwd")
@dataclass(frozen=True)
class Nwd(_Choosing):
    """A box goes when its NWD with a kept one is greater than the threshold.

    NWD = exp(-W / constant) with W^2 = dx^2 + dy^2 + (dw^2 + dh^2) / 4, in pixels of the picture: it also links boxes
    that do not overlap. `constant` is the mean side of the objects.
    """

    constant: float = 12.8

    def __post_init__(self) -> None:
        check_number("nwd", "constant", self.constant)

    def _table(self, ranked: Ranked, threshold: float) -> BoxTable:
        table = super()._table(ranked, threshold)
        far = self.constant * (min(-math.log(threshold), _FARTHEST) if threshold > 0 else _FARTHEST)
        # Rounding may lift an NWD over the threshold: search a little further than the bound.
        reach = np.full(len(ranked), far * (1 + 1e-9) + 1e-9 * self.constant)
        columns = vars(table) | {"reach_x": reach, "reach_y": reach}
        return _NwdTable(**columns, limit=threshold, constant=self.constant)


def fixed_point(pairs: Pairs, count: int) -> tuple[NDArray[np.bool_], int]:
    """Which of `count` rows go, given all conflicting pairs (better row, worse row), and after how many rounds.

    Each round deletes, anew from all boxes, those that conflict with a better one that the last round left. The row of
    rank k is settled after k rounds at the latest, so the rounds end.
    """
    better, worse = pairs
    gone = np.zeros(count, bool)
    rounds = 0
    while True:
        rounds += 1
        again = np.zeros(count, bool)
        again[worse[~gone[better]]] = True
        if np.array_equal(again, gone):
            return gone, rounds
        gone = again


class _DiouTable(Float64Table):
    def overlapping(self, first: Rows, second: Rows) -> NDArray[np.bool_]:
        """Whether the DIoU of each pair is greater than the limit."""
        x1, y1, x2, y2 = self.corners
        (w1, h1), (w2, h2) = self.sides(first), self.sides(second)
        shared = self.shared(first, second)
        iou = share(shared, w1 * h1 + w2 * h2 - shared)
        wide = np.subtract(np.maximum(x2[first], x2[second]), np.minimum(x1[first], x1[second]), dtype=np.float64)
        high = np.subtract(np.maximum(y2[first], y2[second]), np.minimum(y1[first], y1[second]), dtype=np.float64)
        apart = (self.cx[first] - self.cx[second]) ** 2 + (self.cy[first] - self.cy[second]) ** 2
        return np.asarray(iou - share(apart, wide**2 + high**2) > self.limit)


@dataclass(frozen=True)
class _NwdTable(Float64Table):
    constant: float = 12.8

    def overlapping(self, first: Rows, second: Rows) -> NDArray[np.bool_]:
        """Whether the NWD of each pair is greater than the limit."""
        (w1, h1), (w2, h2) = self.sides(first), self.sides(second)
        apart = (self.cx[first] - self.cx[second]) ** 2 + (self.cy[first] - self.cy[second]) ** 2
        distance = np.sqrt(apart + ((w1 - w2) ** 2 + (h1 - h2) ** 2) / 4)
        return np.asarray(np.exp(-distance / self.constant) > self.limit)
