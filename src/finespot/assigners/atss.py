"""ATSS: the threshold of each target follows from the overlaps of the priors next to it.

After "Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive Training Sample Selection" (2020,
section 4.1). What differs: two options for tiny targets, which rarely have a point inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, real_targets
from finespot.assigners.groups import centered, groups_of, prior_sizes
from finespot.assigners.nearest import center_distance, nearest_points
from finespot.assigners.options import check_above, check_choice, check_count, check_flag
from finespot.assigners.pairs import lowest
from finespot.boxes.gaussian import nwd
from finespot.boxes.geometry import iou
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Pixels by which a point must lie inside its target.
_INSIDE = 0.01
_ROUNDING = 1e-9


@register("assigner", "atss")
@dataclass(frozen=True)
class ATSS:
    """Of the `topk` points of each level nearest to a target, those whose prior is alike enough and lies inside it.

    Enough is mean + standard deviation of the target's similarities. A point of several targets goes to the most alike.
    Priors are the head's anchors, or squares of `scale` strides.

    `overlap`: iou, or nwd with `constant` pixels. `reach`: points within half a finest stride (x and y) of the target's
    center count as inside it too.
    """

    topk: int = 9
    scale: float = 8.0
    overlap: str = "iou"
    constant: float = 12.8
    reach: bool = False

    def __post_init__(self) -> None:
        check_count("topk", self.topk)
        check_above("scale", self.scale)
        check_choice("overlap", self.overlap, ("iou", "nwd"))
        check_above("constant", self.constant)
        check_flag("reach", self.reach)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        boxes = targets.boxes[real]
        near, point, similarity = self.compared(boxes, candidates)
        enough = similarity >= thresholds(near, similarity, len(boxes))[near] - _ROUNDING
        kept = (enough & self._inside(boxes[near], candidates, point)).nonzero().squeeze(1)
        near, point, similarity = near[kept], point[kept], similarity[kept]
        rows = targets.image[real][near] * len(candidates) + point
        kept = lowest(rows, -similarity, 1)
        return assignment_of(targets, candidates, rows[kept], real[near[kept]])

    def compared(self, boxes: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs (box, point) of the nearest points, and the similarity (float64) of the priors there."""
        groups = groups_of(candidates)
        near, point = nearest_points((boxes[:, :2] + boxes[:, 2:]) / 2, candidates, self.topk)
        group = groups.of_point[point]
        distance = center_distance(boxes[near], candidates.centers[point])
        kept = lowest(near * len(groups) + group, distance, self.topk)
        near, point, group = near[kept], point[kept], group[kept]
        sizes = prior_sizes(candidates, groups, self.scale)[group]
        priors, aims = centered(candidates.centers[point], sizes).double(), boxes[near].double()
        return near, point, nwd(priors, aims, self.constant) if self.overlap == "nwd" else iou(priors, aims)

    def _inside(self, boxes: Tensor, candidates: Candidates, point: Tensor) -> Tensor:
        centers = candidates.centers[point]
        inside = torch.cat((centers - boxes[:, :2], boxes[:, 2:] - centers), 1).amin(1) > _INSIDE
        if self.reach and len(candidates):
            away = ((boxes[:, :2] + boxes[:, 2:]) / 2 - centers).abs().amax(1)
            inside |= away <= candidates.strides.min() / 2
        return inside


def thresholds(near: Tensor, similarity: Tensor, count: int) -> Tensor:
    """Mean plus sample standard deviation of the similarities of each of `count` targets."""
    number = torch.bincount(near, minlength=count)
    mean = similarity.new_zeros(count).scatter_add_(0, near, similarity) / number.clamp(min=1)
    spread = similarity.new_zeros(count).scatter_add_(0, near, (similarity - mean[near]).square())
    return mean + (spread / (number - 1).clamp(min=1)).sqrt()
