"""The loss of RetinaNet: focal loss of all anchors, box loss of the positive ones, each picture by its own positives.

After "Focal Loss for Dense Object Detection" (2017): alpha 0.25, gamma 2, both terms over the positives of the picture
(at least 1), then the mean over the pictures. Boxes cost the absolute difference of their deltas, or any registered
box loss of the decoded boxes. What differs: ignore regions, any assigner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses.focal import focal
from finespot.nn.heads.criterion import Criterion, counts, ignored_entries
from finespot.nn.heads.deltas import boxes_of, deltas_of
from finespot.nn.heads.points import candidates_of, input_size
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.structures import LossTerms, Targets


class RetinaLoss(Criterion):
    """Terms box and cls; see `Criterion` for the choices and the counts. Without a `box_loss`: L1 of the deltas."""

    GAINS: ClassVar[Mapping[str, float]] = {"box": 1.0, "cls": 1.0}
    ASSIGNER = "max_iou"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `RetinaHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            anchors = Anchors(raw, strides)
            assignment = cast(Assigner, self.assigner)(anchors, targets, anchors.candidates)
            picture = assignment.rows // len(anchors.candidates)
            positives = torch.bincount(picture, minlength=targets.batch)
            share = 1 / (positives.clamp(min=1) * targets.batch).float()
            cls = (self._class_costs(anchors, targets, assignment) * share).sum()
            box = (self._box_costs(anchors, targets, assignment) * share[picture]).sum()
        terms = {"box": box * self.gains["box"], "cls": cls * self.gains["cls"]}
        return LossTerms(terms, counts(targets, assignment.positives))

    def _class_costs(self, anchors: Anchors, targets: Targets, assignment: Assignment) -> Tensor:
        """Focal loss (B,) summed over the anchors and classes of each picture."""
        aim = torch.zeros_like(anchors.logits)
        aim[assignment.rows, targets.labels[assignment.targets]] = assignment.weights.float()
        costs = focal(anchors.logits, aim)
        ignored = ignored_entries(costs.shape, assignment)
        if ignored is not None:
            costs = costs.masked_fill(ignored, 0.0)
        return costs.view(targets.batch, -1).sum(1)

    def _box_costs(self, anchors: Anchors, targets: Targets, assignment: Assignment) -> Tensor:
        """Box loss (P,) of the positive anchors."""
        rows, aim = assignment.rows, targets.boxes[assignment.targets]
        deltas, places = anchors.deltas(rows), anchors.places(rows)
        if self.box_loss is None:
            return (deltas - deltas_of(aim, places)).abs().sum(1)
        return self.box_loss(boxes_of(deltas, places), aim, stride=places[:, 2], image_size=anchors.image_size)


class Anchors:
    """A head's raw output as rows (picture * N + anchor), decoded on demand; the assigner's `Predictions`."""

    def __init__(self, raw: Mapping[str, Tensor], strides: Sequence[int]) -> None:
        self.logits = raw["scores"].transpose(1, 2).flatten(0, 1).float()
        self._deltas = raw["boxes"].transpose(1, 2).flatten(0, 1)
        self._places = raw["anchors"][0].float()
        self.image_size = input_size(raw["anchors"], 0.0)
        self.candidates = candidates_of(raw["anchors"], strides, ANCHORS, 0.0)

    def deltas(self, rows: Tensor) -> Tensor:
        """Deltas (K, 4), with gradient."""
        return self._deltas.index_select(0, rows).float()

    def places(self, rows: Tensor) -> Tensor:
        """Center, stride, width and height (K, 5) of the anchors."""
        return self._places[rows % len(self._places)]

    @torch.no_grad()
    def boxes(self, rows: Tensor) -> Tensor:
        """Decoded boxes (K, 4) without gradient."""
        return boxes_of(self.deltas(rows), self.places(rows))

    @torch.no_grad()
    def scores(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Class probabilities (K,) without gradient."""
        return torch.sigmoid(self.logits[rows, labels])

    @torch.no_grad()
    def class_scores(self, rows: Tensor) -> Tensor:
        """Class probabilities (K, classes) without gradient."""
        return torch.sigmoid(self.logits[rows])
