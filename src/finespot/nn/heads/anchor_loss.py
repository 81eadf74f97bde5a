"""The loss of YOLOv5: boxes and classes of matched anchors, objectness of all.

After the released YOLOv5 (2020). Per level: box loss and class cross entropy are means over the positives, objectness
the mean over all anchors of a cross entropy whose target is the overlap (CIoU) that a positive has reached; fine levels
count more, since they have more negatives. Levels add up. The gains hold for three levels, 80 classes and pictures of
640 pixels, and are scaled to others; of windows, to their area. What differs: ignore regions, where negative points
bear no objectness loss; of several targets of one point, the best overlap is its objectness (the original lets an
arbitrary one win); any registered assigner and box loss; and figures on which targets starve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.assigners import Assigner, Assignment
from finespot.boxes.overlap import iou_family
from finespot.nn.heads.criterion import Criterion, counts
from finespot.nn.heads.rows import Rows
from finespot.structures import LossTerms, Size, Targets

# What objectness counts on each level, fine to coarse: on three, and on another number of them (the last for all that
# follow).
BALANCE_OF_THREE = (4.0, 1.0, 0.4)
BALANCE = (4.0, 1.0, 0.25, 0.06, 0.02)
# What the gains hold for.
LEVELS, CLASSES, SIDE = 3, 80, 640


def decode(values: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy in input pixels of raw x, y, w, h (..., 4) at `anchors` (..., 5).

    A center is at most one stride from the cell's, a side at most four times the anchor's.
    """
    shares = 2 * torch.sigmoid(values)
    centers = anchors[..., :2] + (shares[..., :2] - 1) * anchors[..., 2:3]
    half = shares[..., 2:].square() * anchors[..., 3:] / 2
    return torch.cat((centers - half, centers + half), -1)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Twice the sigmoids (P, 4), 0 to 2, that `decode` to these boxes; what lies outside is the nearest within.

    A center is one more than its offset from the cell's in strides, a side the root of its share of the anchor's.
    """
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offsets = (centers - anchors[:, :2]) / anchors[:, 2:3] + 1
    return torch.cat((offsets, (sides.clamp(min=0) / anchors[:, 3:]).sqrt()), 1).clamp(0, 2)


class AnchorLoss(Criterion):
    """Terms box, obj, cls and, where it has a gain, l1; see `Criterion` for the choices and the counts.

    `repeats` is the anchors a cell. The class target of a positive is the weight its assigner gives (1, of
    anchor_ratio), which also weighs its box and its l1: the sum of the errors of the four values that `encode` gives.
    With one class there is no class loss, but its branch has gradients (of zero) for the exchange between processes.
    """

    GAINS: ClassVar[Mapping[str, float]] = {"box": 0.05, "obj": 1.0, "cls": 0.5, "l1": 0.0}
    ASSIGNER = "anchor_ratio"
    BOX_LOSS = "ciou"

    def __init__(self, repeats: int = 3, **choice: Any) -> None:
        super().__init__(**choice)
        self.repeats = repeats

    def forward(self, raw: Mapping[str, Tensor], targets: Targets, strides: Sequence[int]) -> LossTerms:
        """Loss of raw predictions (see `AnchorBasedHead`) on levels of `strides`, in float32 inside autocast too."""
        with torch.autocast(raw["scores"].device.type, enabled=False):
            points = Rows(raw, strides, decode, 0.5, self.repeats)
            assignment = cast(Assigner, self.assigner)(points, targets, points.candidates)
            above = assignment.weights > 0
            rows, weights = assignment.rows[above], assignment.weights[above]
            chosen = assignment.targets[above]
            aim, boxes, anchors = targets.boxes[chosen], points.place(rows), points.anchors(rows)
            cost = self.box_costs(
                boxes,
                aim,
                stride=anchors[:, 2],
                image_size=points.image_size,
                picture=points.pictures(rows),
            )
            overlap = iou_family(boxes.detach(), aim, "ciou").clamp(min=0)
            level = torch.bucketize(anchors[:, 2].contiguous(), anchors.new_tensor(strides))
            share = _shares(weights, level, len(strides))
            losses = {
                "box": (cost * share).sum(),
                "obj": self._objectness(points, strides, rows, overlap, assignment),
                "cls": _classes(points.logits[rows], targets.labels[chosen], weights, level, len(strides)),
            }
            if self.gains["l1"]:
                errors = (2 * torch.sigmoid(points.values(rows)) - encode(aim, anchors)).abs().sum(1)
                losses["l1"] = (errors * share).sum() if self.l1_acts else errors.new_zeros(())
            classes = points.logits.shape[1]
            scales = {"box": 1.0, "l1": 1.0, "obj": _area(raw, points.image_size) / SIDE**2, "cls": classes / CLASSES}
            across = LEVELS / len(strides)
            terms = {name: value * (self.gains[name] * scales[name] * across) for name, value in losses.items()}
        return LossTerms(terms, counts(targets, assignment.positives))

    def _objectness(
        self, points: Rows, strides: Sequence[int], rows: Tensor, overlap: Tensor, assignment: Assignment
    ) -> Tensor:
        """Balanced means of the cross entropy; silent in ignore regions, whatever class these have."""
        logits = cast(Tensor, points.objectness)[:, 0]
        aim = torch.zeros_like(logits).scatter_reduce_(0, rows, overlap, "amax")
        heard = torch.ones_like(logits)
        heard[assignment.ignored_rows] = 0
        costs = F.binary_cross_entropy_with_logits(logits, aim, reduction="none") * heard
        height, width = points.image_size
        # The last cells of a level may reach over the input's edge.
        sizes = [self.repeats * -(-height // stride) * -(-width // stride) for stride in strides]
        by_level = (one.view(-1, len(points.candidates)).split(sizes, 1) for one in (costs, heard))
        balance = BALANCE_OF_THREE if len(strides) == len(BALANCE_OF_THREE) else BALANCE
        means = [cost.sum() / present.sum().clamp(min=1) for cost, present in zip(*by_level)]
        return torch.stack([mean * balance[min(i, len(balance) - 1)] for i, mean in enumerate(means)]).sum()


def _area(raw: Mapping[str, Tensor], image_size: Size) -> float:
    """The area of a picture by its longer side, which is that of its windows where it runs on some.

    What is judged without an object grows with it; so a background point counts the same, whatever is not computed.
    """
    if "origins" in raw:
        return image_size[0] * image_size[1] * len(raw["origins"]) / len(raw["picks"])
    return float(max(image_size) ** 2)


def _shares(weights: Tensor, level: Tensor, levels: int) -> Tensor:
    """What each positive (P,) counts, so that a sum over all is the sum of the levels' weighted means."""
    own = F.one_hot(level, levels) * weights[:, None]
    return weights / own.sum(0).clamp(min=1)[level]


def _classes(logits: Tensor, labels: Tensor, weights: Tensor, level: Tensor, levels: int) -> Tensor:
    """Sum over the levels of the mean cross entropy over positives and classes."""
    classes = logits.shape[1]
    if classes == 1:
        return 0 * logits.sum()
    aim = F.one_hot(labels, classes) * weights[:, None]
    costs = F.binary_cross_entropy_with_logits(logits, aim, reduction="none").mean(1)
    return (costs * _shares(torch.ones_like(weights), level, levels)).sum()
