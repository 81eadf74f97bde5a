"""SimOTA: a target takes its cheapest points near its center, as many as its predictions already fit.

After "YOLOX: Exceeding YOLO Series in 2021" (section 2.1) with the rules of its released code: only the region around
the center counts, and the number is the sum of the ten best overlaps with any region's points. What differs: points
outside a target's own region are left out, where the original adds 1e6 to their cost, next to which float32 forgets the
rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, boxes_at, real_targets
from finespot.assigners.dynamic_k import LEAST_LOG, by_picture, dynamic_count, probabilities, shares
from finespot.assigners.groups import centered, groups_of
from finespot.assigners.inside import points_inside
from finespot.assigners.options import check_above, check_count, check_number
from finespot.assigners.pairs import distinct, lowest, settled
from finespot.boxes.geometry import iou
from finespot.boxes.overlap import pairwise_iou
from finespot.registry import register
from finespot.structures import Candidates, Targets


@register("assigner", "simota")
@dataclass(frozen=True)
class SimOTA:
    """Cost = class cross entropy + `iou_weight` * -ln(IoU); the k cheapest points of a target's region.

    The region is the square of half side `radius` strides about the target's center, on every level. k is the sum of
    the target's `topk` best IoUs with the points of all regions of the picture, at least 1. A point that several
    targets want goes to the one it costs least. Its weight is its IoU.

    The class cost reads the square roots of `Predictions.scores` and `class_scores`, where a head with objectness gives
    class x objectness.
    """

    radius: float = 1.5
    topk: int = 10
    iou_weight: float = 3.0

    def __post_init__(self) -> None:
        check_above("radius", self.radius)
        check_count("topk", self.topk)
        check_number("iou_weight", self.iou_weight, 0)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        near, point = self.region(targets.boxes[real], candidates)
        rows = targets.image[real][near] * len(candidates) + point
        overlap = iou(boxes_at(predictions, rows), targets.boxes[real][near])
        cost = _class_cost(predictions, rows, targets.labels[real][near])
        cost = cost - self.iou_weight * (overlap + 1e-8).log()
        count = self.dynamic_k(predictions, targets, real, rows, len(candidates))
        kept = settled(rows, lowest(near, cost, count), cost)
        return assignment_of(targets, candidates, rows[kept], real[near[kept]], overlap[kept])

    def region(self, boxes: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
        """The pairs (box, point) with the point in the box's region."""
        strides = candidates.strides[groups_of(candidates).first]
        sizes = (2 * self.radius * strides)[None, :, None].expand(len(boxes), -1, 2)
        middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        return points_inside(centered(middle, sizes), candidates)

    def dynamic_k(self, predictions: Predictions, targets: Targets, real: Tensor, rows: Tensor, points: int) -> Tensor:
        """How many points each of the targets `real` takes, with regions that hold `rows`; `points` a picture."""
        counts = torch.ones(len(real), dtype=torch.int64, device=rows.device)
        for mine, theirs in by_picture(targets, real, distinct(rows)[0], points):
            found = predictions.boxes(theirs)
            for part in shares(mine, len(theirs)):
                counts[part] = dynamic_count(pairwise_iou(targets.boxes[real[part]], found), self.topk)
        return counts


def _class_cost(predictions: Predictions, rows: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy (K,) of the roots of the probabilities against the label, summed over classes."""
    once, place = distinct(rows)
    absent = [
        (-probability.sqrt()).log1p().clamp(min=LEAST_LOG).sum(1) for probability in probabilities(predictions, once)
    ]
    score = predictions.scores(rows, labels).sqrt()
    own = score.log().clamp(min=LEAST_LOG) - (-score).log1p().clamp(min=LEAST_LOG)
    return -torch.cat([score.new_zeros(0), *absent])[place] - own
