"""Box losses 1 - overlap: the IoU family and its descendants with penalties.

A box loss is called as `(pred, target, *, stride, image_size)` with boxes (P, 4) xyxy in input pixels, the stride (P,)
of each pair's level and the input's (height, width); it returns one value per pair, in float32 or better. One that has
a parameter `picture` is told (P,) which picture of the batch each pair is from. It may be a module with buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from finespot.boxes.geometry import iou, precise
from finespot.boxes.overlap import iou_family
from finespot.boxes.penalized import eiou, mpdiou, shape_iou, siou
from finespot.losses.options import require
from finespot.registry import register
from finespot.structures import Size


class BoxLoss(Protocol):
    """Per-pair loss of predicted boxes."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor: ...


@dataclass(frozen=True)
class SimilarityLoss:
    """1 - similarity(pred, target); depends on neither stride nor image size."""

    similarity: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        return 1 - self.similarity(precise(pred), precise(target))


@register("box_loss", "iou")
def iou_loss() -> SimilarityLoss:
    """1 - IoU: no gradient where boxes lie apart."""
    return SimilarityLoss(partial(iou_family, kind="iou"))


@register("box_loss", "iou2")
def squared_iou_loss() -> SimilarityLoss:
    """1 - IoU^2, the loss of YOLOX: no gradient where boxes lie apart, and little where they barely overlap."""
    return SimilarityLoss(_squared_iou)


@register("box_loss", "giou")
def giou_loss() -> SimilarityLoss:
    """1 - GIoU: adds the empty share of the hull."""
    return SimilarityLoss(partial(iou_family, kind="giou"))


@register("box_loss", "diou")
def diou_loss() -> SimilarityLoss:
    """1 - DIoU: adds the distance of the centers."""
    return SimilarityLoss(partial(iou_family, kind="diou"))


@register("box_loss", "ciou")
def ciou_loss() -> SimilarityLoss:
    """1 - CIoU: adds the distance of the centers and the difference of the aspect ratios."""
    return SimilarityLoss(partial(iou_family, kind="ciou"))


@register("box_loss", "eiou")
@dataclass(frozen=True)
class EIoULoss:
    """1 - EIoU: adds the distances of centers, widths and heights.

    With `gamma` above 0 it is Focal-EIoU (0.5 in the paper): times IoU^gamma, which switches pairs that lie apart off.
    """

    gamma: float = 0.0

    def __post_init__(self) -> None:
        require(self.gamma >= 0, "eiou", "gamma", "of 0 or more", self.gamma)

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        loss = 1 - eiou(pred, target)
        if self.gamma == 0:
            return loss
        return loss * iou(pred, target).detach() ** self.gamma


@register("box_loss", "siou")
def siou_loss() -> SimilarityLoss:
    """1 - SIoU: adds a distance cost that knows the angle, and a shape cost."""
    return SimilarityLoss(siou)


@register("box_loss", "shape")
def shape_loss(scale: float = 0.0) -> SimilarityLoss:
    """1 - Shape-IoU: distance and shape cost weighted by the sides of the target to the power of `scale`."""
    return SimilarityLoss(partial(shape_iou, scale=scale))


@register("box_loss", "mpd")
class MPDLoss:
    """1 - MPDIoU: adds the distances of two corners in units of the image's diagonal."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        return 1 - mpdiou(pred, target, image_size)


def _squared_iou(a: Tensor, b: Tensor) -> Tensor:
    return iou(a, b).square()
