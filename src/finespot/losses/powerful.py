"""Powerful-IoU: penalties in units of the target's size, so that a larger prediction does not lower them.

After "Powerful-IoU" (Neural Networks 170, 2024). The corners' mean distance P, in sides of the target, adds
1 - exp(-P^2). Version 2 weighs by a function of exp(-P); in the released code the gradient goes through that weight,
which pushes a tiny box that lies apart further away. Here it does not, unless `detach_q` is false.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.boxes.geometry import SMALLEST_SIDE, extent, iou, precise
from finespot.losses.options import require
from finespot.registry import register
from finespot.structures import Size


@register("box_loss", "powerful_v1")
class PowerfulV1:
    """1 - IoU + 1 - exp(-P^2), from 0 to 2; little gradient beyond two sides of the target."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        return _powerful(pred, target)[0]


@register("box_loss", "powerful_v2")
@dataclass(frozen=True)
class PowerfulV2:
    """Version 1 times 3 x exp(-x^2), where x = lam * exp(-P): bad pairs count little."""

    lam: float = 1.3
    detach_q: bool = True

    def __post_init__(self) -> None:
        require(self.lam > 0, "powerful_v2", "lam", "above 0", self.lam)

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        loss, distance = _powerful(pred, target)
        quality = torch.exp(-distance)
        focus = self.lam * (quality.detach() if self.detach_q else quality)
        return 3 * focus * torch.exp(-focus.square()) * loss


def _powerful(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Version 1 and P."""
    size = extent(target)
    x1, y1, x2, y2 = (precise(pred) - precise(target)).abs().unbind(-1)
    across = (x1 + x2) / size.width.clamp(min=SMALLEST_SIDE)
    down = (y1 + y2) / size.height.clamp(min=SMALLEST_SIDE)
    distance = (across + down) / 4
    return 2 - iou(pred, target) - torch.exp(-distance.square()), distance
