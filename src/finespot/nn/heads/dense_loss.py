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
from finespot.losses import distribution_focal, sparse_bce
from finespot.nn.heads.criterion import Criterion, counts, ignored_entries
from finespot.nn.heads.points import away_from
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Targets


def decode(values: Tensor, anchors: Tensor, bins: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of side distributions (..., 4 * bins, logits) at `anchors` (..., 3).

    A side lies the mean of its distribution over `bins` (in cells) away from the point.
    """
    reach = distances(values, bins) * anchors[..., 2:]
    centers = anchors[..., :2]
    return torch.cat((centers - reach[..., :2], centers + reach[..., 2:]), -1)


def distances(values: Tensor, bins: Tensor) -> Tensor:
    """Means (..., 4) over `bins` (in cells) of side distributions (..., 4 * bins, logits)."""
    shares = torch.softmax(values.unflatten(-1, (4, -1)), -1)
    return (shares @ bins[:, None]).squeeze(-1)


def points_of(raw: Mapping[str, Tensor], strides: Sequence[int]) -> Rows:
    """The points of raw predictions with side distributions (see `AnchorFreeHead`) on levels of `strides`."""
    return Rows(raw, strides, partial(decode, bins=_bins(raw["boxes"].shape[1], raw["boxes"].device)), offset=0.5)


class DenseLoss(Criterion):
    """Terms box, cls, dfl and, where it has a gain, l1; see `Criterion` for the choices and the counts.

    l1 is the sum of the errors of the four distances to the sides, in strides, as far as the bins reach; it is weighted
    as box is.
    """

    GAINS: ClassVar[Mapping[str, float]] = {"box": 7.5, "cls": 0.5, "dfl": 1.5, "l1": 0.0}
    ASSIGNER = "task_aligned"
    BOX_LOSS = "ciou"

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `AnchorFreeHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = points_of(raw, strides)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            total = assignment.weights.sum().clamp(min=1)
            location = self._location(points, targets, assignment)
            cls = sparse_bce(
                points.logits,
                assignment.rows,
                targets.labels[assignment.targets],
                assignment.weights,
                ignored_entries(points.logits.shape, assignment),
            )
            losses = {**location, "cls": cls}
            terms = {name: value * (self.gains[name] / total) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))

    def _location(self, points: Rows, targets: Targets, assignment: Assignment) -> dict[str, Tensor]:
        """Weighted sums of the terms box, dfl and l1 over the positive points."""
        rows, aim, weights = assignment.rows, targets.boxes[assignment.targets], assignment.weights
        values, anchors = points.values(rows), points.anchors(rows)
        boxes = points.decode(values, anchors)
        box = self.box_costs(
            boxes, aim, stride=anchors[:, 2], image_size=points.image_size, picture=points.pictures(rows)
        )
        away = away_from(anchors, aim)
        dfl = distribution_focal(values.unflatten(1, (4, -1)), away)
        losses = {"box": (box * weights).sum(), "dfl": (dfl * weights).sum()}
        if self.gains["l1"]:
            bins = _bins(values.shape[1], values.device)
            errors = (distances(values, bins) - away.clamp(0, len(bins) - 1)).abs().sum(1)
            losses["l1"] = (errors * weights).sum() if self.l1_acts else errors.new_zeros(())
        return losses


def _bins(columns: int, device: torch.device) -> Tensor:
    """Distances in cells of the bins, of as many columns as four sides have."""
    return torch.arange(columns // 4, device=device, dtype=torch.float32)
