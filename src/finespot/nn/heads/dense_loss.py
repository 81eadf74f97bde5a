"""The loss of dense heads with side distributions: assigned boxes, class scores, distributions.

The YOLOv8 loss ("Ultralytics YOLOv8", 2023; box 7.5, cls 0.5, dfl 1.5): overlap and distribution losses of positive
points and binary cross entropy of all points, each over the sum of the soft class targets. What differs: ignore
regions, any registered assigner and box loss, and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot import registry
from finespot.assigners import Assigner, Assignment
from finespot.errors import unknown
from finespot.losses import BoxLoss, distribution_focal, sparse_bce
from finespot.structures import Candidates, LossTerms, Size, Targets

GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
# Sides (square root of the area, input pixels) that part the size bins of the counts.
SIZE_EDGES = (8.0, 16.0, 32.0)
_SHARE = 8192
SIZE_NAMES = ("to_8px", "to_16px", "to_32px", "above_32px")


class DenseLoss(nn.Module):
    """Terms box, cls, dfl and counts: targets, positives, starved (targets without a positive), these by size.

    `assigner` and `box_loss` are registered names, dotted paths or ready objects; a box loss that is a module has its
    buffers saved with the head. `gains` overrides `GAINS` term by term.
    """

    def __init__(
        self,
        assigner: str | Assigner = "task_aligned",
        box_loss: str | BoxLoss = "ciou",
        gains: Mapping[str, float] | None = None,
        assigner_options: Mapping[str, Any] | None = None,
        box_loss_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.assigner: Assigner = _built("assigner", assigner, assigner_options)
        self.box_loss: BoxLoss = _built("box_loss", box_loss, box_loss_options)
        for name in gains or {}:
            if name not in GAINS:
                raise unknown("loss gain", name, GAINS)
        self.gains = {**GAINS, **(gains or {})}

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, bins: Tensor, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `AnchorFreeHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Points(raw, bins.float(), strides)
            assignment = self.assigner(points, targets, points.candidates)
            total = assignment.weights.sum().clamp(min=1)
            box, dfl = self._location(points, targets, assignment)
            cls = sparse_bce(
                points.logits,
                assignment.rows,
                targets.labels[assignment.targets],
                assignment.weights,
                _ignored(points.logits, assignment),
            )
            losses = {"box": box, "cls": cls, "dfl": dfl}
            terms = {name: value * (self.gains[name] / total) for name, value in losses.items()}
        return LossTerms(terms, _counts(targets, assignment))

    def _location(self, points: Points, targets: Targets, assignment: Assignment) -> tuple[Tensor, Tensor]:
        """Weighted sums of the box loss and of the distribution loss over the positive points."""
        rows, aim = assignment.rows, targets.boxes[assignment.targets]
        sides = points.sides(rows)
        anchors = points.anchors[rows % len(points.candidates)]
        boxes = points.place(sides, anchors)
        box = self.box_loss(boxes, aim, stride=anchors[:, 2], image_size=points.image_size)
        away = torch.cat((anchors[:, :2] - aim[:, :2], aim[:, 2:] - anchors[:, :2]), 1) / anchors[:, 2:]
        dfl = distribution_focal(sides, away)
        return (box * assignment.weights).sum(), (dfl * assignment.weights).sum()


class Points:
    """A head's raw output as rows (picture * N + point), decoded on demand; the assigner's `Predictions`."""

    def __init__(self, raw: Mapping[str, Tensor], bins: Tensor, strides: Sequence[int]) -> None:
        self.logits = raw["scores"].transpose(1, 2).flatten(0, 1).float()
        self.anchors = raw["anchors"][0]
        self.bins = bins
        self._sides = raw["boxes"].transpose(1, 2).flatten(0, 1)
        # The last point is the bottom right one of the coarsest level, half a cell from the picture's corner.
        x, y, stride = self.anchors[-1].tolist()
        self.image_size: Size = (round(y + stride / 2), round(x + stride / 2))
        height, width = self.image_size
        grids = tuple((s, height // s, width // s) for s in strides)
        self.candidates = Candidates(self.anchors[:, :2], self.anchors[:, 2], grids)

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


def _ignored(logits: Tensor, assignment: Assignment) -> Tensor | None:
    """Mask (R, classes) of entries that bear no class loss, or None where there are none."""
    rows, labels = assignment.ignored_rows, assignment.ignored_labels
    if len(rows) == 0:
        return None
    mask = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    mask[rows[labels < 0]] = True
    mask[rows[labels >= 0], labels[labels >= 0]] = True
    return mask


def _counts(targets: Targets, assignment: Assignment) -> dict[str, Tensor]:
    real = ~targets.ignore
    starved = real & (assignment.positives == 0)
    side = (targets.boxes[:, 2:] - targets.boxes[:, :2]).prod(1).sqrt()
    size = torch.bucketize(side, torch.tensor(SIZE_EDGES, device=side.device))
    counts = {"targets": real.sum(), "positives": assignment.positives.sum(), "starved": starved.sum()}
    bins = len(SIZE_NAMES)
    for name, which in (("targets", real), ("starved", starved)):
        by_size = torch.bincount(size[which], minlength=bins)
        counts.update({f"{name}_{SIZE_NAMES[i]}": by_size[i] for i in range(bins)})
    return counts


def _built(kind: str, part: str | Callable[..., Any], options: Mapping[str, Any] | None) -> Any:
    return registry.build(kind, part, **(options or {})) if isinstance(part, str) else part
