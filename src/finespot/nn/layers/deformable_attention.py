"""Attention of queries to few sampled points of several maps.

After "Deformable DETR" (2020, section 4.1), in plain torch; what differs between its users is the unit of the offsets:
parts of a box, or cells of a map. Maps of any size and shape are taken, and nothing of a size is kept, so the layers
can be exported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.structures import Size


class SampledAttention(nn.Module):
    """What the forms share: a query looks at `points` places on each map with each head, and weighs what it sees.

    The memory holds the cells of `levels` maps one after another, row by row.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.offsets = nn.Linear(width, heads * levels * points * 2)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self._initialize()

    def offsets_of(self, query: Tensor) -> Tensor:
        """Offsets (B, Q, heads, levels, points, 2), x before y, of queries (B, Q, C)."""
        # Places and samples in float32: a half's step is a good part of a cell on a large map.
        offsets: Tensor = self.offsets(query).float()
        return cast(Tensor, offsets.unflatten(-1, (self.heads, self.levels, self.points, 2)))

    def attend(self, query: Tensor, places: Tensor, memory: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Queries (B, Q, C) that see memory (B, N, C) at `places` (B, Q, heads, levels, points, 2), shares of the
        maps' sides, to (B, Q, C). `sizes` are (rows, columns) of the maps.
        """
        weights = self.weights(query).float().unflatten(-1, (self.heads, -1))
        weights = torch.softmax(weights, -1).unflatten(-1, (self.levels, self.points))
        values = self.value(memory).float().split([rows * columns for rows, columns in sizes], 1)
        mixed = self._sampled(values[0], places, weights, 0, sizes[0])
        for level in range(1, self.levels):
            mixed = mixed + self._sampled(values[level], places, weights, level, sizes[level])
        # (B * heads, C / heads, Q) to (B, Q, C).
        joined = mixed.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2)
        return cast(Tensor, self.out(joined.to(query.dtype)))

    def _sampled(self, values: Tensor, places: Tensor, weights: Tensor, level: int, size: Size) -> Tensor:
        """The weighted sum (B * heads, C / heads, Q) of what the points of one level see."""
        maps = values.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, size)
        grid = (2 * places[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        seen = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return (seen * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)

    def _initialize(self) -> None:
        """Points start on a ring: a direction for each head, point number p at p steps; all weigh the same."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        ring = torch.stack((angles.cos(), angles.sin()), -1)
        ring = (ring / ring.abs().amax(-1, keepdim=True))[:, None, None]
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)[:, None]
        start = (ring * steps).expand(-1, self.levels, -1, -1)
        with torch.no_grad():
            self.offsets.bias.copy_(start.flatten())
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for part in (self.value, self.out):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


class DeformableAttention(SampledAttention):
    """Offsets from the middle of a box in units of half its sides over the number of points (RT-DETR)."""

    def forward(self, query: Tensor, boxes: Tensor, memory: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Queries (B, Q, C) with boxes (B, Q, 4) as shares (cx, cy, w, h), and memory (B, N, C), to (B, Q, C)."""
        boxes = boxes.float()[:, :, None, None, None]
        places = boxes[..., :2] + self.offsets_of(query) * boxes[..., 2:] * (0.5 / self.points)
        return self.attend(query, places, memory, sizes)


class CellAttention(SampledAttention):
    """Offsets from a place of the query's own, in cells of the map that is seen (Deformable DETR, ViT-Adapter)."""

    def forward(self, query: Tensor, centers: Tensor, memory: Tensor, sizes: Sequence[Size]) -> Tensor:
        """Queries (B, Q, C) at `centers` (Q, 2), shares (x, y) of the picture, and memory (B, N, C), to (B, Q, C)."""
        cells = centers.new_tensor([(columns, rows) for rows, columns in sizes])[:, None]
        places = centers[:, None, None, None] + self.offsets_of(query) / cells
        return self.attend(query, places, memory, sizes)
