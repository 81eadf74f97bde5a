"""Dual-path recalibration attention, LRS-DETR's layer over the cells of its coarsest map.

After LRS-DETR (2025): adaptive sparse attention, then SimAM ("SimAM: A Simple, Parameter-Free Attention Module", 2021),
inside of a post-norm transformer layer. It has no position codes: positions enter by the bias inside of windows and by
the convolutions of the refinement. A cell sees its window of 4 x 4 cells, and the ring that the convolutions add.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.sparse_attention import AdaptiveSparseSA
from finespot.nn.layers.transformer import FeedForward

_EPS = 1e-6
# Hidden channels of the refinement for each channel.
_GROWTH = 4
# Keeps the energy of an even map finite.
_SPREAD = 1e-4


class SimAM(nn.Module):
    """Every value times a weight that rises with its squared distance from its channel's mean: (B, H, W, C) to the same
    shape, without a parameter; sums in float32. A map of one cell has no distances and gets weights of one kind.
    """

    def forward(self, x: Tensor) -> Tensor:
        values = x.float()
        distance = (values - values.mean((1, 2), keepdim=True)).square()
        others = max(x.shape[1] * x.shape[2] - 1, 1)
        variance = distance.sum((1, 2), keepdim=True) / others
        return (values * torch.sigmoid(distance / (4 * (variance + _SPREAD)) + 0.5)).to(x.dtype)


class DPRA(nn.Module):
    """Maps (B, width, H, W) to the same shape; `hidden` is the width of the feed-forward part."""

    def __init__(self, width: int, hidden: int = 1024, heads: int = 8) -> None:
        super().__init__()
        self.attention = AdaptiveSparseSA(width, _GROWTH * width, heads)
        self.recalibrate = SimAM()
        self.attention_norm = nn.LayerNorm(width, eps=_EPS)
        self.feedforward = FeedForward(width, hidden, F.gelu)
        self.feedforward_norm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        cells = x.permute(0, 2, 3, 1)
        cells = self.attention_norm(cells + self.recalibrate(self.attention(cells)))
        cells = self.feedforward_norm(cells + self.feedforward(cells))
        return cast(Tensor, cells.permute(0, 3, 1, 2))
