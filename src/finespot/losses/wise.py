"""Wise-IoU: 1 - IoU, raised where centers are apart, and focused on pairs of middling quality.

After "Wise-IoU" (arXiv 2301.10051). The hull is a constant for the gradient; otherwise a larger hull would lower the
loss. Version 3 weighs a pair by its loss in units of a running mean. The constants are the paper's; the authors' later
code has alpha 1.7 and delta 2.7.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from finespot.boxes.geometry import EPS, extent, hull, iou
from finespot.losses.options import require
from finespot.losses.ranks import all_reduced
from finespot.registry import register
from finespot.structures import Size


@register("box_loss", "wise_v1")
class WiseV1:
    """(1 - IoU) * exp(squared distance of the centers / squared diagonal of the hull)."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        return _wise(pred, target)[0]


@register("box_loss", "wise_v3")
class WiseV3(nn.Module):
    """Version 1 times r = b / (delta * alpha^(b - delta)), where b is 1 - IoU over its running mean.

    r is 1 at b = delta and falls beyond: bad pairs, which may be labeled wrongly, count less. The mean starts at 1,
    takes the share `momentum` of each training batch before it is used, over all ranks, and is saved with the head.
    """

    mean: Tensor

    def __init__(self, alpha: float = 1.9, delta: float = 3.0, momentum: float = 0.01) -> None:
        super().__init__()
        require(alpha > 1, "wise_v3", "alpha", "above 1", alpha)
        require(delta > 0, "wise_v3", "delta", "above 0", delta)
        require(0 < momentum <= 1, "wise_v3", "momentum", "above 0 and up to 1", momentum)
        self.alpha, self.delta, self.momentum = alpha, delta, momentum
        self.register_buffer("mean", torch.ones(()))

    def forward(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor:
        loss, plain = _wise(pred, target)
        with torch.no_grad():
            if self.training:
                self._update(plain)
            share = plain / self.mean.clamp(min=EPS)
            gain = share / (self.delta * self.alpha ** (share - self.delta))
        return gain * loss

    def _update(self, plain: Tensor) -> None:
        # A rank without pairs takes part in the exchange; a batch without any changes nothing.
        total, count = all_reduced(torch.stack((plain.sum(), plain.new_tensor(len(plain)))), "sum")
        moved = torch.lerp(self.mean, (total / count.clamp(min=1)).to(self.mean.dtype), self.momentum)
        self.mean.copy_(torch.where(count > 0, moved, self.mean))


def _wise(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Version 1 and 1 - IoU."""
    plain = 1 - iou(pred, target)
    one, other = extent(pred), extent(target)
    width, height = hull(pred.detach(), target.detach())
    apart = (one.x - other.x).square() + (one.y - other.y).square()
    # Above 1 for swapped corners only, of which the exponential could overflow.
    distance = (apart / (width.square() + height.square()).clamp(min=EPS)).clamp(max=1)
    return distance.exp() * plain, plain
