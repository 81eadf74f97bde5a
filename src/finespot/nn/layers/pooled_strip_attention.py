"""Attention between strips of averaged rows: what the released YOLO-SOD has under the name of area attention.

Rows are averaged to a few strips, every cell of which attends to every other; the outcome is stretched to the map's
size again and added. It is not the area attention of YOLO12 (see `area_attention`), which attends inside areas at full
resolution; it is here so that published figures can be repeated.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Conv
from finespot.nn.layers.transformer import SelfAttention, start_packed


class PooledStripAttention(nn.Module):
    """(B, C, H, W) to the same shape; `heads` divides C. Maps of fewer rows than `strips` repeat rows."""

    def __init__(self, channels: int, strips: int = 8, heads: int = 8) -> None:
        super().__init__()
        self.strips = strips
        self.entry = Conv(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        self.exit = Conv(channels, channels)
        start_packed(self.attention)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        pooled = F.adaptive_avg_pool2d(self.entry(x), (self.strips, width))
        mixed = self.attention(self.norm(pooled.flatten(2).transpose(1, 2)))
        strips = mixed.transpose(1, 2).unflatten(2, (self.strips, width))
        stretched = F.interpolate(strips, (height, width), mode="bilinear", align_corners=False)
        return cast(Tensor, x + self.exit(stretched))
