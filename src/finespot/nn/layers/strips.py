"""Attention inside of strips of a map, and the block around it that GPViT calls local.

After "CSWin Transformer" (2021): half of the channels attends in vertical strips, half in horizontal ones, and a
depth-wise convolution of the values stands for positions. "GPViT" (2022, section 3.1) ends the block with a depth-wise
convolution. What differs: queries, keys and values of the two directions are layers of their own.

Maps are (B, H, W, C) here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import named
from finespot.nn.layers.drop_path import DropPath

# Cells across a strip.
STRIP = 2
# Heads of one direction.
HEADS = 6
LOCAL_EPS = 1e-6


class StripAttention(nn.Module):
    """Maps (B, H, W, C) to (B, H, W, C / 2): cells attend to those of their strip of two columns, or two rows."""

    def __init__(self, channels: int, vertical: bool) -> None:
        super().__init__()
        half = channels // 2
        self.vertical = vertical
        self.query = nn.Linear(channels, half)
        self.key = nn.Linear(channels, half)
        self.value = nn.Linear(channels, half)
        self.position = nn.Conv2d(half, half, 3, padding=1, groups=half)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        size = (height, STRIP) if self.vertical else (STRIP, width)
        query, key, value = (self._strips(part(x), size) for part in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(_heads(query), _heads(key), _heads(value))
        mixed = mixed.transpose(1, 2).flatten(2).unflatten(1, size) + on_map(self.position, value)
        # (B * down * right, h, w, C) back to the map.
        down, right = height // size[0], width // size[1]
        return cast(Tensor, mixed.unflatten(0, (-1, down, right)).transpose(2, 3).flatten(3, 4).flatten(1, 2))

    def _strips(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H, W, C) to (B * strips, h, w, C)."""
        parts = x.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))
        return cast(Tensor, parts.transpose(2, 3).flatten(0, 2))


class LocalBlock(nn.Module):
    """Strip attention and a feed-forward part, each added; then a depth-wise 3x3 in place of the map. Even sides."""

    def __init__(self, channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(channels, eps=LOCAL_EPS)
        self.vertical = StripAttention(channels, vertical=True)
        self.horizontal = StripAttention(channels, vertical=False)
        self.project = nn.Linear(channels, channels)
        self.before_feed_forward = nn.LayerNorm(channels, eps=LOCAL_EPS)
        self.feed_forward = feed_forward(channels)
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.drop = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before_attention(x)
        x = x + self.drop(self.project(torch.cat((self.vertical(y), self.horizontal(y)), -1)))
        x = x + self.drop(self.feed_forward(self.before_feed_forward(x)))
        return on_map(self.spread, x)


def feed_forward(channels: int, growth: int = 4) -> nn.Sequential:
    """Linear to growth * channels, GELU, Linear back; on the last dimension."""
    hidden = growth * channels
    return named(expand=nn.Linear(channels, hidden), act=nn.GELU(), contract=nn.Linear(hidden, channels))


def on_map(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer of (B, C, H, W) on a map (B, H, W, C)."""
    return cast(Tensor, layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def _heads(x: Tensor) -> Tensor:
    """(N, h, w, C) to (N, heads, h * w, C / heads)."""
    return cast(Tensor, x.flatten(1, 2).unflatten(2, (HEADS, -1)).transpose(1, 2))
