"""GPViT: a vision transformer on one map of stride 8.

After "GPViT: A High Resolution Non-Hierarchical Vision Transformer with Group Propagation" (2022) and its released
code, whose parameter counts are reached to the unit. Eight of twelve blocks look into strips, the other four pass on
over the whole map. What differs: the grid of position codes is resized for rectangles as for squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError, unknown
from finespot.nn.layers.conv import TORCH_NORM, Conv
from finespot.nn.layers.group_block import GroupBlock
from finespot.nn.layers.strips import LOCAL_EPS, LocalBlock
from finespot.registry import register
from finespot.structures import Features, Level

STRIDE = 8
BLOCKS = 12
# Number of the block -> its group tokens; the others are local.
GROUPS = {1: 64, 4: 32, 7: 32, 10: 16}
# Sides of the grid of position codes: that of a picture of 224.
GRID = 28
STEM_WIDTH = 64


@dataclass(frozen=True)
class Width:
    """One size: channels of the map, and 3x3 convolutions in the stem beside the first."""

    channels: int
    convolutions: int


SIZES = {"l1": Width(216, 0), "l2": Width(348, 1), "l3": Width(432, 1), "l4": Width(624, 2)}


class Trunk(nn.Module):
    """Pictures (B, 3, H, W) to a map (B, H / 8, W / 8, C): the part that the plain and the adapted form share.

    `drop_path` is the rate of the last block; it grows evenly from 0. Sides are multiples of 16.
    """

    no_decay = ("positions",)

    def __init__(self, size: str, drop_path: float = 0.0) -> None:
        super().__init__()
        if size not in SIZES:
            raise unknown("size of the gpvit", size, SIZES)
        if isinstance(drop_path, bool) or not isinstance(drop_path, int | float) or not 0 <= drop_path < 1:
            raise FineSpotError(f"expected a rate from 0 to below 1 but got {drop_path}", where="drop_path")
        width = SIZES[size]
        self.channels = width.channels
        self.stem = nn.Sequential(Conv(3, STEM_WIDTH, 7, 2, activation="relu", norm=TORCH_NORM))
        for _ in range(width.convolutions):
            self.stem.append(Conv(STEM_WIDTH, STEM_WIDTH, 3, activation="relu", norm=TORCH_NORM))
        self.patches = nn.Conv2d(STEM_WIDTH, self.channels, 4, 4)
        self.positions = nn.Parameter(torch.empty(1, GRID * GRID, self.channels))
        rates = [drop_path * i / (BLOCKS - 1) for i in range(BLOCKS)]
        self.blocks = nn.ModuleList(
            GroupBlock(self.channels, GROUPS[i], rate) if i in GROUPS else LocalBlock(self.channels, rate)
            for i, rate in enumerate(rates)
        )
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def embed(self, images: Tensor) -> Tensor:
        """What the first block gets."""
        x = self.patches(self.stem(images))
        codes = self.positions.transpose(1, 2).unflatten(2, (GRID, GRID))
        if x.shape[2:] != codes.shape[2:]:
            codes = F.interpolate(codes, size=x.shape[2:], mode="bicubic", align_corners=False)
        return cast(Tensor, (x + codes).permute(0, 2, 3, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return x


@register("backbone", "gpvit")
class GPViT(nn.Module):
    """Pictures (B, 3, H, W) to `Features` of one level of stride 8, normalized. Sides are multiples of 16.

    `size` is l1, l2, l3 or l4; `drop_path` as in `Trunk`.
    """

    # Strips are two cells wide.
    multiple = 2 * STRIDE

    def __init__(self, size: str = "l1", drop_path: float = 0.0) -> None:
        super().__init__()
        self.trunk = Trunk(size, drop_path)
        self.norm = nn.LayerNorm(self.trunk.channels, eps=LOCAL_EPS)
        self.levels = (Level(self.trunk.channels, STRIDE),)

    def forward(self, images: Tensor) -> Features:
        return Features([self.norm(self.trunk(images)).permute(0, 3, 1, 2)], self.levels)
