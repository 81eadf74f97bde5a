"""Receptive fields as priors: each target gets the points whose receptive field is most like it.

After "RFLA: Gaussian Receptive Field based Label Assignment for Tiny Object Detection" (ECCV 2022, section 3). What
differs: the release shrinks its priors in place, so that what is trained against them afterwards meets smaller ones;
here nothing is changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, real_targets
from finespot.assigners.groups import Groups, centered, groups_of
from finespot.assigners.nearest import nearest_points
from finespot.assigners.options import check_above, check_choice, check_count, check_number
from finespot.assigners.pairs import lowest_with_ties
from finespot.assigners.ranked import last_of_each, ranked_assignment
from finespot.boxes.gaussian import kl_divergence, squared_wasserstein
from finespot.boxes.geometry import at_least
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Theoretical receptive fields in pixels by stride: ResNet-50 with FPN, as the release computes them.
RECEPTIVE_FIELDS = {4: 35.0, 8: 91.0, 16: 267.0, 32: 427.0, 64: 555.0, 128: 811.0}
# Smaller targets count as one pixel wide: the divergence is in units of their sides.
_LEAST_SIDE = 1.0
_DIVERGENCES = {"kld": kl_divergence, "wd": squared_wasserstein}
# Room for rounding.
_ROOM = 1.001


@register("assigner", "rfla")
@dataclass(frozen=True)
class RFLA:
    """The `topk` priors most like a target are positive, then `second` more of all priors shrunk by `ratio`.

    Similarity is 1 / (1 + divergence): "kld" in units of the target's sides, or "wd" in pixels. Ties are all taken. A
    prior that several targets want goes to the last of them, as in the release: the order of targets matters. A prior
    of the first round keeps its target in the second. Others are negative where their similarity with every target is
    below `negative`, and ignored otherwise.

    Priors are the head's anchors, or squares of `fraction` x the receptive field of the level: "resnet50" looks it up
    in `RECEPTIVE_FIELDS` by stride (a stride beyond the table has that of the nearest one, in proportion), a number
    is that many strides on every level.
    """

    topk: int = 3
    second: int = 1
    ratio: float = 0.9
    negative: float = 0.8
    similarity: str = "kld"
    field: float | str = "resnet50"
    fraction: float = 0.5

    def __post_init__(self) -> None:
        check_count("topk", self.topk)
        check_count("second", self.second, 0)
        check_above("ratio", self.ratio)
        check_number("negative", self.negative, 1e-6, 1)
        check_choice("similarity", self.similarity, _DIVERGENCES)
        if isinstance(self.field, str) and self.field != "resnet50":
            raise FineSpotError(f"expected resnet50 or a number of strides but got {self.field}", where="field")
        if not isinstance(self.field, str):
            check_above("field", self.field)
        check_above("fraction", self.fraction)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        boxes = at_least(targets.boxes[real], _LEAST_SIDE)
        middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        groups = groups_of(candidates)
        sizes = self.prior_sizes(candidates, groups)

        def divergence(target: Tensor, point: Tensor, ratio: float) -> Tensor:
            size = sizes[groups.of_point[point]].double() * ratio
            priors = centered(candidates.centers[point].double(), size)
            return _DIVERGENCES[self.similarity](priors, boxes[target].double())

        units = sides if self.similarity == "kld" else None
        near, point = nearest_points(middle, candidates, max(self.topk, self.second), units)
        rows = targets.image[real][near] * len(candidates) + point
        first = lowest_with_ties(near, divergence(near, point, 1.0), self.topk)
        held = first[last_of_each(rows[first], near[first])]
        if self.second:
            free = torch.ones(targets.batch * len(candidates), dtype=torch.bool, device=rows.device)
            free[rows[held]] = False
            more = lowest_with_ties(near, divergence(near, point, self.ratio), self.second)
            more = more[free[rows[more]]]
            held = torch.cat((held, more[last_of_each(rows[more], near[more])]))
        held = held[rows[held].argsort()]

        # Divergence up to which a prior counts for nothing, and how far from the center it can lie then.
        most = 1 / self.negative - 1
        reach = sides * math.sqrt(most / 2) if self.similarity == "kld" else torch.full_like(sides, math.sqrt(most))
        windows = centered(middle, 2 * _ROOM * reach)

        def alike(target: Tensor, point: Tensor) -> Tensor:
            return 1 / (1 + divergence(target, point, 1.0)) >= self.negative

        return ranked_assignment(targets, candidates, real, near[held], rows[held], windows, alike)

    def prior_sizes(self, candidates: Candidates, groups: Groups) -> Tensor:
        """Width and height (G, 2) of the priors of each group in pixels."""
        if candidates.sizes is not None:
            return candidates.sizes[groups.first]
        strides = candidates.strides[groups.first].tolist()
        fields = [field_of(one) if isinstance(self.field, str) else self.field * one for one in strides]
        return self.fraction * torch.tensor(fields, device=groups.first.device)[:, None].expand(-1, 2)


def field_of(stride: float) -> float:
    """The receptive field in pixels of a level of this stride (see `RECEPTIVE_FIELDS`)."""
    known = min(RECEPTIVE_FIELDS, key=lambda one: abs(math.log(one / stride)))
    return RECEPTIVE_FIELDS[known] * stride / known
