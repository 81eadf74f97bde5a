"""Attention inside windows of the map, between a depth-wise and a 1x1 convolution.

After "Swin Transformer" (2021, section 3): windows of 7x7 cells, every second time moved by half a window so that
neighbors meet, with a learnt bias for each offset between two cells. What differs: the feed-forward part is twice as
wide as the map (there four times), and the pair of transformer layers is framed by convolutions and added to its
input, as in YOLO-SOD. Cells that fill up the last windows are not looked at.

The released YOLO-SOD has one layer in place of the pair: windows are never moved, offsets have no bias, and cells that
fill up take part to the end. This is kept under `published`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import YOLO_NORM, Conv, Pointwise, named
from finespot.nn.layers.strips import feed_forward
from finespot.nn.layers.transformer import SelfAttention, start_packed
from finespot.structures import Size

_SPREAD = 0.02


class WindowAttention(nn.Module):
    """Layer norm, then attention inside windows: (B, H, W, C) to the same shape, for any H and W.

    Windows have `window` cells a side, or as many as the map has where that is fewer. `shifted` moves them by half a
    window, down and right, along the sides that have several. `plain` leaves out offset biases and the mask.
    """

    no_decay = ("offsets",)

    def __init__(self, channels: int, heads: int, window: int = 7, shifted: bool = False, plain: bool = False) -> None:
        super().__init__()
        if channels % heads or window < 1:
            raise FineSpotError(
                f"expected heads that divide the channels and windows of a cell or more but got {heads} heads for "
                f"{channels} channels and windows of {window}",
                where="window attention",
            )
        self.window, self.shifted = window, shifted
        self.norm = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        start_packed(self.attention)
        # What is added to the attention of two cells: one row for each offset (down, right), one column a head.
        self.offsets = None if plain else nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        if self.offsets is not None:
            nn.init.trunc_normal_(self.offsets, std=_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        size = (min(self.window, height), min(self.window, width))
        x = _filled(x, size)
        filled = (x.shape[1], x.shape[2])
        shift = (self._shift(size[0], filled[0]), self._shift(size[1], filled[1]))
        x = _moved(x, (-shift[0], -shift[1]))
        windows = _cut(x, size)
        bias = self._bias(size, (height, width), filled, shift)
        if bias is None or bias.ndim == 3:  # the same for all windows
            mixed = self.attention(self.norm(windows.flatten(0, 1)), allowed=bias).unflatten(0, (batch, -1))
        else:
            mixed = self.attention(self.norm(windows), allowed=bias)
        back = mixed.unflatten(2, size).unflatten(1, (filled[0] // size[0], filled[1] // size[1]))
        back = back.transpose(2, 3).reshape(batch, *filled, channels)
        return _moved(back, shift)[:, :height, :width]

    def _shift(self, size: int, filled: int) -> int:
        return size // 2 if self.shifted and filled > size else 0

    def _bias(self, size: Size, real: Size, filled: Size, shift: Size) -> Tensor | None:
        """What is added to the attention of cells n of a window: (heads, n, n), or (windows, heads, n, n) where some
        of them must not look at each other, or None.
        """
        if self.offsets is None:
            return None
        bias = self.offsets[offset_rows(size, self.window, self.offsets.device)].permute(2, 0, 1)
        if filled == real and shift == (0, 0):
            return bias
        region = _cut(_moved(self._regions(real, filled, shift)[None, ..., None], (-shift[0], -shift[1])), size)[0]
        meet = region == region.transpose(1, 2)
        return torch.where(meet[:, None], bias, -torch.inf)

    def _regions(self, real: Size, filled: Size, shift: Size) -> Tensor:
        """Numbers (H, W) of the cells of a filled map: those of one number are neighbors also after moving.

        The first rows and columns come to lie behind the last; cells that fill up have a number of their own.
        """
        device = cast(Tensor, self.offsets).device
        down, right = (torch.arange(side, device=device) for side in filled)
        parts = (down < shift[0])[:, None] * 2 + (right < shift[1])
        beyond = (down >= real[0])[:, None] | (right >= real[1])
        return torch.where(beyond, -1, parts)


class WindowLayer(nn.Module):
    """Window attention (see there), then a feed-forward part (to 2C and back, GELU), each added: (B, H, W, C)."""

    def __init__(self, channels: int, heads: int, window: int = 7, shifted: bool = False, plain: bool = False) -> None:
        super().__init__()
        self.attention = WindowAttention(channels, heads, window, shifted, plain)
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = feed_forward(channels, growth=2)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return cast(Tensor, x + self.feed_forward(self.norm(x)))


class WindowBlock(nn.Module):
    """Depth-wise 3x3, a regular and a shifted window layer, 1x1 convolution; added to the input: (B, C, H, W).

    `published` is the released YOLO-SOD's: one plain layer, and a batch norm that is never folded.
    """

    def __init__(self, channels: int, heads: int, window: int = 7, *, published: bool = False) -> None:
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.window, self.published = window, published
        moves = (False,) if published else (False, True)
        self.layers = nn.Sequential(*(WindowLayer(channels, heads, window, move, published) for move in moves))
        self.mix: nn.Module = Conv(channels, channels)
        if published:
            self.mix = named(
                conv=Pointwise(channels, channels, 1, bias=False),
                bn=nn.BatchNorm2d(channels, eps=YOLO_NORM.eps, momentum=YOLO_NORM.momentum),
                act=nn.SiLU(),
            )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        cells = self.spread(x).permute(0, 2, 3, 1)
        if self.published:
            cells = _filled(cells, (min(self.window, height), min(self.window, width)))
        cells = self.layers(cells)[:, :height, :width]
        return cast(Tensor, x + self.mix(cells.permute(0, 3, 1, 2)))


def offset_rows(size: Size, window: int, device: torch.device) -> Tensor:
    """For each two cells (n, n), queries first, of a window of `size`: the row of their offset (query less key) in a
    table of all offsets in windows of `window` cells a side.
    """
    down, right = (torch.arange(side, device=device) for side in size)
    rows = (down[:, None] - down + window - 1) * (2 * window - 1)
    columns = right[:, None] - right + window - 1
    return (rows[:, None, :, None] + columns[None, :, None, :]).flatten(2).flatten(0, 1)


def _filled(x: Tensor, size: Size) -> Tensor:
    """A map (B, H, W, C) with zeros below and to the right, up to whole windows of `size`."""
    below, right = -x.shape[1] % size[0], -x.shape[2] % size[1]
    return F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x


def _moved(x: Tensor, by: Size) -> Tensor:
    """A map (B, H, W, C) moved down and right, what leaves it coming in on the other side."""
    return x if by == (0, 0) else x.roll(by, (1, 2))


def _cut(x: Tensor, size: Size) -> Tensor:
    """A map (B, H, W, C) of whole windows to (B, windows, cells, C), row by row."""
    parts = x.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))
    return cast(Tensor, parts.transpose(2, 3).flatten(3, 4).flatten(1, 2))
