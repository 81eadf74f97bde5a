"""Windows for the cells that they were chosen for, and no larger than these need.

A window is placed for as many hot cells as it can hold, and they may lie far apart. It is parted where two windows cost
less than one, and every part is cut down to a half, third or quarter of a side where that is enough: most false alarms
are single spots, which then cost an eighth of a window of 640 px. Pixels keep their scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finespot.structures import Flags, Size, Tile, Tiling
from finespot.tiling.axis import Axes, Axis, Block, Ints
from finespot.tiling.plan import shared

# What each window costs beside its area, in windows of the grid. On one core 256 windows of 160 px took as long as 16
# of 640 px; a little is counted all the same, so that nothing is parted for nothing.
_EACH = 0.01


def placed(
    need: Flags, axes: Axes, seen: Sequence[Block], chosen: Sequence[Block], whole: Flags | None = None
) -> list[Tile]:
    """The windows, each for the cells that it has before all others: parted where that is less, cut down, and moved
    until these lie in the middle. One that has cells of `whole`, which belong together, is not parted.
    """
    left = need.copy()
    for block in seen:
        left[block.rows, block.columns] = False
    tiles = []
    for block in chosen:
        own = left[block.rows, block.columns]
        together = whole is not None and bool((own & whole[block.rows, block.columns]).any())
        for part in [_about(left, block)] if together else _parts(left, axes, block):
            (y1, y2), (x1, x2) = axes[0].span(part.top, part.bottom), axes[1].span(part.left, part.right)
            tiles.append(Tile((x1, y1, x2, y2)))
        left[block.rows, block.columns] = False
    return tiles


def _about(need: Flags, block: Block) -> Block:
    """The block around its needed cells."""
    cells = need[block.rows, block.columns]
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    top, left = block.top, block.left
    return Block(top + int(rows[0]), top + int(rows[-1]) + 1, left + int(columns[0]), left + int(columns[-1]) + 1)


def _parts(need: Flags, axes: Axes, block: Block) -> list[Block]:
    """The needed cells of a block in the blocks that are cheapest: parted along the line that saves the most, and each
    part again, as long as a line saves anything.
    """
    block = _about(need, block)
    cells = need[block.rows, block.columns]
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    cells, rows, columns = cells[np.ix_(rows, columns)], block.top + rows, block.left + columns
    least, parts = np.inf, [block]
    for axis, (lines, places, beside) in enumerate(((cells, rows, columns), (cells.T, columns, rows))):
        along, across = axes[axis], axes[1 - axis]
        before = _prices(lines, places, beside, along, across)
        after = _prices(lines[::-1], places[::-1], beside, along, across)[::-1]
        parted = before[:-1] + after[1:]
        least = min(least, before[-1])
        if len(parted) and parted.min() < least:
            least, end = parted.min(), int(places[parted.argmin() + 1])
            ends = ({"bottom": end}, {"top": end}) if axis == 0 else ({"right": end}, {"left": end})
            parts = [block._replace(**one) for one in ends]
    return parts if len(parts) == 1 else [one for part in parts for one in _parts(need, axes, part)]


def _prices(lines: Flags, places: Ints, beside: Ints, along: Axis, across: Axis) -> NDArray[np.float64]:
    """What a window costs, in its pixels, for the cells of the first line, of the first two, and so on.

    `lines` are the cells of each line, none without any; the lines lie at `places` of one axis, their cells at `beside`
    of the other.
    """
    first = np.minimum.accumulate(np.where(lines, beside, len(across.low)).min(1))
    last = np.maximum.accumulate(np.where(lines, beside, -1).max(1))
    low, high = np.minimum(places, places[0]), np.maximum(places, places[0])
    areas = along.least(low, high) * across.least(first, last)
    return areas.astype(np.float64) + _EACH * along.side * across.side


def needed(
    heat: NDArray[np.float32],
    threshold: float,
    tiling: Tiling,
    tile: Tile,
    size: Size,
    inside: Flags | None = None,
) -> list[Tile]:
    """Of a tile of the grid of a picture of `size`, the windows that are needed, in pixels of the tile.

    For what cannot be seen at once: each tile answers for the ground up to the middle of what it shares with its
    neighbors, so that every hot place of the picture is in some tile's windows with its margin.

    Parameters
    ----------
    heat:
        (rows, columns) of the tile, from 0 to 1; cells of `threshold` or more are hot.
    inside:
        (rows, columns) the cells that are looked at; None for all.
    """
    x1, y1, x2, y2 = tile.window
    axes = Axis.of(heat.shape[0], y2 - y1, tiling), Axis.of(heat.shape[1], x2 - x1, tiling)
    hot = heat >= threshold if inside is None else (heat >= threshold) & inside
    hot = hot.repeat(axes[0].factor, 0).repeat(axes[1].factor, 1)
    down, across = (_answered(axis, *sides) for axis, sides in zip(axes, shared(tile, size, tiling)))
    hot &= down[:, None] & across
    return placed(hot, axes, (), [Block(0, len(down), 0, len(across))]) if hot.any() else []


def _answered(axis: Axis, before: int, behind: int) -> Flags:
    """The cells up to the middle of so many pixels at the beginning and at the end."""
    inside: Flags = (axis.edges[1:] > before / 2) & (axis.edges[:-1] < axis.length - behind / 2)
    return inside
