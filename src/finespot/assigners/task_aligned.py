"""Task-aligned assignment: a target takes the points that both classify and locate it best.

After "TOOD: Task-aligned One-stage Object Detection" (2021, section 3.3) with the constants of the released YOLOv8 and
its newer rule for small objects: a side shorter than the head's second stride is widened to it before points are
tested, so that a 4-pixel object has candidates. What differs: pairs of target and point are kept as a list (see
`inside`), and only candidates are ranked. The original ranks all points, of which those that are no candidates tie at 0
with the candidates that do not overlap, and loses some of the latter by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, boxes_at, real_targets
from finespot.assigners.inside import points_inside
from finespot.assigners.nearest import center_distance
from finespot.assigners.options import check_above, check_count, check_number
from finespot.assigners.pairs import lowest, settled
from finespot.boxes.geometry import at_least
from finespot.boxes.overlap import iou_family
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Released YOLOv8 adds it to a target's best metric; it damps targets that nothing fits yet (metrics near 1e-9).
EPS = 1e-9


@register("assigner", "task_aligned")
@dataclass(frozen=True)
class TaskAligned:
    """Metric = score^alpha * CIoU^beta; each target takes its `topk` best points over all levels.

    Of equal metrics the point nearer to the target's center is better, then the one that comes first. A point wanted
    by several targets answers for the one it overlaps most, of all those that it lies inside (also one that did not
    want it). Its weight is its metric, scaled so that the best point of a target has the target's best CIoU; a point
    that does not overlap has weight 0.

    `min_side`: sides below it are widened to it for the test which points lie inside: pixels, "s0" (the finest
    stride), "s1" (the second stride, or the only one) or None.
    """

    topk: int = 10
    alpha: float = 0.5
    beta: float = 6.0
    min_side: float | str | None = "s1"

    def __post_init__(self) -> None:
        check_task_alignment(self.topk, self.alpha, self.beta)
        if self.min_side in ("s0", "s1", None):
            return
        if isinstance(self.min_side, str):
            raise FineSpotError(f"expected s0, s1, null or pixels but got {self.min_side}", where="min_side")
        check_above("min_side", self.min_side)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        boxes = targets.boxes[real]
        least = least_side(candidates, self.min_side)
        near, point = points_inside(at_least(boxes, least) if least else boxes, candidates)
        rows = targets.image[real][near] * len(candidates) + point
        overlap = iou_family(boxes_at(predictions, rows), boxes[near], "ciou").clamp_(min=0)
        score = predictions.scores(rows, targets.labels[real][near])
        metric = score.pow(self.alpha) * overlap.pow(self.beta)

        kept = taken(near, rows, metric, overlap, center_distance(boxes[near], candidates.centers[point]), self.topk)
        chosen = real[near[kept]]
        weights = scaled(metric[kept], overlap[kept], chosen, len(targets.boxes))
        return assignment_of(targets, candidates, rows[kept], chosen, weights)


def check_task_alignment(topk: object, alpha: object, beta: object) -> None:
    """Raise FineSpotError unless the options make sense."""
    check_count("topk", topk)
    check_number("alpha", alpha, 0)
    check_number("beta", beta, 0)


def least_side(candidates: Candidates, rule: float | str | None = "s1") -> float:
    """The shortest side that a target is tested with, in pixels (see `TaskAligned`); 0 where there is no limit."""
    if not isinstance(rule, str):
        return float(rule or 0)
    strides = sorted({grid[0] for grid in candidates.grids} or candidates.strides.unique().tolist())
    return float(strides[:2][-1] if rule == "s1" else strides[0]) if strides else 0.0


def taken(near: Tensor, rows: Tensor, metric: Tensor, overlap: Tensor, distance: Tensor, topk: int) -> Tensor:
    """Indices of the pairs that hold, by row: each target's `topk` best, contested rows to the greatest overlap."""
    closer = distance.argsort(stable=True)
    wanted = closer[lowest(near[closer], -metric[closer], topk)]
    return settled(rows, wanted, -overlap)


def scaled(metric: Tensor, overlap: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Metrics times a factor of each target, so that its best metric becomes its best overlap."""
    best_overlap = overlap.new_zeros(count).scatter_reduce_(0, chosen, overlap, "amax")
    best_metric = metric.new_zeros(count).scatter_reduce_(0, chosen, metric, "amax")
    return metric * (best_overlap / (best_metric + EPS))[chosen]
