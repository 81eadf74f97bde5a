"""The loss of dense heads with side distributions: assigned boxes, class scores, distributions.

The YOLOv8 loss ("Ultralytics YOLOv8", 2023; box 7.5, cls 0.5, dfl 1.5): overlap and distribution losses of positive
points and binary cross entropy of all points, each over the sum of the soft class targets. What differs: ignore
regions, any registered assigner and box loss, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor

from finespot.assigners import Assigner, Assignment
from finespot.losses import BoxLoss, distribution_focal, sparse_bce
from finespot.nn.heads.criterion import Criterion, counts, ignored_entries
from finespot.nn.heads.points import candidates_of, input_size
from finespot.structures import LossTerms, Targets

_SHARE = 8192


class DenseLoss(Criterion):
    """Terms box, cls, dfl; see `Criterion` for the choices and the counts."""

    GAINS: ClassVar[Mapping[str, float]] = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
    ASSIGNER = "task_aligned"
    BOX_LOSS = "ciou"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `AnchorFreeHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Points(raw, strides)
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

    def _location(self, points: Points, targets: Targets, assignment: Assignment) -> tuple[Tensor, Tensor]:
        """Weighted sums of the box loss and of the distribution loss over the positive points."""
        rows, aim = assignment.rows, targets.boxes[assignment.targets]
        sides = points.sides(rows)
        anchors = points.anchors[rows % len(points.candidates)]
        boxes = points.place(sides, anchors)
        box = cast(BoxLoss, self.box_loss)(boxes, aim, stride=anchors[:, 2], image_size=points.image_size)
        away = torch.cat((anchors[:, :2] - aim[:, :2], aim[:, 2:] - anchors[:, :2]), 1) / anchors[:, 2:]
        dfl = distribution_focal(sides, away)
        return (box * assignment.weights).sum(), (dfl * assignment.weights).sum()


class Points:
    """A head's raw output as rows (picture * N + point), decoded on demand; the assigner's `Predictions`."""

    def __init__(self, raw: Mapping[str, Tensor], strides: Sequence[int]) -> None:
        self.logits = raw["scores"].transpose(1, 2).flatten(0, 1).float()
        self.anchors = raw["anchors"][0]
        self.bins = torch.arange(raw["boxes"].shape[1] // 4, device=self.logits.device, dtype=torch.float32)
        self._sides = raw["boxes"].transpose(1, 2).flatten(0, 1)
        self.image_size = input_size(raw["anchors"])
        self.candidates = candidates_of(raw["anchors"], strides)

    def sides(self, rows: Tensor) -> Tensor:
        """Distribution logits (K, 4, bins), with gradient."""
        return cast(Tensor, self._sides.index_select(0, rows).float().unflatten(1, (4, -1)))

    def place(self, sides: Tensor, anchors: Tensor) -> Tensor:
        """Boxes (K, 4) xyxy in input pixels of distribution logits at `anchors` (K, 3)."""
        reach = torch.softmax(sides, -1) @ self.bins * anchors[:, 2:]
        return torch.cat((anchors[:, :2] - reach[:, :2], anchors[:, :2] + reach[:, 2:]), 1)

    @torch.no_grad()
    def boxes(self, rows: Tensor) -> Tensor:
        """Decoded boxes (K, 4) without gradient, a share at a time so that the distributions stay in cache."""
        shares = rows.split(_SHARE)
        return torch.cat([self.place(self.sides(part), self.anchors[part % len(self.anchors)]) for part in shares])

    @torch.no_grad()
    def scores(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Class probabilities (K,) without gradient."""
        return torch.sigmoid(self.logits[rows, labels])

    @torch.no_grad()
    def class_scores(self, rows: Tensor) -> Tensor:
        """Class probabilities (K, classes) without gradient."""
        return torch.sigmoid(self.logits[rows])
