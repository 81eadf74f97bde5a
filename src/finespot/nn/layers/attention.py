"""Position-sensitive self attention over one feature map (C2PSA), as YOLO11 puts it behind its last stage.

After "YOLOv10" (2024, section 3.2, partial self-attention) and the YOLO11 layer table: keys of half the head size,
a depth-wise 3x3 of the values as position term, batch norm in place of layer norm. What differs: query, key and
value are three convolutions, joined to one by `fuse`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Conv, Fork

HEAD_WIDTH = 64


class Attention(nn.Module):
    """Every cell of the map attends to every other: (B, C, H, W) to the same shape, max(C // 64, 1) heads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(channels // HEAD_WIDTH, 1)
        key = channels // self.heads // 2 * self.heads
        self.entry = Fork(channels, (key, key, channels), activation=None)
        self.project = Conv(channels, channels, activation=None)
        self.position = Conv(channels, channels, 3, groups=channels, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.entry(x)
        mixed = F.scaled_dot_product_attention(self._tokens(query), self._tokens(key), self._tokens(value))
        # (B, heads, H*W, d) back to a map whose memory is channels-last, as the convolutions around it have it.
        back = mixed.transpose(1, 2).flatten(2).unflatten(1, value.shape[2:]).permute(0, 3, 1, 2)
        return cast(Tensor, self.project(back + self.position(value)))

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, heads, H*W, C / heads)."""
        return cast(Tensor, x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3))


class PSABlock(nn.Module):
    """Attention, then two 1x1 convolutions (to 2C and back), each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = Attention(channels)
        self.expand = Conv(channels, 2 * channels)
        self.contract = Conv(2 * channels, channels, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return cast(Tensor, x + self.contract(self.expand(x)))


class C2PSA(nn.Module):
    """Half of the channels goes through `repeats` attention blocks, the other half past them."""

    def __init__(self, channels: int, repeats: int = 1) -> None:
        super().__init__()
        hidden = channels // 2
        self.entry = Fork(channels, (hidden, hidden))
        self.units = nn.Sequential(*(PSABlock(hidden) for _ in range(repeats)))
        self.exit = Conv(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        beside, through = self.entry(x)
        return cast(Tensor, self.exit(torch.cat((beside, self.units(through)), 1)))
