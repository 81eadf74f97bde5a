"""Space to depth: every 2x2 block of pixels becomes one place with four times the channels.

The stem of YOLOX and of YOLOv5 up to release 5 ("Focus"). The blocks come in the order of the released weights, which
is column by column: `pixel_unshuffle` would interleave them with the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpaceToDepth(nn.Module):
    """(B, C, H, W) with even sides to (B, 4 C, H / 2, W / 2): all channels of the top left pixels, then of the bottom
    left, the top right, the bottom right ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        left, right = x[..., 0::2], x[..., 1::2]
        return torch.cat((left[..., 0::2, :], left[..., 1::2, :], right[..., 0::2, :], right[..., 1::2, :]), 1)
