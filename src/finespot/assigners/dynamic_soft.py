"""Dynamic soft labels: a target takes the cheapest points inside any target, with the IoU as class target.

After "RTMDet: An Empirical Study of Designing Real-Time Object Detectors" (2022, section 3.3). A point may answer for a
target that it does not lie inside; only the distance speaks against it. A target so small that no point lies inside it
therefore gets none in an empty picture, and a point of another target, or none, in a crowded one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, real_targets
from finespot.assigners.dynamic_k import LEAST_LOG, by_picture, dynamic_count, probabilities, shares
from finespot.assigners.inside import points_inside
from finespot.assigners.options import check_count, check_number
from finespot.assigners.pairs import distinct, lowest
from finespot.boxes.overlap import pairwise_iou
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Distances from differences, not from a matrix product that loses digits.
_EXACT = "donot_use_mm_for_euclid_dist"
Tables = Callable[[Tensor], tuple[Tensor, Tensor]]


@register("assigner", "dynamic_soft")
@dataclass(frozen=True)
class DynamicSoft:
    """Cost = quality focal cost + `iou_weight` * -ln(IoU) + 10^(distance in strides - `radius`).

    Distance is that of the point from the target's center. A target takes its k cheapest of all points inside any
    target of the picture; k is the sum of its `topk` best IoUs with them, at least 1. A point that several targets
    take goes to the target of the picture that it costs least. Its weight is its IoU.
    """

    topk: int = 13
    iou_weight: float = 3.0
    radius: float = 3.0

    def __post_init__(self) -> None:
        check_count("topk", self.topk)
        check_number("iou_weight", self.iou_weight, 0)
        check_number("radius", self.radius, 0)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        near, point = points_inside(targets.boxes[real], candidates)
        valid = distinct(targets.image[real][near] * len(candidates) + point)[0]
        rows, chosen, weights = [valid[:0]], [real[:0]], [targets.boxes.new_zeros(0)]
        for mine, theirs in by_picture(targets, real, valid, len(candidates)):
            if len(theirs):
                tables = self._tables(predictions, targets, theirs, candidates)
                target, place, overlap = _cheapest(real[mine], len(theirs), tables, self.topk)
                rows.append(theirs[place])
                chosen.append(target)
                weights.append(overlap)
        return assignment_of(targets, candidates, torch.cat(rows), torch.cat(chosen), torch.cat(weights))

    def _tables(self, predictions: Predictions, targets: Targets, rows: Tensor, candidates: Candidates) -> Tables:
        """A function from targets (T,) of a picture to IoUs and costs (T, V) with its valid `rows` (V,)."""
        found, point = predictions.boxes(rows), rows % len(candidates)
        centers, strides = candidates.centers[point], candidates.strides[point]
        # By class: (classes, V), so that the rows of a target's class lie together.
        scores = torch.cat(list(probabilities(predictions, rows))).t().contiguous()
        below = _log(1 - scores)
        logits = _log(scores) - below
        absent = -(below * scores.square())
        others = absent.sum(0) - absent

        def tables(part: Tensor) -> tuple[Tensor, Tensor]:
            boxes, label = targets.boxes[part], targets.labels[part]
            overlap = pairwise_iou(boxes, found)
            cost = -(overlap * logits[label]).add_(below[label])
            cost.mul_((overlap - scores[label]).square_()).add_(others[label])
            cost.sub_((overlap + 1e-7).log_(), alpha=self.iou_weight)
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2
            away = torch.cdist(middle, centers, compute_mode=_EXACT).div_(strides)
            return overlap, cost.add_(away.sub_(self.radius).mul_(math.log(10)).exp_())

        return tables


def _log(probability: Tensor) -> Tensor:
    return probability.log().clamp(min=LEAST_LOG)


def _cheapest(targets: Tensor, points: int, tables: Tables, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Target, place of the point and IoU of the pairs that hold in one picture, by point."""
    least = torch.full((points,), torch.inf, device=targets.device)
    owner = torch.zeros(points, dtype=torch.int64, device=targets.device)
    fit = torch.zeros(points, device=targets.device)
    taken = []
    for part in shares(targets, points):
        overlap, cost = tables(part)
        count = dynamic_count(overlap, top)
        bound = cost.topk(min(int(count.max()), points), largest=False).values
        bound = bound.gather(1, (count[:, None] - 1).clamp(max=bound.shape[1] - 1))
        # Costs beyond what float32 holds lie some forty strides away: no choice.
        target, place = ((cost <= bound) & cost.isfinite()).nonzero().unbind(1)
        kept = lowest(target, cost[target, place], count)
        target, place = target[kept], place[kept]
        taken.append((part[target], place, overlap[target, place]))
        cheapest, which = cost.min(0)
        better = cheapest < least
        least, owner = torch.where(better, cheapest, least), torch.where(better, part[which], owner)
        fit = torch.where(better, overlap.gather(0, which[None])[0], fit)
    taker, place, overlap = (torch.cat(column) for column in zip(*taken))
    claims = torch.bincount(place, minlength=points)
    # The cheapest target gets a contested point; one that a single target takes stays with it, cheapest or not.
    sole = claims[place] == 1
    owner[place[sole]], fit[place[sole]] = taker[sole], overlap[sole]
    held = claims.nonzero().squeeze(1)
    return owner[held], held, fit[held]
