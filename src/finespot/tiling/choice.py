"""Which windows of a picture are looked at: as few as hold all places where something may be.

A heat map says for each cell of a picture how likely it holds an object. Every hot cell is to lie in a window together
with a margin of half the overlap around it, so that an object that is no larger than the overlap and has its center in
the cell lies whole in that window, as it does in some tile of the grid. Windows are those of the tiling but stand
freely. They are chosen greedily, the one with the most heat that none has yet first, from positions at which a window
begins with a cell's margin: moved back to the first of them, any other window holds the same cells and maybe more. How
much a position would add is read from a table of sums. Where the grid would take no more windows, the grid is taken.

In the end a window is parted where the cells that it was chosen for lie apart, and every part is cut down to a half or
a quarter of a side where that is enough: most false alarms are single spots, which then cost a sixteenth of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError
from finespot.structures import Flags, Size, Tile, Tiling
from finespot.tiling.plan import grid
from finespot.tiling.region import Region

# Share of a picture's cells above which the grid is taken at once. Measured on round hot places of 160 to 1280 px in a
# picture of 5120 x 4096, in tiles of 320 and 640: with 30 % of the cells hot, free windows are 0.38 to 0.70 of the
# grid's number, with 50 % 0.57 to 1, with 60 % 0.70 to 1 (mean 0.83), with 70 % 0.78 to 1 (mean 0.92).
UNIFORM_ABOVE = 0.6
# Cells of a tile's side where there is no heat map.
_CELLS = 16
# Heat in whole numbers, so that sums are exact; and what a cell counts that must be looked at, more than all heat.
_LEVELS, _FORCED = 1 << 16, 1 << 40
# Parts of the tiling's side that a window may have, and the least it has of pixels: few sizes, for each new shape costs
# the network a set-up, and some surroundings, for objects are told by them too.
_PARTS = (4, 2)
_LEAST = 128
# What each window costs beside its area, in windows of the grid. On one core 256 windows of 160 px took as long as 16
# of 640 px; a little is counted all the same, so that nothing is parted for nothing.
_EACH = 0.01
# Of a pixel: where the edges of cells are whole, rounding must not add one.
_HAIR = 1e-6

Ints = NDArray[np.int64]


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

    Their sides are those of `grid`'s, or a half or a quarter where that is enough. They lie in the picture, and have no
    more area than as many windows of `grid` as it has (of those that touch the region); where it would take as many
    before windows are parted and cut down, it is `grid` itself. Without anything hot there is none.

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
        At most what so many windows are worth by area, where the most heat is; more only where `given` and `forced`
        need it.
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
    axes = _Axis.of(rows, size[0], tiling), _Axis.of(columns, size[1], tiling)
    inside = None if region is None else _inside(region, size, (len(axes[0].low), len(axes[1].low)))
    weights = _weights(heat, threshold, axes, forced, inside)
    seen = [_held(axes, tile) for tile in given]
    most = max(1, len(tiles) - len(given))
    if max_tiles is None or max_tiles >= len(tiles):
        cells = weights.size if inside is None else int(inside.sum())
        if int((weights > 0).sum()) > uniform_above * cells:
            return tiles
        chosen = _fewest(weights, axes, seen, most)
    else:
        chosen = _Plan(weights, axes, seen).choose(max(0, max_tiles - len(given)), most)
        chosen = None if len(chosen) >= most else _pruned(weights > 0, seen, chosen)
    if chosen is None:
        return tiles
    chosen.sort(key=lambda block: -int(weights[block.rows, block.columns].sum()))
    return [*given, *_placed(weights > 0, axes, seen, chosen)]


def looked_at(tiles: Sequence[Tile], region: Region | None) -> list[Tile]:
    """Those that touch the region."""
    if region is None or not tiles:
        return list(tiles)
    touched = region.touching([tile.window for tile in tiles])
    return [tile for tile, one in zip(tiles, touched) if one]


class _Block(NamedTuple):
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
class _Axis:
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
    def of(cls, cells: int, length: int, tiling: Tiling) -> _Axis:
        """Of a map of so many cells along a picture's side of `length` pixels."""
        assert tiling.size is not None
        side = min(tiling.size, length)
        # Half the overlap; less where not even the cell of a pixel would fit into a window with it.
        margin = max(0, min(-(-tiling.overlap_pixels // 2), (side - 2) // 2))
        factor = max(1, -(-length // (cells * max(1, side - 2 * margin - 2))))
        count = cells * factor
        edges = (np.arange(count + 1) * (length / count)).astype(np.float64)
        low = np.maximum(np.floor(edges[:-1] + _HAIR).astype(np.int64) - margin, 0)
        high = np.minimum(np.ceil(edges[1:] - _HAIR).astype(np.int64) + margin, length)
        start = np.minimum(low, length - side)
        first, last = np.searchsorted(low, start, "left"), np.searchsorted(high, start + side, "right")
        parts = [-(-tiling.size // part) for part in _PARTS]
        sides = (*(one for one in parts if _LEAST <= one < side), side)
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


_Axes = tuple[_Axis, _Axis]
# Of a picture: the axis at right angles to it, and whether it is the far one.
_Side = tuple[int, bool]
_SIDES: tuple[_Side, ...] = ((0, False), (0, True), (1, False), (1, True))


class _Plan:
    """Which window adds the most to those that have been `seen`.

    `weights` (rows, columns) say what each cell is worth that no window has yet; the window at [i, j] of `gains` begins
    with the margins of row i and column j.
    """

    def __init__(self, weights: Ints, axes: _Axes, seen: Sequence[_Block]) -> None:
        self.weights, self.axes = weights.copy(), axes
        for block in seen:
            self.weights[block.rows, block.columns] = 0
        self.gains = self._sums(*(slice(0, len(axis.low)) for axis in axes))

    def choose(self, limit: int, most: int, side: _Side | None = None) -> list[_Block]:
        """The cells of windows, the most rewarding first: up to `limit`, and `most` where cells are forced.

        With a `side`, each window holds the cell next to it of all that no window has.
        """
        chosen: list[_Block] = []
        down, across = self.axes
        while len(chosen) < most:
            row, column = self._best(side)
            gain = int(self.gains[row, column])
            if gain == 0 or (len(chosen) >= limit and gain < _FORCED):
                break
            block = _Block(
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

    def take(self, block: _Block) -> None:
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


def _fewest(weights: Ints, axes: _Axes, seen: Sequence[_Block], most: int) -> list[_Block] | None:
    """Fewer windows than `most` for all cells; None where that many are not found to do.

    The most rewarding ones, or, where these are fewer, those found from one side on: the most rewarding window may
    stand in the middle of what two others would have shared.
    """
    best: list[_Block] | None = None
    for side in (None, *_SIDES):
        plan = _Plan(weights, axes, seen)
        found = _pruned(weights > 0, seen, plan.choose(most, most, side))
        if len(found) < most and not plan.weights.any():
            best, most = found, len(found)
        if most <= 2:
            break
    return best


def _weights(
    heat: NDArray[np.float32] | None, threshold: float, axes: _Axes, forced: ArrayLike | None, inside: Flags | None
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


def _touched(boxes: ArrayLike, axes: _Axes) -> Flags:
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
    rows, columns = shape
    y, x = np.arange(rows + 1) * (size[0] / rows), np.arange(columns + 1) * (size[1] / columns)
    cells = np.stack(np.broadcast_arrays(x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None]), -1)
    return region.touching(cells.reshape(-1, 4)).reshape(shape)


def _held(axes: _Axes, tile: Tile) -> _Block:
    x1, y1, x2, y2 = tile.window
    return _Block(*axes[0].held(y1, y2), *axes[1].held(x1, x2))


def _pruned(need: Flags, seen: Sequence[_Block], chosen: Sequence[_Block]) -> list[_Block]:
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


def _placed(need: Flags, axes: _Axes, seen: Sequence[_Block], chosen: Sequence[_Block]) -> list[Tile]:
    """The windows, each for the cells that it has before all others: parted where that is less, cut down, and moved
    until these lie in the middle.
    """
    left = need.copy()
    for block in seen:
        left[block.rows, block.columns] = False
    tiles = []
    for block in chosen:
        for part in _parts(left, axes, block):
            (y1, y2), (x1, x2) = axes[0].span(part.top, part.bottom), axes[1].span(part.left, part.right)
            tiles.append(Tile((x1, y1, x2, y2)))
        left[block.rows, block.columns] = False
    return tiles


def _parts(need: Flags, axes: _Axes, block: _Block) -> list[_Block]:
    """The needed cells of a block in the blocks that are cheapest: parted along the line that saves the most, and each
    part again, as long as a line saves anything.
    """
    cells = need[block.rows, block.columns]
    rows, columns = block.top + np.flatnonzero(cells.any(1)), block.left + np.flatnonzero(cells.any(0))
    block = _Block(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    cells = need[np.ix_(rows, columns)]
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


def _prices(lines: Flags, places: Ints, beside: Ints, along: _Axis, across: _Axis) -> NDArray[np.float64]:
    """What a window costs, in its pixels, for the cells of the first line, of the first two, and so on.

    `lines` are the cells of each line, none without any; the lines lie at `places` of one axis, their cells at `beside`
    of the other.
    """
    first = np.minimum.accumulate(np.where(lines, beside, len(across.low)).min(1))
    last = np.maximum.accumulate(np.where(lines, beside, -1).max(1))
    low, high = np.minimum(places, places[0]), np.maximum(places, places[0])
    areas = along.least(low, high) * across.least(first, last)
    return areas.astype(np.float64) + _EACH * along.side * across.side
