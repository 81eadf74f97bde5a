"""Box losses around another: Inner-IoU and Focaler-IoU exchange the IoU inside it for another one.

After "Inner-IoU" (arXiv 2311.02877) and "Focaler-IoU" (2401.10525): loss + IoU - IoU'. `over` is any box loss, with
options if it has them: `inner(over=nwd(constant=16))`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from finespot.boxes.geometry import iou
from finespot.boxes.penalized import focaler_iou, inner_iou
from finespot.losses.blend import box_loss
from finespot.losses.options import require
from finespot.losses.overlap import BoxLoss
from finespot.losses.pairs import cost_of_pairs
from finespot.registry import register
from finespot.structures import Size


class Exchanged(nn.Module):
    """loss + IoU - similarity."""

    def __init__(self, over: BoxLoss, similarity: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.over, self.similarity = over, similarity

    def forward(
        self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor | None = None
    ) -> Tensor:
        loss = cost_of_pairs(self.over, pred, target, stride=stride, image_size=image_size, picture=picture)
        return loss + iou(pred, target) - self.similarity(pred, target)


@register("box_loss", "inner")
def inner_loss(over: str = "iou", ratio: float = 1.2) -> Exchanged:
    """Takes the IoU of boxes with `ratio` times their sides: above 1 it reaches further, below 1 it is stricter.

    With a ratio above 1 the loss can fall below 0.
    """
    require(ratio > 0, "inner", "ratio", "above 0", ratio)
    return Exchanged(box_loss(over), partial(inner_iou, ratio=ratio))


@register("box_loss", "focaler")
def focaler_loss(over: str = "iou", d: float = 0.0, u: float = 0.95) -> Exchanged:
    """Takes the IoU stretched from `d` .. `u` to 0 .. 1: pairs outside that range get no gradient through it."""
    require(0 <= d < u <= 1, "focaler", "d and u", "as 0 <= d < u <= 1", f"d={d}, u={u}")
    return Exchanged(box_loss(over), partial(focaler_iou, d=d, u=u))
