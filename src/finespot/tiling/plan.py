"""The windows of a picture: one shape, on a regular step, the last ones moved inwards; and the picture as a whole.

Moving the last window inwards (instead of padding it) keeps one shape for all and shows the network no gray border
where the picture has pixels. Two neighboring windows share at least the asked overlap, so an object that is no
larger than the overlap lies whole in one of them, wherever it is. Larger ones may lie whole in none: for these the
picture as a whole is one window more, at a scale of its own.
"""

from __future__ import annotations

import math

from finespot.structures import Size, Tile, Tiling


def windows(size: Size, tiling: Tiling | None) -> list[Tile]:
    """What the network sees of a picture of `size` (height, width): its `grid`, then, if asked for, all of it.

    A picture that fits in one tile is not seen twice. Without a tiling (or with `tiling.size` None) the whole picture
    is the one window.
    """
    tiles = grid(size, tiling)
    if tiling is not None and tiling.whole and len(tiles) > 1:
        tiles.append(Tile((0, 0, size[1], size[0]), whole=True))
    return tiles


def grid(size: Size, tiling: Tiling | None) -> list[Tile]:
    """The windows that a picture of `size` (height, width) is cut into, row by row from the top left corner.

    All have one shape: `tiling.size` squared, or the picture's own side where that is smaller.
    """
    height, width = size
    if tiling is None or tiling.size is None:
        return [Tile((0, 0, width, height))]
    high, wide = min(tiling.size, height), min(tiling.size, width)
    step = max(1, tiling.size - tiling.overlap_pixels)
    return [Tile((x, y, x + wide, y + high)) for y in _starts(height, high, step) for x in _starts(width, wide, step)]


def worth(tile: Tile, size: Size, tiling: Tiling | None) -> float:
    """What a window of a picture of `size` is worth in windows of the grid, by area: a fourth where it has half the
    sides. A picture as a whole, and one that is not cut, is worth one.
    """
    if tile.whole or tiling is None or tiling.size is None:
        return 1.0
    x1, y1, x2, y2 = tile.window
    return (x2 - x1) * (y2 - y1) / (min(tiling.size, size[0]) * min(tiling.size, size[1]))


def shared(tile: Tile, size: Size, tiling: Tiling) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many pixels a tile of the grid shares with the one above and below it, and with those beside it; 0 at the
    edge of the picture.
    """
    assert tiling.size is not None
    step = max(1, tiling.size - tiling.overlap_pixels)
    found = []
    for start, end, length in ((tile.window[1], tile.window[3], size[0]), (tile.window[0], tile.window[2], size[1])):
        starts = _starts(length, end - start, step)
        place = starts.index(start)
        before = starts[place - 1] + end - 2 * start if place > 0 else 0
        found.append((before, end - starts[place + 1] if end < length else 0))
    return found[0], found[1]


def _starts(length: int, side: int, step: int) -> list[int]:
    count = math.ceil((length - side) / step) + 1
    return [min(i * step, length - side) for i in range(count)]
