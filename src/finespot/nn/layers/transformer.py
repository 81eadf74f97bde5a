"""Parts of transformers on tokens (B, N, C): self attention, feed-forward layers, an encoder layer, positions.

After "Attention Is All You Need" (2017) in the post-norm form that DETR (2020) took over: positions are added to
queries and keys only, at every layer. Query, key and value are separate linear layers.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LONGEST_WAVE = 10_000.0


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to each other: (..., N, C) to the same shape; `heads` divides C.

    `position` (broadcast to the tokens) is added to queries and keys. `allowed` (N, N), or anything that broadcasts to
    (..., heads, N, N), says which token (row) may look at which (column) as bool, or what is added to their attention
    as numbers; None that all may.
    """

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for part in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, x: Tensor, position: Tensor | None = None, allowed: Tensor | None = None) -> Tensor:
        placed = x if position is None else x + position
        query, key, value = self._split(self.query(placed)), self._split(self.key(placed)), self._split(self.value(x))
        if allowed is not None and allowed.is_floating_point():
            allowed = allowed.to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return cast(Tensor, self.out(mixed.transpose(-3, -2).flatten(-2)))

    def _split(self, x: Tensor) -> Tensor:
        """(..., N, C) to (..., heads, N, C / heads)."""
        return cast(Tensor, x.unflatten(-1, (self.heads, -1)).transpose(-3, -2))


def start_packed(attention: SelfAttention) -> None:
    """Draw weights as torch's `MultiheadAttention` does: query, key and value as one matrix of 3C rows."""
    for part in (attention.query, attention.key, attention.value):
        nn.init.xavier_uniform_(part.weight, gain=0.5**0.5)
    nn.init.kaiming_uniform_(attention.out.weight, a=5**0.5)


class FeedForward(nn.Module):
    """Two linear layers with an activation between: (..., C) to hidden and back."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.contract(self.activation(self.expand(x))))


class EncoderLayer(nn.Module):
    """Self attention and feed-forward (GELU), each added to its input and normed: (B, N, C) to the same shape."""

    def __init__(self, width: int, hidden: int, heads: int = 8) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, hidden, F.gelu)
        self.feedforward_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        x = self.attention_norm(x + self.attention(x, position))
        return cast(Tensor, self.feedforward_norm(x + self.feedforward(x)))


class MLP(nn.Module):
    """Linear layers of the given widths with ReLU between them: (..., widths[0]) to (..., widths[-1])."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return cast(Tensor, self.layers[-1](x))


def wave_positions(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """Sine-cosine codes (rows * columns, width) of the cells of a map, row by row.

    The first half of the channels holds sines, then cosines of the row, the second half those of the column, in width/4
    frequencies 10000^(-i / (width/4)).
    """
    quarter = width // 4
    omega = _LONGEST_WAVE ** -(torch.arange(quarter, dtype=torch.float32, device=device) / quarter)
    y = torch.arange(rows, dtype=torch.float32, device=device)[:, None] * omega
    x = torch.arange(columns, dtype=torch.float32, device=device)[:, None] * omega
    of_row = torch.cat((y.sin(), y.cos()), 1)[:, None].expand(rows, columns, -1)
    of_column = torch.cat((x.sin(), x.cos()), 1)[None].expand(rows, columns, -1)
    return torch.cat((of_row, of_column), 2).flatten(0, 1)
