"""GPViT with the adapter that its detectors have: maps of strides 8, 16, 32 (and 4) beside the one of stride 8.

After "Vision Transformer Adapter for Dense Predictions" (ViT-Adapter, 2022) as GPViT's released detectors use it: a
small convolutional branch makes tokens of three strides; four times, these are read into the transformer's map by
deformable attention (injector), three blocks run, and the map is read back into them (extractor).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.backbones.gpvit import BLOCKS, STRIDE, Trunk
from finespot.nn.backbones.stages import Split, check_cut
from finespot.nn.layers.conv import TORCH_NORM, Conv
from finespot.nn.layers.deformable_attention import CellAttention
from finespot.registry import register
from finespot.structures import Features, Level, Size

STRIDES = (8, 16, 32)
FINE = 4
HEADS, POINTS = 6, 4
EXCHANGES = 4
# Extractors that follow the last exchange.
MORE_EXTRACTORS = 2
ADAPTER_EPS = 1e-6
WIDTHS = (64, 128, 256, 256)


class SpatialPrior(nn.Module):
    """Pictures to maps of `channels` at strides 8, 16, 32, and with `fine` at 4 before them."""

    def __init__(self, channels: int, fine: bool) -> None:
        super().__init__()
        first, *coarse = WIDTHS
        self.stem = nn.Sequential(_conv(3, first, 2), _conv(first, first), _conv(first, first))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.down = nn.ModuleList(_conv(a, b, 2) for a, b in zip(WIDTHS, coarse))
        self.fine = nn.Conv2d(first, channels, 1) if fine else None
        self.project = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in coarse)

    def forward(self, images: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        x = self.pool(self.stem(images))
        fine = None if self.fine is None else self.fine(x)
        maps = []
        for down, project in zip(self.down, self.project):
            x = down(x)
            maps.append(project(x))
        return fine, maps


class Injector(nn.Module):
    """The map's cells (B, N, C) read the tokens of all levels; what they see is added, scaled by channel."""

    no_decay = ("gamma",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels, eps=ADAPTER_EPS)
        self.memory_norm = nn.LayerNorm(channels, eps=ADAPTER_EPS)
        self.attention = CellAttention(channels, HEADS, len(STRIDES), POINTS)
        # The adapter starts without a say in the transformer.
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, centers: Tensor, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        with _full_precision(x.device):
            seen = self.attention(self.query_norm(x.float()), centers, self.memory_norm(tokens.float()), sizes)
            return cast(Tensor, x + self.gamma * seen)


class Extractor(nn.Module):
    """The tokens (B, Q, C) of all levels read the map's cells, then mix with their neighbors; both are added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.query_norm = nn.LayerNorm(channels, eps=ADAPTER_EPS)
        self.memory_norm = nn.LayerNorm(channels, eps=ADAPTER_EPS)
        self.attention = CellAttention(channels, HEADS, 1, POINTS)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=ADAPTER_EPS)
        self.expand = nn.Linear(channels, hidden)
        self.spread = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, centers: Tensor, x: Tensor, size: Size, sizes: Sequence[Size]) -> Tensor:
        """`size` is that of the map, `sizes` are those of the tokens' levels."""
        with _full_precision(x.device):
            seen = self.attention(self.query_norm(tokens.float()), centers, self.memory_norm(x.float()), [size])
            tokens = tokens + seen
        hidden = self.expand(self.feed_forward_norm(tokens))
        parts = hidden.split([rows * columns for rows, columns in sizes], 1)
        spread = [self.spread(_as_map(part, one)).flatten(2).transpose(1, 2) for part, one in zip(parts, sizes)]
        return cast(Tensor, tokens + self.contract(F.gelu(torch.cat(spread, 1))))


class Exchange(nn.Module):
    """One injector before a part of the blocks, one or more extractors behind it."""

    def __init__(self, channels: int, extractors: int) -> None:
        super().__init__()
        self.injector = Injector(channels)
        self.extractors = nn.ModuleList(Extractor(channels) for _ in range(extractors))


@register("backbone", "gpvit_adapter")
class GPViTAdapter(nn.Module):
    """Pictures (B, 3, H, W) to `Features` at `strides` out of 4, 8, 16, 32. Sides are multiples of 32.

    `size` is l1, l2, l3 or l4; `drop_path` as in `Trunk`.
    """

    no_decay = ("level_codes",)
    # Its tokens are those of strides 8, 16 and 32, whichever maps it gives.
    multiple = STRIDES[-1]

    def __init__(self, size: str = "l1", strides: Sequence[int] = STRIDES, drop_path: float = 0.0) -> None:
        super().__init__()
        if not strides or set(strides) - {FINE, *STRIDES}:
            raise FineSpotError(
                f"expected strides out of {(FINE, *STRIDES)} but got {tuple(strides)}", where="gpvit_adapter backbone"
            )
        self.trunk = Trunk(size, drop_path)
        channels = self.trunk.channels
        fine = FINE in strides
        self.levels = tuple(Level(channels, stride) for stride in (FINE, *STRIDES) if stride in strides)
        self.prior = SpatialPrior(channels, fine)
        self.level_codes = nn.Parameter(torch.empty(len(STRIDES), channels))
        self.exchanges = nn.ModuleList(
            Exchange(channels, 1 + MORE_EXTRACTORS * (i == EXCHANGES - 1)) for i in range(EXCHANGES)
        )
        self.up = nn.ConvTranspose2d(channels, channels, 2, 2) if fine else None
        self.norms = nn.ModuleDict({level.name: _norm(channels) for level in self.levels})
        nn.init.normal_(self.level_codes)

    def forward(self, images: Tensor) -> Features:
        fine, maps = self.prior(images)
        return self._mixed(self.trunk.embed(images), maps, fine)

    def split(self, stride: int) -> Split:
        """Cut before the blocks: prior, patches and positions see the whole picture, all else may run on windows.

        Windows are then read from four maps, those of the prior and the embedded one.
        """
        check_cut(self.levels, stride)
        channels = self.trunk.channels
        cut = tuple(Level(channels, one) for one in (*STRIDES, STRIDE))

        def stem(images: Tensor) -> Features:
            _, maps = self.prior(images)
            return Features([*maps, self.trunk.embed(images).permute(0, 3, 1, 2)], cut)

        def tail(features: Features) -> Features:
            *maps, x = features.maps
            return self._mixed(x.permute(0, 2, 3, 1), maps, None)

        later = {name: module for name, module in self.named_children() if name not in ("trunk", "prior")}
        return Split(stem, tail, {"trunk.blocks": self.trunk.blocks, **later})

    def _mixed(self, x: Tensor, maps: list[Tensor], fine: Tensor | None) -> Features:
        """What blocks and exchanges make of the embedded map (B, h, w, C) and the maps of the prior."""
        sizes = [(int(x.shape[2]), int(x.shape[3])) for x in maps]
        tokens = torch.cat([x.flatten(2).transpose(1, 2) + code for x, code in zip(maps, self.level_codes)], 1)
        size = (int(x.shape[1]), int(x.shape[2]))
        centers = [_centers(one, x) for one in sizes]
        joined, share = torch.cat(centers), BLOCKS // EXCHANGES
        for i, exchange in enumerate(cast("Iterable[Exchange]", self.exchanges)):
            x = exchange.injector(x.flatten(1, 2), centers[0], tokens, sizes).unflatten(1, size)
            for block in self.trunk.blocks[i * share : (i + 1) * share]:
                x = block(x)
            for extractor in exchange.extractors:
                tokens = extractor(tokens, joined, x.flatten(1, 2), size, sizes)
        found = dict(zip(STRIDES, map(_as_map, tokens.split([h * w for h, w in sizes], 1), sizes)))
        if self.up is not None:
            found[FINE] = self.up(found[STRIDE]) + fine
        x = x.permute(0, 3, 1, 2)
        given = [
            cast(Tensor, norm(found[level.stride] + _resized(x, STRIDE / level.stride)))
            for level, norm in zip(self.levels, self.norms.values())
        ]
        return Features(given, self.levels)


def _full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Within, autocast is off. Graphs and stand-ins without data, which have none, stay free of its traces."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _conv(c_in: int, c_out: int, stride: int = 1) -> Conv:
    return Conv(c_in, c_out, 3, stride, activation="relu", norm=TORCH_NORM)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=TORCH_NORM.eps, momentum=TORCH_NORM.momentum)


def _centers(size: Size, like: Tensor) -> Tensor:
    """Centers (rows * columns, 2) of a map's cells as shares (x, y) of its sides, row by row, float32."""
    y, x = ((torch.arange(side, device=like.device, dtype=torch.float32) + 0.5) / side for side in size)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid_x, grid_y), -1).flatten(0, 1)


def _as_map(tokens: Tensor, size: Size) -> Tensor:
    """(B, N, C) to (B, C, H, W)."""
    return cast(Tensor, tokens.transpose(1, 2).unflatten(2, size))


def _resized(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
