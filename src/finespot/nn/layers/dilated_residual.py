"""Dilation-wise residual unit, and the C2f frame around such units.

After "DWRSeg: Rethinking Efficient Acquisition of Multi-scale Contextual Information" (2022): one convolution first
forms a simple map, then three of dilation 1, 3 and 5 (2 : 1 : 1 of the channels) each look at it at one reach. The
paper's dilated convolutions are depth-wise without activation behind a ReLU; YOLO11-ASS, whose default is ours, made
them full ones with SiLU everywhere, at several times the cost. `depthwise` takes the paper's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import Conv
from finespot.nn.layers.csp import Collected

# Dilation of each branch.
NEAR, MIDDLE, FAR = 1, 3, 5


class DWR(nn.Module):
    """Maps (B, C, H, W) to the same shape; the input is added. C must be even."""

    def __init__(self, channels: int, depthwise: bool = False) -> None:
        super().__init__()
        if channels % 2:
            raise FineSpotError(f"expected an even number of channels but got {channels}", where="DWR")
        half = channels // 2

        def reach(c_out: int, dilation: int) -> Conv:
            if depthwise:
                return Conv(half, c_out, 3, groups=half, activation=None, dilation=dilation)
            return Conv(half, c_out, 3, dilation=dilation)

        self.simple = Conv(channels, half, 3, activation="relu" if depthwise else "silu")
        self.near, self.middle, self.far = reach(channels, NEAR), reach(half, MIDDLE), reach(half, FAR)
        self.exit = Conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        simple = self.simple(x)
        seen = torch.cat((self.near(simple), self.middle(simple), self.far(simple)), 1)
        return cast(Tensor, x + self.exit(seen))


class C3k2DWR(Collected):
    """The frame of C2f around `repeats` DWR units (0: the two 1x1 convolutions alone).

    Maps (B, c_in, H, W) to (B, c_out, H, W). `expansion` is the share of c_out that each half of the entry has.
    """

    def __init__(
        self, c_in: int, c_out: int, repeats: int = 1, expansion: float = 0.5, depthwise: bool = False
    ) -> None:
        hidden = int(c_out * expansion)
        super().__init__(c_in, c_out, hidden, [DWR(hidden, depthwise) for _ in range(repeats)])
