"""The loss of RetinaNet: focal loss of all anchors, box loss of the positive ones, each picture by its own positives.

After "Focal Loss for Dense Object Detection" (2017): alpha 0.25, gamma 2, both terms over the positives of the picture
(at least 1), then the mean over the pictures. Boxes cost the absolute difference of their deltas, or any registered
box loss of the decoded boxes. What differs: ignore regions, any registered assigner, by whose weights (1, of max_iou)
boxes count, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses.focal import focal
from finespot.nn.heads.criterion import Criterion, counts, heard, soft_targets
from finespot.nn.heads.deltas import boxes_of, deltas_of
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets


class RetinaLoss(Criterion):
    """Terms box and cls; see `Criterion` for the choices and the counts. Without a `box_loss`: L1 of the deltas."""

    GAINS: ClassVar[Mapping[str, float]] = {"box": 1.0, "cls": 1.0}
    ASSIGNER = "max_iou"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `RetinaHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Rows(raw, strides, boxes_of, 0.0, ANCHORS)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            picture = points.pictures(assignment.rows)
            positives = torch.bincount(picture[assignment.weights > 0], minlength=targets.batch)
            share = 1 / (positives.clamp(min=1) * targets.batch).float()
            cls = (self._class_costs(points, targets, assignment) * share).sum()
            box = (self._box_costs(points, targets, assignment) * share[picture]).sum()
        terms = {"box": box * self.gains["box"], "cls": cls * self.gains["cls"]}
        return LossTerms(terms, counts(targets, assignment.positives))

    def _class_costs(self, points: Rows, targets: Targets, assignment: Assignment) -> Tensor:
        """Focal loss (B,) summed over the anchors and classes of each picture."""
        costs = focal(points.logits, soft_targets(points.logits, targets, assignment))
        return heard(costs, assignment).view(targets.batch, -1).sum(1)

    def _box_costs(self, points: Rows, targets: Targets, assignment: Assignment) -> Tensor:
        """Weighted box loss (P,) of the positive anchors."""
        rows, aim = assignment.rows, targets.boxes[assignment.targets]
        deltas, anchors = points.values(rows), points.anchors(rows)
        if self.box_loss is None:
            costs = (deltas - deltas_of(aim, anchors)).abs().sum(1)
        else:
            boxes = boxes_of(deltas, anchors)
            costs = self.box_costs(
                boxes, aim, stride=anchors[:, 2], image_size=points.image_size, picture=points.pictures(rows)
            )
        return costs * assignment.weights
