"""Two thresholds on the IoU of anchors and targets.

After "Focal Loss for Dense Object Detection" (RetinaNet, 2017, section 4) and "Faster R-CNN" (2015, section 3.1.2).
What differs: an anchor without any overlap is never a target's best one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions
from finespot.assigners.groups import centered, groups_of, prior_sizes
from finespot.assigners.options import check_above, check_flag, check_number
from finespot.assigners.thresholds import by_thresholds
from finespot.boxes.geometry import iou
from finespot.registry import register
from finespot.structures import Candidates, Targets

# An anchor without any overlap matches nothing, whatever the thresholds.
_LEAST = 1e-9


@register("assigner", "max_iou")
@dataclass(frozen=True)
class MaxIoU:
    """IoU of `positive` or more with the most overlapped target: positive; below `negative`: negative; else ignored.

    The best anchors of a target (all ties) are positive at an IoU of `least` already, for the target that they overlap
    most; with `own` for the target whose best they are. Anchors are the head's, or squares of `scale` strides.
    """

    positive: float = 0.5
    negative: float = 0.4
    least: float = 0.0
    own: bool = False
    scale: float = 4.0

    def __post_init__(self) -> None:
        check_number("positive", self.positive, 0, 1)
        check_number("negative", self.negative, 0, self.positive)
        check_number("least", self.least, 0, 1)
        check_flag("own", self.own)
        check_above("scale", self.scale)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        groups = groups_of(candidates)
        sizes = prior_sizes(candidates, groups, self.scale)

        def windows(boxes: Tensor) -> Tensor:
            """Where an anchor overlaps the box: nearer than half of both sides together."""
            reach = boxes[:, None, 2:] - boxes[:, None, :2] + sizes
            return centered((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, reach)

        def similarity(boxes: Tensor, point: Tensor) -> Tensor:
            priors = centered(candidates.centers[point].double(), sizes[groups.of_point[point]].double())
            return iou(priors, boxes.double())

        return by_thresholds(
            targets,
            candidates,
            windows,
            similarity,
            positive=max(self.positive, _LEAST),
            negative=max(self.negative, _LEAST),
            least=self.least,
            own=self.own,
        )
