"""Ranking by Wasserstein distance: each target gets the priors nearest to it in place and size, whatever the overlap.

"NWD-RKA" of "Detecting tiny objects in aerial images: A normalized Wasserstein distance and a new benchmark" (ISPRS
2022) with the constants of its released configurations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, real_targets
from finespot.assigners.groups import centered, groups_of, prior_sizes
from finespot.assigners.nearest import nearest_points
from finespot.assigners.options import check_above, check_count, check_number
from finespot.assigners.pairs import lowest_with_ties
from finespot.assigners.ranked import last_of_each, ranked_assignment
from finespot.boxes.gaussian import nwd, squared_wasserstein
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Room for rounding, in pixels.
_ROOM = 0.01


@register("assigner", "nwd_ranked")
@dataclass(frozen=True)
class NWDRanked:
    """The `topk` priors of greatest NWD (ties included) of each target are positive, whatever their NWD.

    A prior that several targets want goes to the last of them, as in the release: the order of targets matters. Others
    are negative where their NWD with every target is below `negative`, and ignored otherwise. Priors are the head's
    anchors, or squares of `scale` strides. `constant` is that of NWD in pixels: the mean side of the objects.
    """

    topk: int = 2
    negative: float = 0.3
    constant: float = 12.7
    scale: float = 2.0

    def __post_init__(self) -> None:
        check_count("topk", self.topk)
        check_number("negative", self.negative, 1e-6, 1)
        check_above("constant", self.constant)
        check_above("scale", self.scale)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        boxes = targets.boxes[real]
        groups = groups_of(candidates)
        sizes = prior_sizes(candidates, groups, self.scale)

        def priors(point: Tensor) -> Tensor:
            return centered(candidates.centers[point].double(), sizes[groups.of_point[point]].double())

        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        near, point = nearest_points(middle, candidates, self.topk)
        kept = lowest_with_ties(near, squared_wasserstein(priors(point), boxes[near].double()), self.topk)
        near, point = near[kept], point[kept]
        rows = targets.image[real][near] * len(candidates) + point
        kept = last_of_each(rows, near)

        furthest = -self.constant * math.log(self.negative) + _ROOM
        windows = torch.cat((middle - furthest, middle + furthest), 1)

        def alike(target: Tensor, point: Tensor) -> Tensor:
            return nwd(priors(point), boxes[target].double(), self.constant) >= self.negative

        return ranked_assignment(targets, candidates, real, near[kept], rows[kept], windows, alike)
