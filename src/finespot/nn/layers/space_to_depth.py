"""Space to depth: every 2x2 block of pixels becomes one place with four times the channels.

The stem of YOLOX and of YOLOv5 up to release 5 ("Focus"). The blocks come in the order of the released weights, which
is column by column: `pixel_unshuffle` would interleave them with the channels. `SPDConv` puts it in the place of a
strided convolution ("No More Strided Convolutions or Pooling", 2022), so that no pixel is passed over.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Conv


class SpaceToDepth(nn.Module):
    """(B, C, H, W) with even sides to (B, 4 C, H / 2, W / 2): all channels of the top left pixels, then of the bottom
    left, the top right, the bottom right ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., 0::2], x[..., 1::2]
        return torch.cat((left[..., 0::2, :], left[..., 1::2, :], right[..., 0::2, :], right[..., 1::2, :]), 1)


class SPDConv(nn.Module):
    """Maps (B, c_in, H, W) to (B, c_out, ceil(H / 2), ceil(W / 2)): space to depth, then a 3x3 convolution.

    An odd side gets a row or column of zeros, as at the rim of any convolution.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.gather = SpaceToDepth()
        self.mix = Conv(4 * c_in, c_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        even = F.pad(x, (0, width % 2, 0, height % 2))
        return cast(Tensor, self.mix(self.gather(even)))
