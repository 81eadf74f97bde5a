"""The loss of dense heads with side distributions: assigned boxes, class scores, distributions.

The YOLOv8 loss ("Ultralytics YOLOv8", 2023; box 7.5, cls 0.5, dfl 1.5): overlap and distribution losses of positive
points and binary cross entropy of all points, each over the sum of the soft class targets. What differs: ignore
regions, any registered assigner and box loss, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses import BoxLoss, distribution_focal, sparse_bce
from finespot.nn.heads.criterion import Criterion, counts, ignored_entries
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets


def decode(values: Tensor, anchors: Tensor, bins: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of side distributions (..., 4 * bins, logits) at `anchors` (..., 3).

    A side lies the mean of its distribution over `bins` (in cells) away from the point.
    """
    shares = torch.softmax(values.unflatten(-1, (4, -1)), -1)
    reach = (shares @ bins[:, None]).squeeze(-1) * anchors[..., 2:]
    centers = anchors[..., :2]
    return torch.cat((centers - reach[..., :2], centers + reach[..., 2:]), -1)


def points_of(raw: Mapping[str, Tensor], strides: Sequence[int]) -> Rows:
    """The points of raw predictions with side distributions (see `AnchorFreeHead`) on levels of `strides`."""
    bins = torch.arange(raw["boxes"].shape[1] // 4, device=raw["boxes"].device, dtype=torch.float32)
    return Rows(raw, strides, partial(decode, bins=bins), offset=0.5)


class DenseLoss(Criterion):
    """Terms box, cls, dfl; see `Criterion` for the choices and the counts."""

    GAINS: ClassVar[Mapping[str, float]] = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
    ASSIGNER = "task_aligned"
    BOX_LOSS = "ciou"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `AnchorFreeHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = points_of(raw, strides)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            total = assignment.weights.sum().clamp(min=1)
            box, dfl = self._location(points, targets, assignment)
            cls = sparse_bce(
                points.logits,
                assignment.rows,
                targets.labels[assignment.targets],
                assignment.weights,
                ignored_entries(points.logits.shape, assignment),
            )
            losses = {"box": box, "cls": cls, "dfl": dfl}
            terms = {name: value * (self.gains[name] / total) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))

    def _location(self, points: Rows, targets: Targets, assignment: Assignment) -> tuple[Tensor, Tensor]:
        """Weighted sums of the box loss and of the distribution loss over the positive points."""
        rows, aim = assignment.rows, targets.boxes[assignment.targets]
        values, anchors = points.values(rows), points.anchors(rows)
        boxes = points.decode(values, anchors)
        box = cast(BoxLoss, self.box_loss)(boxes, aim, stride=anchors[:, 2], image_size=points.image_size)
        away = torch.cat((anchors[:, :2] - aim[:, :2], aim[:, 2:] - anchors[:, :2]), 1) / anchors[:, 2:]
        dfl = distribution_focal(values.unflatten(1, (4, -1)), away)
        return (box * assignment.weights).sum(), (dfl * assignment.weights).sum()
