"""Two thresholds on the similarity distance of priors and targets, which holds for small boxes as for large ones.

After "Similarity Distance-Based Label Assignment for Tiny Object Detection" (IROS 2024) with the thresholds of its
released configurations for VisDrone. What differs: of two targets whose best prior is the same the one more like it
has it, where the release has the later one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions
from finespot.assigners.groups import centered, groups_of, prior_sizes
from finespot.assigners.options import check_above, check_flag, check_number
from finespot.assigners.thresholds import by_thresholds
from finespot.boxes.gaussian import simd
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Room for rounding, relatively.
_ROOM = 1.0001


@register("assigner", "simd")
@dataclass(frozen=True)
class SimD:
    """Similarity of `positive` or more with the most alike target: positive; below `negative`: negative; else ignored.

    The best priors of a target (all ties) are positive at a similarity of `least` already, for that target (`own`), or
    for the one that they are most like. Priors are the head's anchors, or squares of `scale` strides. `m` and `n` weigh
    differences in x and y, in units of the summed sides; they are VisDrone's.
    """

    positive: float = 0.7
    negative: float = 0.3
    least: float = 0.3
    own: bool = True
    scale: float = 2.0
    m: float = 6.13
    n: float = 4.59

    def __post_init__(self) -> None:
        check_number("positive", self.positive, 1e-6, 1)
        check_number("negative", self.negative, 1e-6, self.positive)
        check_number("least", self.least, 1e-6, 1)
        check_flag("own", self.own)
        for name in ("scale", "m", "n"):
            check_above(name, getattr(self, name))

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        groups = groups_of(candidates)
        sizes = prior_sizes(candidates, groups, self.scale)
        furthest = -_ROOM * math.log(min(self.negative, self.least))
        weigh = torch.tensor([self.m, self.n], device=sizes.device)

        def windows(boxes: Tensor) -> Tensor:
            """Where the difference in place alone leaves enough similarity."""
            both = boxes[:, None, 2:] - boxes[:, None, :2] + sizes
            return centered((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, 2 * furthest * both / weigh)

        def similarity(boxes: Tensor, point: Tensor) -> Tensor:
            priors = centered(candidates.centers[point].double(), sizes[groups.of_point[point]].double())
            return simd(priors, boxes.double(), self.m, self.n)

        return by_thresholds(
            targets,
            candidates,
            windows,
            similarity,
            positive=self.positive,
            negative=self.negative,
            least=self.least,
            own=self.own,
        )
