"""The cells of a heat map along the sides of a picture, and the windows that hold them with a margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.structures import Tiling

# Parts of the tiling's side that a window may have, in whole steps of most networks: few, for each new shape costs the
# network a set-up. And the least it has of pixels, as objects are told by their surroundings too: all that the bundled
# network finds in tiles of 640 px, looked at again in windows of 160 px or more around it, is worth 2.3 points of AP
# less, of 192 px 1.2, of 224 px 0.4, of 256 px 0.3, of 320 px none, in 1, 1.2, 1.4, 1.7 and 2.3 times the area (classes
# with 20 objects or more; python -m benchmarks.highres.surroundings).
_PARTS = (4, 3, 2)
_STEP, _LEAST = 32, 224
# Of a pixel: where the edges of cells are whole, rounding must not add one.
_HAIR = 1e-6

Ints = NDArray[np.int64]


class Block(NamedTuple):
    """Cells from row `top` to before `bottom`, from column `left` to before `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> slice:
        """Rows of a map."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """Columns of a map."""
        return slice(self.left, self.right)


@dataclass(frozen=True)
class Axis:
    """The cells along one side of a picture, and the windows that begin with the margin of one.

    Attributes
    ----------
    length, side:
        Of the picture and of a window, in pixels; `sides` are what a window may be cut down to, rising.
    factor:
        How many cells there are to one of the heat map: more than one where that does not fit into a window.
    edges:
        (n + 1,) where cells begin and end, in pixels.
    low, high:
        (n,) what a window must hold of the axis for each cell.
    first, last:
        (n,) the cells from `first` to before `last` that a window at `low` holds, moved into the picture.
    """

    length: int
    side: int
    sides: tuple[int, ...]
    factor: int
    edges: NDArray[np.float64]
    low: Ints
    high: Ints
    first: Ints
    last: Ints

    @classmethod
    def of(cls, cells: int, length: int, tiling: Tiling) -> Axis:
        """Of a map of so many cells along a picture's side of `length` pixels."""
        assert tiling.size is not None
        side = min(tiling.size, length)
        # Half the overlap; less where not even the cell of a pixel would fit into a window with it.
        margin = max(0, min(-(-tiling.overlap_pixels // 2), (tiling.size - 2) // 2))
        # A window over all of the side holds every cell of it.
        factor = 1 if side == length else max(1, -(-length // (cells * max(1, side - 2 * margin - 2))))
        count = cells * factor
        edges = (np.arange(count + 1) * (length / count)).astype(np.float64)
        low = np.maximum(np.floor(edges[:-1] + _HAIR).astype(np.int64) - margin, 0)
        high = np.minimum(np.ceil(edges[1:] - _HAIR).astype(np.int64) + margin, length)
        start = np.minimum(low, length - side)
        first, last = np.searchsorted(low, start, "left"), np.searchsorted(high, start + side, "right")
        parts = sorted({max(_LEAST, -(-tiling.size // (part * _STEP)) * _STEP) for part in _PARTS})
        sides = (*(one for one in parts if one < side), side)
        return cls(length, side, sides, factor, edges, low, high, first, last)

    def held(self, low: int, high: int) -> tuple[int, int]:
        """The cells, from the first to before the last, that pixels from `low` to before `high` hold."""
        first = int(np.searchsorted(self.low, low, "left"))
        return first, max(first, int(np.searchsorted(self.high, high, "right")))

    def holding(self, cell: int) -> slice:
        """The windows that hold a cell."""
        return slice(int(np.searchsorted(self.last, cell, "right")), int(np.searchsorted(self.first, cell, "right")))

    def least(self, first: Ints, last: Ints) -> Ints:
        """The smallest sides of windows that hold the cells from `first` to `last` with their margins."""
        sides: Ints = np.array(self.sides)[np.searchsorted(self.sides, self.high[last] - self.low[first])]
        return sides

    def span(self, first: int, end: int) -> tuple[int, int]:
        """From where to where the smallest window reaches that has the cells from `first` to before `end` and their
        margins in its middle, as far as the picture allows.
        """
        low, high = int(self.low[first]), int(self.high[end - 1])
        side = next(one for one in self.sides if one >= high - low)
        start = min(max(0, (low + high - side) // 2), self.length - side)
        return start, start + side


Axes = tuple[Axis, Axis]
