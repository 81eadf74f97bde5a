"""The loss of RTMDet (2022): quality focal loss of all points, overlap of the assigned ones weighted by their quality.

Section 3.3 of the paper and the constants of its release (beta 2, box 2, class 1), both over the sum of the soft class
targets of the batch. What differs: ignore regions, any registered assigner and box loss, and figures on which targets
starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses import BoxLoss, quality_focal
from finespot.nn.heads.criterion import Criterion, counts, ignored_entries
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets

# Largest logarithm of a length in strides: far beyond any picture, and float32 stays finite.
_LARGEST = 10.0


def decode(values: Tensor, anchors: Tensor, exp: bool) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of raw distances (..., 4) to the sides, in strides, at `anchors` (..., 3).

    With `exp` the values are logarithms. Without it a point may lie outside its box, and corners may be swapped.
    """
    reach = (values.clamp(max=_LARGEST).exp() if exp else values) * anchors[..., 2:3]
    points = anchors[..., :2]
    return torch.cat((points - reach[..., :2], points + reach[..., 2:]), -1)


class RTMDetLoss(Criterion):
    """Terms box and cls, each over the batch's sum of soft class targets (at least 1).

    The soft class target of a positive is the weight its assigner gives (its IoU, of `dynamic_soft`); the box loss is
    weighted by it. `exp` says how boxes are decoded.
    """

    GAINS: ClassVar[Mapping[str, float]] = {"box": 2.0, "cls": 1.0}
    ASSIGNER = "dynamic_soft"
    BOX_LOSS = "giou"

    def __init__(self, exp: bool = False, **choice: Any) -> None:
        super().__init__(**choice)
        self.decode = partial(decode, exp=exp)

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `SharedConvHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Rows(raw, strides, self.decode, offset=0.0)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            rows, aim = assignment.rows, targets.boxes[assignment.targets]
            boxes, stride = points.place(rows), points.anchors(rows)[:, 2]
            overlap = cast(BoxLoss, self.box_loss)(boxes, aim, stride=stride, image_size=points.image_size)
            losses = {
                "box": (overlap * assignment.weights).sum(),
                "cls": _quality(points.logits, targets.labels[assignment.targets], assignment),
            }
            total = assignment.weights.sum().clamp(min=1)
            terms = {name: value * (self.gains[name] / total) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))


def _quality(logits: Tensor, labels: Tensor, assignment: Assignment) -> Tensor:
    """Sum of the quality focal loss: the weight at a positive's label, 0 at all others."""
    quality = torch.zeros_like(logits)
    quality[assignment.rows, labels] = assignment.weights.to(quality.dtype)
    costs = quality_focal(logits, quality)
    silent = ignored_entries(logits.shape, assignment)
    return (costs if silent is None else costs.masked_fill(silent, 0)).sum()
