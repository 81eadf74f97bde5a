"""The loss of RTMDet (2022): quality focal loss of all points, overlap of the assigned ones weighted by their quality.

Section 3.3 of the paper and the constants of its release (beta 2, box 2, class 1), both over the sum of the soft class
targets of the batch. What differs: with several processes that sum is each one's own, where the original takes the mean
of all; ignore regions, any registered assigner and box loss, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner
from finespot.losses import quality_focal
from finespot.nn.heads.criterion import Criterion, counts, heard, soft_targets
from finespot.nn.heads.points import LARGEST_LOG, away_from
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets


def decode(values: Tensor, anchors: Tensor, exp: bool) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of raw distances (..., 4) to the sides, in strides, at `anchors` (..., 3).

    With `exp` the values are logarithms. Without it a point may lie outside its box, and corners may be swapped.
    """
    away = distances(values, exp) * anchors[..., 2:3]
    points = anchors[..., :2]
    return torch.cat((points - away[..., :2], points + away[..., 2:]), -1)


def distances(values: Tensor, exp: bool) -> Tensor:
    """Distances (..., 4) to the sides in strides, of raw values (..., 4)."""
    return values.clamp(max=LARGEST_LOG).exp() if exp else values


class RTMDetLoss(Criterion):
    """Terms box, cls and, where it has a gain, l1, each over the batch's sum of soft class targets (at least 1).

    The soft class target of a positive is the weight its assigner gives (its IoU, of `dynamic_soft`); box and l1 are
    weighted by it. l1 is the sum of the errors of the four distances, in strides. `exp` says how boxes are decoded.
    """

    GAINS: ClassVar[Mapping[str, float]] = {"box": 2.0, "cls": 1.0, "l1": 0.0}
    ASSIGNER = "dynamic_soft"
    BOX_LOSS = "giou"

    def __init__(self, exp: bool = False, **choice: Any) -> None:
        super().__init__(**choice)
        self.exp = exp

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `SharedConvHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Rows(raw, strides, partial(decode, exp=self.exp), offset=0.0)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            rows, aim = assignment.rows, targets.boxes[assignment.targets]
            boxes, anchors = points.place(rows), points.anchors(rows)
            overlap = self.box_costs(
                boxes,
                aim,
                stride=anchors[:, 2],
                image_size=points.image_size,
                picture=points.pictures(rows),
            )
            quality = soft_targets(points.logits, targets, assignment)
            losses = {
                "box": (overlap * assignment.weights).sum(),
                "cls": heard(quality_focal(points.logits, quality), assignment).sum(),
            }
            if self.gains["l1"]:
                errors = (distances(points.values(rows), self.exp) - away_from(anchors, aim)).abs().sum(1)
                losses["l1"] = (errors * assignment.weights).sum() if self.l1_acts else errors.new_zeros(())
            total = assignment.weights.sum().clamp(min=1)
            terms = {name: value * (self.gains[name] / total) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))
