"""The block of DFENet, LRS-DETR's backbone: the frame of C2f around modules that mix convolution and attention.

After LRS-DETR (2025), whose module joins two older ideas: attention of one head over part of the channels ("SHViT",
2024) and a gated feed-forward part with a depth-wise convolution ("TransNeXt", 2023). Sizes of key and attending part
are the same at every width there. What differs: queries, keys, values and the two halves of the gate are convolutions
of their own; batch norm is folded everywhere by `fuse` (the released code leaves the three of each module out, which
is kept under `published`); scores of all pairs of cells are never held at once where torch's kernel can do without.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import ACTIVATIONS, Conv, Fork, Pointwise
from finespot.nn.layers.csp import Collected

# Channels of a key, and those that attend.
KEY = 16
ATTENDING = 64


class LFA(nn.Module):
    """The first 64 channels attend over the whole map (one head, no positions), the others pass by; then all are mixed.

    (B, C, H, W) to the same shape, C above 64. Starts as zero, so that what it is added to passes through.
    """

    def __init__(self, channels: int, *, published: bool = False) -> None:
        super().__init__()
        if channels <= ATTENDING:
            raise FineSpotError(f"expected more than {ATTENDING} channels but got {channels}", where="LFA")
        self.norm = nn.GroupNorm(1, ATTENDING)
        self.entry = Fork(ATTENDING, (KEY, KEY, ATTENDING), activation=None, folds=not published)
        self.act = ACTIVATIONS["silu"]()
        self.project = _silent(Conv(channels, channels, activation=None, folds=not published))

    def forward(self, x: Tensor) -> Tensor:
        attending, beside = x.tensor_split([ATTENDING], 1)
        query, key, value = self.entry(self.norm(attending))
        mixed = F.scaled_dot_product_attention(_tokens(query), _tokens(key), _tokens(value))
        back = mixed.squeeze(1).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return cast(Tensor, self.project(self.act(torch.cat((back, beside), 1))))


class ConvGLU(nn.Module):
    """Gated feed-forward part: a value of each cell times a gate that sees its neighbors, to two thirds of 2C and back.

    (B, C, H, W) to the same shape, without the sum around it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels // 3
        self.gate = Pointwise(channels, hidden, 1)
        self.spread = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.value = Pointwise(channels, hidden, 1)
        self.exit = Pointwise(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.exit(F.gelu(self.spread(self.gate(x))) * self.value(x)))


class DEFModule(nn.Module):
    """Depth-wise 3x3, attention, gated feed-forward part, each added to its input: (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, *, published: bool = False) -> None:
        super().__init__()
        self.spread = _silent(Conv(channels, channels, 3, groups=channels, activation=None, folds=not published))
        self.attention = LFA(channels, published=published)
        self.feedforward = ConvGLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.spread(x)
        x = x + self.attention(x)
        return cast(Tensor, x + self.feedforward(x))


class DEFBlock(Collected):
    """The C2f frame around `repeats` DEF modules of c_out / 2 channels."""

    def __init__(self, c_in: int, c_out: int, repeats: int = 1, *, published: bool = False) -> None:
        hidden = c_out // 2
        super().__init__(c_in, c_out, hidden, [DEFModule(hidden, published=published) for _ in range(repeats)])


def _silent(conv: Conv) -> Conv:
    """With a batch norm that starts at zero: what is added to a sum adds nothing at first."""
    nn.init.zeros_(cast(nn.BatchNorm2d, conv.bn).weight)
    return conv


def _tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H * W, C)."""
    return x.flatten(2).transpose(1, 2)[:, None]
