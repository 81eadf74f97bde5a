"""The loss of YOLOX (2021): overlap, objectness and class of assigned points, side errors in the closing epochs.

Section 2.1 of the paper and the constants of its release (box 5, the others 1): sums over the batch, each over the
number of positive points. What differs: ignore regions, where negative points bear no objectness loss, any registered
assigner and box loss, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses import sparse_bce
from finespot.nn.heads.criterion import Criterion, counts
from finespot.nn.heads.points import LARGEST_LOG
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets

_SMALLEST = 1e-8


def decode(values: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of raw x, y, w, h (..., 4) at cells whose middles are `anchors` (..., 3).

    Centers are measured from a cell's top left corner in strides, sides are logarithms of strides.
    """
    middles, stride = anchors[..., :2], anchors[..., 2:3]
    centers = middles + (values[..., :2] - 0.5) * stride
    half = values[..., 2:].clamp(max=LARGEST_LOG).exp() * (stride / 2)
    return torch.cat((centers - half, centers + half), -1)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Raw x, y, w, h (P, 4) that `decode` to these boxes; a side of nothing counts as 1e-8 strides."""
    middles, stride = anchors[:, :2], anchors[:, 2:3]
    centers = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middles) / stride + 0.5
    sides = (boxes[:, 2:] - boxes[:, :2]) / stride
    return torch.cat((centers, (sides + _SMALLEST).log()), 1)


class YOLOXLoss(Criterion):
    """Terms box, obj, cls, l1, each over the batch's number of positive points (at least 1).

    l1, the sum of the errors of the four raw box values (center in strides, logarithms of sides in strides), is 0 until
    the closing epochs, unless `l1_epochs` says otherwise. The class target of a positive
    is the weight its assigner gives (its IoU, of SimOTA); box and l1 are not weighted.
    """

    GAINS: ClassVar[Mapping[str, float]] = {"box": 5.0, "obj": 1.0, "cls": 1.0, "l1": 1.0}
    ASSIGNER = "simota"
    BOX_LOSS = "iou2"
    L1_EPOCHS = "closing"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `DecoupledHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Rows(raw, strides, decode, offset=0.5)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            rows, aim = assignment.rows, targets.boxes[assignment.targets]
            anchors, boxes = points.anchors(rows), points.place(rows)
            overlap = self.box_costs(
                boxes,
                aim,
                stride=anchors[:, 2],
                image_size=points.image_size,
                picture=points.pictures(rows),
            )
            errors = (points.values(rows) - encode(aim, anchors)).abs()
            losses = {
                "box": overlap.sum(),
                "obj": _objectness(cast(Tensor, points.objectness), assignment),
                "cls": sparse_bce(
                    points.logits[rows],
                    torch.arange(len(rows), device=rows.device),
                    targets.labels[assignment.targets],
                    assignment.weights,
                ),
                "l1": errors.sum() if self.l1_acts else errors.new_zeros(()),
            }
            positives = max(len(rows), 1)
            terms = {name: value * (self.gains[name] / positives) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))


def _objectness(logits: Tensor, assignment: Assignment) -> Tensor:
    """Cross entropy over all points, 1 for positives; silent in ignore regions, whatever class these have."""
    rows = assignment.rows
    silent = torch.zeros_like(logits, dtype=torch.bool)
    silent[assignment.ignored_rows] = True
    return sparse_bce(logits, rows, torch.zeros_like(rows), torch.ones_like(assignment.weights), silent)
