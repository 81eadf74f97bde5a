"""Which windows of a picture are looked at: as few as hold all places where something may be.

A heat map says for each cell of a picture how likely it holds an object. Every hot cell is to lie in a window together
with a margin of half the overlap around it, so that an object that is no larger than the overlap and has its center in
the cell lies whole in that window, as it does in some tile of the grid. Windows are those of the tiling but stand
freely. They are chosen greedily, the one with the most heat that none has yet first, from positions at which a window
begins with a cell's margin: moved back to the first of them, any other window holds the same cells and maybe more. How
much a position would add is read from a table of sums. In the end windows are parted and cut down (see `parting`).
Where the grid would have no more area, the grid is taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError
from finespot.structures import Flags, Size, Tile, Tiling
from finespot.tiling.axis import Axes, Axis, Block, Ints
from finespot.tiling.parting import placed
from finespot.tiling.plan import grid, worth
from finespot.tiling.region import Region, touched_cells

# Share of a picture's cells above which the grid is taken at once. Measured on round hot places of 160 to 1280 px in a
# picture of 5120 x 4096, in tiles of 320 and 640: with 30 % of the cells hot, free windows are 0.38 to 0.70 of the
# grid's number, with 50 % 0.57 to 1, with 60 % 0.70 to 1 (mean 0.83), with 70 % 0.78 to 1 (mean 0.92).
UNIFORM_ABOVE = 0.6
# Cells of a tile's side where there is no heat map.
_CELLS = 16
# Windows at most, before they are parted and cut down, to one of the grid: beyond, the grid is taken.
_MOST = 2
# Of a window: given ones count in whole ones, and rounding must not add one.
_HAIR = 1e-6
# Heat in whole numbers, so that sums are exact; and what a cell counts that must be looked at, more than all heat.
_LEVELS, _FORCED = 1 << 16, 1 << 40


def cover(
    heat: NDArray[np.float32] | None,
    threshold: float,
    tiling: Tiling,
    size: Size,
    *,
    forced: ArrayLike | None = None,
    given: Sequence[Tile] = (),
    region: Region | None = None,
    max_tiles: int | None = None,
    uniform_above: float = UNIFORM_ABOVE,
) -> list[Tile]:
    """The windows of a picture of `size` (height, width) that are looked at, the most rewarding first.

    Their sides are those of `grid`'s, or a half, third or quarter where that is enough. They lie in the picture, and
    have less area in all than `grid` (of those that touch the region); where they would have as much, it is `grid`
    itself. Without anything hot there is none.

    Parameters
    ----------
    heat:
        (rows, columns) from 0 to 1, each cell an equal share of the picture; None where nobody knows.
    threshold:
        Cells of this heat or more are hot.
    forced:
        (N, 4) xyxy in pixels of the picture: what they touch is looked at, whatever heat and `max_tiles` say.
    given:
        Tiles that are looked at anyway; they come first, and what lies in them takes no further window.
    region:
        Only cells that touch it are looked at.
    max_tiles:
        At most so many windows before they are parted and cut down, where the most heat is; more only where `forced`
        needs it. Those `given` count by area.
    uniform_above:
        Share of hot cells, of those that touch the region, above which the grid is taken.

    Raises
    ------
    FineSpotError
        The heat is no map of finite values, nothing is cut, or `max_tiles` or `uniform_above` is out of range.
    """
    if heat is not None and (heat.ndim != 2 or 0 in heat.shape):
        raise FineSpotError(f"expected heat of (rows, columns) but got shape {heat.shape}", where="heat")
    if heat is not None and not np.isfinite(heat).all():
        raise FineSpotError("expected finite heat but got NaN or infinity", where="heat")
    if tiling.size is None:
        raise FineSpotError("chooses tiles, but nothing is cut", where="cover", hint="give a tile size")
    if max_tiles is not None and max_tiles < 1:
        raise FineSpotError(f"expected 1 or more but got {max_tiles}", where="max-tiles")
    if not 0 <= uniform_above <= 1:
        raise FineSpotError(f"expected a share from 0 to 1 but got {uniform_above}", where="uniform-above")
    tiles = looked_at(grid(size, tiling), region)
    rows, columns = (-(-side * _CELLS // tiling.size) for side in size) if heat is None else heat.shape
    axes = Axis.of(rows, size[0], tiling), Axis.of(columns, size[1], tiling)
    inside = None if region is None else _inside(region, size, (len(axes[0].low), len(axes[1].low)))
    weights = _weights(heat, threshold, axes, forced, inside)
    seen = [_held(axes, tile) for tile in given]
    spent = sum(worth(tile, size, tiling) for tile in given)
    chosen: list[Block] | None
    if max_tiles is None or max_tiles >= len(tiles):
        cells = weights.size if inside is None else int(inside.sum())
        if int((weights > 0).sum()) > uniform_above * cells:
            return tiles
        chosen = _fewest(weights, axes, seen, _MOST * len(tiles), len(tiles) // 3)
    else:
        allowed = max(0, max_tiles - math.ceil(spent - _HAIR))
        # Where few windows show all that is hot, they need no budget: the richest ones may be more.
        chosen = _fewest(weights, axes, seen, _MOST * len(tiles), allowed)
        if chosen is None or len(chosen) > allowed:
            chosen = _most_rewarding(weights, axes, seen, allowed, _MOST * len(tiles))
    if chosen is None:
        return tiles
    if not chosen:
        return list(given)
    chosen.sort(key=lambda block: -int(weights[block.rows, block.columns].sum()))
    # Two choices may be cut down to the same window.
    found = list(dict.fromkeys(placed(weights > 0, axes, seen, chosen, whole=weights >= _FORCED)))
    return tiles if spent + sum(worth(tile, size, tiling) for tile in found) >= len(tiles) else [*given, *found]


def looked_at(tiles: Sequence[Tile], region: Region | None) -> list[Tile]:
    """Those that touch the region."""
    if region is None or not tiles:
        return list(tiles)
    touched = region.touching([tile.window for tile in tiles])
    return [tile for tile, one in zip(tiles, touched) if one]


# Of a picture: the axis at right angles to it, and whether it is the far one.
_Side = tuple[int, bool]
_SIDES: tuple[_Side, ...] = ((0, False), (0, True), (1, False), (1, True))


class _Plan:
    """Which window adds the most to those that have been `seen`.

    `weights` (rows, columns) say what each cell is worth that no window has yet; the window at [i, j] of `gains` begins
    with the margins of row i and column j.
    """

    def __init__(self, weights: Ints, axes: Axes, seen: Sequence[Block]) -> None:
        self.weights, self.axes = weights.copy(), axes
        for block in seen:
            self.weights[block.rows, block.columns] = 0
        self.gains = self._sums(*(slice(0, len(axis.low)) for axis in axes))

    def choose(self, limit: int, most: int, side: _Side | None = None) -> list[Block]:
        """The cells of windows, the most rewarding first: up to `limit`, and `most` where cells are forced.

        With a `side`, each window holds the cell next to it of all that no window has.
        """
        chosen: list[Block] = []
        down, across = self.axes
        while len(chosen) < most:
            row, column = self._best(side)
            gain = int(self.gains[row, column])
            if gain == 0 or (len(chosen) >= limit and gain < _FORCED):
                break
            block = Block(
                *(int(one) for one in (down.first[row], down.last[row])),
                *(int(one) for one in (across.first[column], across.last[column])),
            )
            self.take(block)
            chosen.append(block)
        return chosen

    def _best(self, side: _Side | None) -> tuple[int, int]:
        """The window that adds the most; nothing anywhere where no cell is left."""
        if side is None:
            row, column = divmod(int(self.gains.argmax()), self.gains.shape[1])
            return row, column
        axis, last = side
        lines = np.flatnonzero(self.weights.any(1 - axis))
        if not len(lines):
            return 0, 0
        line = int(lines[-1 if last else 0])
        place = int(np.flatnonzero(self.weights.take(line, axis))[0])
        cell = (line, place) if axis == 0 else (place, line)
        rows, columns = (one.holding(at) for one, at in zip(self.axes, cell))
        best = int(self.gains[rows, columns].argmax())
        row, column = divmod(best, columns.stop - columns.start)
        return rows.start + row, columns.start + column

    def take(self, block: Block) -> None:
        """Cells are had: they add nothing any more, and windows that hold some of them add less."""
        self.weights[block.rows, block.columns] = 0
        changed = [
            slice(int(np.searchsorted(axis.last, start, "right")), int(np.searchsorted(axis.first, end, "left")))
            for axis, (start, end) in zip(self.axes, (block[:2], block[2:]))
        ]
        if all(part.start < part.stop for part in changed):
            self.gains[tuple(changed)] = self._sums(*changed)

    def _sums(self, rows: slice, columns: slice) -> Ints:
        """What the windows at these rows and columns add."""
        down, across = self.axes
        top, left = down.first[rows.start], across.first[columns.start]
        part = self.weights[top : down.last[rows.stop - 1], left : across.last[columns.stop - 1]]
        sums = np.zeros((part.shape[0] + 1, part.shape[1] + 1), np.int64)
        part.cumsum(0).cumsum(1, out=sums[1:, 1:])
        bands = sums[down.last[rows] - top] - sums[down.first[rows] - top]
        gains: Ints = bands[:, across.last[columns] - left] - bands[:, across.first[columns] - left]
        return gains


def _most_rewarding(weights: Ints, axes: Axes, seen: Sequence[Block], limit: int, most: int) -> list[Block]:
    """The most rewarding windows, up to `limit`; more, up to `most`, where cells are forced."""
    plan = _Plan(weights, axes, seen)
    chosen = _pruned(weights > 0, seen, plan.choose(limit, most))
    # What others made needless leaves room.
    return [*chosen, *plan.choose(limit - len(chosen), most)] if len(chosen) < limit else chosen


def _fewest(weights: Ints, axes: Axes, seen: Sequence[Block], most: int, enough: int) -> list[Block] | None:
    """Fewer windows than `most` for all cells; None where that many are not found to do.

    The most rewarding ones, or, where these are fewer, those found from one side on: the most rewarding window may
    stand in the middle of what two others would have shared. Not sought where as few as `enough` are found: what is
    left of few windows when they have been cut down does not depend on their number.
    """
    best: list[Block] | None = None
    for side in (None, *_SIDES):
        plan = _Plan(weights, axes, seen)
        found = _pruned(weights > 0, seen, plan.choose(most, most, side))
        if len(found) < most and not plan.weights.any():
            best, most = found, len(found)
        if most <= max(enough, 2):
            break
    return best


def _weights(
    heat: NDArray[np.float32] | None, threshold: float, axes: Axes, forced: ArrayLike | None, inside: Flags | None
) -> Ints:
    """What each cell is worth: its heat where it is hot, more than all heat where it is forced, else nothing."""
    down, across = axes
    weights = np.zeros((len(down.low), len(across.low)), np.int64)
    if heat is not None:
        levels = np.maximum(np.round(np.clip(heat, 0, 1).astype(np.float64) * _LEVELS).astype(np.int64), 1)
        hot = np.where(heat >= threshold, levels, 0)
        weights += hot.repeat(down.factor, 0).repeat(across.factor, 1)
    if forced is not None:
        weights[_touched(forced, axes)] += _FORCED
    if inside is not None:
        weights[~inside] = 0
    return weights


def _touched(boxes: ArrayLike, axes: Axes) -> Flags:
    """The cells that share area with a box, or hold one that has none."""
    x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    shape = len(axes[0].low), len(axes[1].low)
    steps = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
    spans = []
    for axis, low, high in zip(axes, (y1, x1), (y2, x2)):
        first = np.searchsorted(axis.edges, low, "right") - 1
        last = np.maximum(np.searchsorted(axis.edges, high, "left"), first + 1)
        spans.append((np.clip(first, 0, len(axis.low)), np.clip(last, 0, len(axis.low))))
    (top, bottom), (left, right) = spans
    # One is added from the first cell of a box on and taken back behind its last: two running sums give the counts.
    for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(steps, (row, column), sign)
    touched: Flags = steps.cumsum(0).cumsum(1)[:-1, :-1] > 0
    return touched


@lru_cache(maxsize=4)
def _inside(region: Region, size: Size, shape: tuple[int, int]) -> Flags:
    """Which cells of a map of `shape` touch the region; pictures of one size ask for the same ones."""
    return touched_cells(region, (0, 0, size[1], size[0]), shape)


def _held(axes: Axes, tile: Tile) -> Block:
    x1, y1, x2, y2 = tile.window
    return Block(*axes[0].held(y1, y2), *axes[1].held(x1, x2))


def _pruned(need: Flags, seen: Sequence[Block], chosen: Sequence[Block]) -> list[Block]:
    """What of the chosen windows is left, in order, without those whose cells others have; the last ones go first."""
    times = np.zeros(need.shape, np.int64)
    for block in (*seen, *chosen):
        times[block.rows, block.columns] += 1
    kept = []
    for block in reversed(chosen):
        alone = need[block.rows, block.columns] & (times[block.rows, block.columns] == 1)
        if alone.any():
            kept.append(block)
        else:
            times[block.rows, block.columns] -= 1
    return kept[::-1]
