"""The group propagation block: a map speaks to itself by way of a few learnt tokens.

After "GPViT: A High Resolution Non-Hierarchical Vision Transformer with Group Propagation" (2022, section 3.2): tokens
gather from the map, mix among themselves ("MLP-Mixer", 2021), and are given back to every cell. Its cost grows with
the map as that of a convolution does.

Maps are (B, H, W, C) here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import TORCH_NORM, Conv, named
from finespot.nn.layers.drop_path import DropPath
from finespot.nn.layers.strips import feed_forward, on_map

HEADS = 6
GROUP_EPS = 1e-5


class Gather(nn.Module):
    """Tokens (B, n, C) and cells (B, N, C) to tokens: attention whose only weights make the keys."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.key_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.key = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, cells: Tensor) -> Tensor:
        seen = self.key_norm(cells)
        return _attention(self.query_norm(tokens), self.key(seen), seen)


class Mixer(nn.Module):
    """Tokens (B, n, C) to the same shape: a feed-forward part across the tokens, then one across the channels."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.token_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.tokens = named(expand=nn.Linear(count, hidden), act=nn.GELU(), contract=nn.Linear(hidden, count))
        self.channel_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.channels = feed_forward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        return cast(Tensor, x + self.channels(self.channel_norm(x)))


class GiveBack(nn.Module):
    """Cells (B, N, C) and tokens (B, n, C) to cells: attention to the tokens, joined to the cell, then feed-forward."""

    def __init__(self, channels: int, drop_path: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.key_norm = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)
        self.join = nn.Linear(2 * channels, channels)
        self.before_feed_forward = nn.LayerNorm(channels, eps=GROUP_EPS)
        self.feed_forward = feed_forward(channels)
        self.drop = DropPath(drop_path)

    def forward(self, cells: Tensor, tokens: Tensor) -> Tensor:
        seen = self.key_norm(tokens)
        mixed = self.project(_attention(self.query(self.query_norm(cells)), self.key(seen), self.value(seen)))
        x = self.join(torch.cat((cells, mixed), -1))
        return cast(Tensor, x + self.drop(self.feed_forward(self.before_feed_forward(x))))


class GroupBlock(nn.Module):
    """Maps (B, H, W, C) to the same shape by way of `count` tokens, then a depth-wise 3x3 in place of the map."""

    no_decay = ("tokens",)

    def __init__(self, channels: int, count: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(count, channels))
        self.gather = Gather(channels)
        self.mixer = Mixer(channels, count)
        self.give_back = GiveBack(channels, drop_path)
        self.spread = Conv(channels, channels, 3, groups=channels, activation="relu", norm=TORCH_NORM)
        nn.init.trunc_normal_(self.tokens, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        cells = x.flatten(1, 2)
        tokens = self.mixer(self.gather(self.tokens.expand(len(x), -1, -1), cells))
        return on_map(self.spread, self.give_back(cells, tokens).unflatten(1, x.shape[1:3]))


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
