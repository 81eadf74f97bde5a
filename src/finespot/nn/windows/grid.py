"""A grid of cores on a feature map, and the windows about them.

The cores part the map: every place lies in exactly one. A window is a core with a halo, real features that its border
layers see beside it. After "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025),
whose windows have no halo and are moved onto the active cells (`shifted`, as published); there an isolated object ends
flush with an edge of its window. Here nothing moves. At the border of the map a window is pushed inwards instead of
being filled up with zeros: there it ends where the map ends, and each layer sees what it sees when the whole map runs.
What a halo shows of the border anyway belongs to that window's core, so no two windows are the same.

All lengths are cells of the map and multiples of `UNIT`, so that the maps of two and of four times the stride, made of
a window, lie on the grid of the whole one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.structures import Size

UNIT = 4


class Places(NamedTuple):
    """Where windows lie, one row each: `origins` (K, 2) int64 and `cores` (K, 4) float32 xyxy, both x first, in cells.

    What begins or ends at the border of the map reaches to infinity there.
    """

    origins: Tensor
    cores: Tensor


@dataclass(frozen=True)
class Grid:
    """Cores of `core` (rows, columns) on a map of `size`; the grid begins `shift` cells before the map, or within it.

    Cores at the border also have what lies between them and it, up to a halo's width.

    Raises
    ------
    FineSpotError
        A length is no multiple of `UNIT`, a core is no larger than the halo, or the shift is not from -halo to below
        core - halo.
    """

    size: Size
    core: Size
    halo: int = 0
    shift: Size = (0, 0)

    def __post_init__(self) -> None:
        lengths = (*self.size, *self.core, self.halo, *self.shift)
        shifts = all(-self.halo <= s < c - self.halo for s, c in zip(self.shift, self.core))
        if min(*self.size, *self.core) < UNIT or self.halo < 0 or any(n % UNIT for n in lengths) or not shifts:
            raise FineSpotError(
                f"expected a map, cores, a halo and a shift of multiples of {UNIT} cells but got {self.size}, "
                f"{self.core}, {self.halo} and {self.shift}",
                where="windows",
            )

    @classmethod
    def published(cls, size: Size, sides: int) -> Grid:
        """About `sides` x `sides` rectangles without a halo, as the released code cuts a map."""
        rows, columns = (UNIT * math.ceil(side / (UNIT * sides)) for side in size)
        return cls(size, (rows, columns))

    @property
    def shape(self) -> Size:
        """How many cores lie below and beside each other."""
        rows, columns = (
            1 if window == n else math.ceil((n + s - self.halo) / c)
            for n, s, c, window in zip(self.size, self.shift, self.core, self.window)
        )
        return rows, columns

    @property
    def cores(self) -> int:
        """How many cores there are."""
        return self.shape[0] * self.shape[1]

    @property
    def window(self) -> Size:
        """Rows and columns of all windows: core and halo, or the map where that is smaller."""
        rows, columns = (min(c + 2 * self.halo, n) for c, n in zip(self.core, self.size))
        return rows, columns

    @property
    def share(self) -> float:
        """What a window takes of the map's cells."""
        return self.window[0] * self.window[1] / (self.size[0] * self.size[1])

    def places(self, device: torch.device) -> Places:
        """The windows of all cores, row by row."""
        corners, edges = [], []
        for axis in (1, 0):
            count, core, size = self.shape[axis], self.core[axis], self.size[axis]
            start = torch.arange(count, device=device) * core - self.shift[axis]
            corners.append((start - self.halo).clamp(0, size - self.window[axis]))
            low, high = start.float(), (start + core).float()
            low[0], high[-1] = -math.inf, math.inf
            edges += [low, high]
        x, y = (one.flatten() for one in torch.meshgrid(corners[0], corners[1], indexing="xy"))
        left, top = (one.flatten() for one in torch.meshgrid(edges[0], edges[2], indexing="xy"))
        right, bottom = (one.flatten() for one in torch.meshgrid(edges[1], edges[3], indexing="xy"))
        return Places(torch.stack((x, y), 1), torch.stack((left, top, right, bottom), 1))

    def largest(self, values: Tensor) -> Tensor:
        """The largest value in each core: a map (B, 1, rows, columns) to (B, cores)."""
        found = values[:, 0]
        for axis in (0, 1):
            place = self._place(torch.arange(self.size[axis], device=values.device), axis)
            least = found.new_full((len(found), self.shape[axis], found.shape[2]), -math.inf)
            index = place[None, :, None].expand_as(found)
            # Rows first; turned, columns are rows.
            found = least.scatter_reduce(1, index, found, "amax").transpose(1, 2)
        return found.flatten(1)

    def core_of(self, points: Tensor) -> Tensor:
        """The number of the core that holds each point (n, 2), x and y in cells; outside the map, the nearest one."""
        return self._place(points[:, 1], 0) * self.shape[1] + self._place(points[:, 0], 1)

    def _place(self, along: Tensor, axis: int) -> Tensor:
        """Which core each position along an axis lies in."""
        place = torch.div(along + self.shift[axis], self.core[axis], rounding_mode="floor")
        return place.long().clamp(0, self.shape[axis] - 1)


def shifted(grid: Grid, picture: Tensor, number: Tensor, active: Tensor, unit: int = 1) -> Tensor:
    """The origins (K, 2) of windows moved as published: onto the active cells of their rectangle.

    `number` (K,) is the core of each window and `picture` (K,) its picture; `active` (B, 1, rows, columns) is set on
    cells that fire. A window moves away from the side that has more free columns (rows), by as many, or by fewer where
    that is no multiple of `unit`; within the map.
    """
    rows, columns = grid.core
    sides = (0, grid.shape[1] * columns - grid.size[1], 0, grid.shape[0] * rows - grid.size[0])
    padded = F.pad(active.float(), sides)[:, 0] > 0
    tiled = padded.unflatten(1, (grid.shape[0], rows)).unflatten(3, (grid.shape[1], columns)).transpose(2, 3)
    own = tiled.flatten(1, 2)[picture, number]
    moves = []
    for busy, axis in ((own.any(1), 1), (own.any(2), 0)):
        first = busy.int().argmax(1)
        last = busy.flip(1).int().argmax(1)
        move = torch.where(first > last, first, -last)
        move = unit * torch.div(move, unit, rounding_mode="trunc")
        place = number % grid.shape[1] if axis == 1 else torch.div(number, grid.shape[1], rounding_mode="floor")
        moves.append((place * grid.core[axis] + move).clamp(0, grid.size[axis] - grid.window[axis]))
    return torch.stack(moves, 1)


def widened(cores: Tensor, picks: Tensor, picture: Tensor, number: Tensor, reach: int) -> Tensor:
    """The cores (K, 4) of windows, each wider by `reach` cells on the sides where the next core does not run.

    Else an object that fires on this side of a border, and whose box is found with its center on the other, would be
    found by none. `picks` (B, rows, columns) are the cores that run; `number` (K,) is the core of each window and
    `picture` (K,) its picture.
    """
    row, column = torch.div(number, picks.shape[2], rounding_mode="floor") + 1, number % picks.shape[2] + 1
    run = F.pad(picks, (1, 1, 1, 1), value=True)
    alone = [~run[picture, row, column - 1], ~run[picture, row - 1, column]]
    alone += [~run[picture, row, column + 1], ~run[picture, row + 1, column]]
    return cores + reach * torch.stack(alone, 1) * cores.new_tensor([-1, -1, 1, 1])
