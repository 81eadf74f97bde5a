"""Attention inside of shifted windows, half of it dense and half of it sparse, with a feed-forward part that refines.

After "Adapt or Perish: Adaptive Sparse Transformer" (2024), as LRS-DETR (2025) uses it. Two sums of values are blended
by two learnt weights: one with softmax scores, one with squared ReLU scores, which are zero for what does not fit and
are not normalized; there is no choice of the best k. Windows of 4 x 4 cells are always shifted by half of their side.

What differs: the released code wants a square map whose side is a multiple of the window, fails on most others, and
mixes up the cells of some. Here the cells (row, column) with equal ((row + 2) // 4, (column + 2) // 4) are one window,
on maps of any size: windows at the rim are smaller, and what fills them up is never seen. On the maps that the released
code is made for both are the same. Scores and sums are computed in float32: squares leave the range of a half.

Maps are (B, H, W, C) here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.full_precision import full_precision
from finespot.nn.layers.strips import on_map
from finespot.nn.layers.window_attention import offset_rows

# Cells along a side of a window, and by how many of them windows are shifted.
WINDOW = 4
SHIFT = WINDOW // 2
# Score of what a window is filled up with: below all others, and a number in half precision too.
_UNSEEN = -1e4
_EPS = 1e-5


class SparseAttention(nn.Module):
    """Cells attend to those of their window: (B, H, W, C) to the same shape.

    `position` holds a bias for each offset (query less key, row by row) and head, `branches` the logits of the dense
    and the sparse share.
    """

    no_decay = ("position", "branches")

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.position = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        self.branches = nn.Parameter(torch.ones(2))
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        projected = (self.query(x), self.key(x), self.value(x))
        with full_precision(x.device):
            query, key, value = (_windows(one.float()).unflatten(-1, (self.heads, -1)) for one in projected)
            # (B, windows, 16, heads, C / heads) to (B, windows, heads, 16, C / heads).
            query, key, value = (one.transpose(2, 3) for one in (query, key, value))
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + self._bias()
            scores = torch.where(_windows(torch.ones_like(x[:1, ..., :1]))[..., None, None, :, 0] > 0, scores, _UNSEEN)
            dense, sparse = torch.softmax(self.branches.float(), 0).unbind()
            shares = dense * torch.softmax(scores, -1) + sparse * F.relu(scores).square()
            mixed = (shares @ value).transpose(2, 3).flatten(3)
        return cast(Tensor, self.out(_together(mixed, x.shape[1], x.shape[2]).to(projected[0].dtype)))

    def _bias(self) -> Tensor:
        """Bias (heads, 16, 16) of a window's cells, row by row, queries first."""
        rows = offset_rows((WINDOW, WINDOW), WINDOW, self.position.device)
        return self.position.float()[rows].permute(2, 0, 1)


class FRFN(nn.Module):
    """Feature refinement: a 3x3 over the first quarter of the channels, then a gated feed-forward part with `hidden`
    channels whose gate sees its neighbors. (B, H, W, C) to the same shape.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.refined = width // 4
        self.refine = nn.Conv2d(self.refined, self.refined, 3, padding=1, bias=False)
        self.gate = nn.Linear(width, hidden)
        self.spread = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.value = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        refined, beside = x.tensor_split([self.refined], -1)
        x = torch.cat((on_map(self.refine, refined), beside), -1)
        gate = F.gelu(on_map(self.spread, F.gelu(self.gate(x))))
        return cast(Tensor, self.out(gate * F.gelu(self.value(x))))


class AdaptiveSparseSA(nn.Module):
    """Sparse attention, then refinement, each normed before and added to its input: (B, H, W, C) to the same shape."""

    def __init__(self, width: int, hidden: int, heads: int = 8) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width, eps=_EPS)
        self.attention = SparseAttention(width, heads)
        self.before_refinement = nn.LayerNorm(width, eps=_EPS)
        self.refinement = FRFN(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        return cast(Tensor, x + self.refinement(self.before_refinement(x)))


def _windows(x: Tensor) -> Tensor:
    """(B, H, W, C) to (B, windows, 16, C), windows and cells row by row; zeros where there is no cell."""
    height, width = x.shape[1:3]
    below, right = (-(side + SHIFT) % WINDOW for side in (height, width))
    padded = F.pad(x, (0, 0, SHIFT, right, SHIFT, below))
    parts = padded.unflatten(2, (-1, WINDOW)).unflatten(1, (-1, WINDOW))
    return cast(Tensor, parts.transpose(2, 3).flatten(1, 2).flatten(2, 3))


def _together(x: Tensor, height: int, width: int) -> Tensor:
    """Windows (B, windows, 16, C) back to the map (B, H, W, C)."""
    across = -(-(width + SHIFT) // WINDOW)
    parts = x.unflatten(2, (WINDOW, WINDOW)).unflatten(1, (-1, across))
    return cast(Tensor, parts.transpose(2, 3).flatten(3, 4).flatten(1, 2))[:, SHIFT:, SHIFT:][:, :height, :width]
