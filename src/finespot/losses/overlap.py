"""Box losses 1 - overlap, for IoU, GIoU, DIoU and CIoU.

A box loss is called as `(pred, target, *, stride, image_size)` with boxes (P, 4) xyxy in input pixels, the stride (P,)
of each pair's level and the input's (height, width); it returns one value per pair. It may be a module with buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from finespot.boxes.overlap import iou_family
from finespot.registry import register
from finespot.structures import Size


class BoxLoss(Protocol):
    """Per-pair loss of predicted boxes."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor: ...


@dataclass(frozen=True)
class OverlapLoss:
    """1 - overlap; depends on neither stride nor image size."""

    kind: str

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        return 1 - iou_family(pred, target, self.kind)


@register("box_loss", "iou")
def iou_loss() -> OverlapLoss:
    """1 - IoU: no gradient where boxes lie apart."""
    return OverlapLoss("iou")


@register("box_loss", "giou")
def giou_loss() -> OverlapLoss:
    """1 - GIoU: adds the empty share of the hull."""
    return OverlapLoss("giou")


@register("box_loss", "diou")
def diou_loss() -> OverlapLoss:
    """1 - DIoU: adds the distance of the centers."""
    return OverlapLoss("diou")


@register("box_loss", "ciou")
def ciou_loss() -> OverlapLoss:
    """1 - CIoU: adds the distance of the centers and the difference of the aspect ratios."""
    return OverlapLoss("ciou")
