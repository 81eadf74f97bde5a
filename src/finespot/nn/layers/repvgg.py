"""RepVGG units, and the cross-stage block that RT-DETR makes of them.

After "RepVGG: Making VGG-style ConvNets Great Again" (2021) without the identity branch: a 3x3 and a 1x1 convolution,
each with batch norm, are added while training; `fuse` makes one 3x3 of both. CSPRep is the C3 block of the YOLO family
with such units, joined by a sum.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from finespot.nn.layers.conv import ACTIVATIONS, TORCH_NORM, Conv, Fork, Norm


class RepVGG(nn.Module):
    """SiLU(3x3 + 1x1), both with batch norm: (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, norm: Norm = TORCH_NORM) -> None:
        super().__init__()
        self.dense = Conv(channels, channels, 3, activation=None, norm=norm)
        self.point: Conv | None = Conv(channels, channels, 1, activation=None, norm=norm)
        self.act = ACTIVATIONS["silu"]()

    def forward(self, x: Tensor) -> Tensor:
        summed = self.dense(x) if self.point is None else self.dense(x) + self.point(x)
        return cast(Tensor, self.act(summed))

    @torch.no_grad()
    def fuse(self) -> None:
        """Add the 1x1 to the center of the 3x3, in place, for inference. A second call does nothing."""
        if self.point is None:
            return
        self.dense.fuse()
        self.point.fuse()
        self.dense.conv.weight[:, :, 1:2, 1:2] += self.point.conv.weight
        cast(Tensor, self.dense.conv.bias).add_(cast(Tensor, self.point.conv.bias))
        self.point = None


class CSPRep(nn.Module):
    """`repeats` RepVGG units on one 1x1 of the map, added to another 1x1 of it: (B, c_in, H, W) to (B, c_out, H, W).

    Both have expansion * c_out channels; a last 1x1 follows where these are not c_out.
    """

    def __init__(
        self, c_in: int, c_out: int, repeats: int = 3, expansion: float = 1.0, norm: Norm = TORCH_NORM
    ) -> None:
        super().__init__()
        hidden = int(c_out * expansion)
        self.entry = Fork(c_in, (hidden, hidden), norm=norm)
        self.units = nn.Sequential(*(RepVGG(hidden, norm) for _ in range(repeats)))
        self.exit: nn.Module = nn.Identity() if hidden == c_out else Conv(hidden, c_out, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        through, beside = self.entry(x)
        return cast(Tensor, self.exit(self.units(through) + beside))
