"""Attention inside areas of the map, and the block of YOLO12 that is made of it (A2C2f).

After "YOLOv12: Attention-Centric Real-Time Object Detectors" (2025, section 3: area attention, residual efficient layer
aggregation). The rows of the map, one after another, are cut into equal runs, and cells attend to those of their own
run: the cost of full attention divided by the number of areas. What differs: query, key and value are three
convolutions, joined to one by `fuse`.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import Conv, Fork
from finespot.nn.layers.csp import C3k

HEAD_WIDTH = 32
# Spread of the initial weights of all convolutions inside attention blocks.
_SPREAD = 0.02
_SCALE_AT_START = 0.01


class AreaAttention(nn.Module):
    """Cells attend to those of their area: (B, C, H, W) to the same shape, C / 32 heads.

    Where `areas` does not divide H * W the last area is shorter than the others, and there may be fewer of them.
    """

    def __init__(self, channels: int, areas: int) -> None:
        super().__init__()
        if channels % HEAD_WIDTH:
            raise FineSpotError(
                f"expected a multiple of {HEAD_WIDTH} channels but got {channels}", where="area attention"
            )
        self.heads = channels // HEAD_WIDTH
        self.areas = areas
        self.entry = Fork(channels, (channels, channels, channels), activation=None)
        self.project = Conv(channels, channels, activation=None)
        self.position = Conv(channels, channels, 7, groups=channels, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.entry(x)
        cells = value.shape[2] * value.shape[3]
        length = -(-cells // self.areas)
        areas = -(-cells // length)
        real = None
        if areas * length > cells:
            real = (torch.arange(areas * length, device=x.device) < cells).view(areas, 1, 1, length)
            real = real.repeat(len(value), 1, 1, 1)
        queries, keys, values = (self._tokens(part, areas, length) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=real)
        # (B * areas, heads, n, d) back to a map whose memory is channels-last, as the convolutions around it have it.
        rows = mixed.transpose(1, 2).flatten(2).reshape(len(value), areas * length, value.shape[1])[:, :cells]
        back = rows.unflatten(1, value.shape[2:]).permute(0, 3, 1, 2)
        return cast(Tensor, self.project(back + self.position(value)))

    def _tokens(self, x: Tensor, areas: int, length: int) -> Tensor:
        """(B, C, H, W) to (B * areas, heads, length, C / heads), the last area filled up with zeros."""
        cells = x.flatten(2).transpose(1, 2)
        if areas * length > cells.shape[1]:
            cells = F.pad(cells, (0, 0, 0, areas * length - cells.shape[1]))
        runs = cells.reshape(len(x) * areas, length, x.shape[1])
        return cast(Tensor, runs.unflatten(2, (self.heads, HEAD_WIDTH)).transpose(1, 2))


class AreaBlock(nn.Module):
    """Area attention, then two 1x1 convolutions (to `ratio` * C and back), each added to its input."""

    def __init__(self, channels: int, areas: int, ratio: float) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.attention = AreaAttention(channels, areas)
        self.expand = Conv(channels, hidden)
        self.contract = Conv(hidden, channels, activation=None)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return cast(Tensor, x + self.contract(self.expand(x)))


class A2C2f(nn.Module):
    """A chain of `repeats` units on half of c_out; the start and every stage of it are joined by a 1x1 convolution.

    A unit is two area blocks, or a `C3k` where `areas` is None. With `residual` the input (c_in = c_out) is added, and
    what the block made of it is scaled channel by channel, at first by 0.01.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        repeats: int = 1,
        areas: int | None = None,
        residual: bool = False,
        ratio: float = 2.0,
    ) -> None:
        super().__init__()
        if residual and c_in != c_out:
            raise FineSpotError(f"expected as many channels out as in but got {c_in} and {c_out}", where="A2C2f block")
        hidden = c_out // 2
        self.entry = Conv(c_in, hidden)
        self.units = nn.ModuleList([_unit(hidden, areas, ratio) for _ in range(repeats)])
        self.exit = Conv((1 + repeats) * hidden, c_out)
        self.scale = nn.Parameter(torch.full((c_out,), _SCALE_AT_START)) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        stages = [self.entry(x)]
        for unit in self.units:
            stages.append(unit(stages[-1]))
        y = self.exit(torch.cat(stages, 1))
        return cast(Tensor, y if self.scale is None else x + self.scale.view(1, -1, 1, 1) * y)


def _unit(channels: int, areas: int | None, ratio: float) -> nn.Module:
    if areas is None:
        return C3k(channels)
    return nn.Sequential(*(AreaBlock(channels, areas, ratio) for _ in range(2)))
