"""The windows of a picture: one shape, on a regular step, the last ones moved inwards.

Moving the last window inwards (instead of padding it) keeps one shape for all and shows the network no gray border
where the picture has pixels. Two neighboring windows share at least the asked overlap, so an object that is no
larger than the overlap lies whole in one of them, wherever it is.
"""

from __future__ import annotations

import math

from finespot.structures import Size, Tile, Tiling


def windows(size: Size, tiling: Tiling | None) -> list[Tile]:
    """The windows of a picture of `size` (height, width), row by row from the top left corner.

    All have one shape: `tiling.size` squared, or the picture's own side where that is smaller. Without a tiling (or
    with `tiling.size` None) the whole picture is the one window.
    """
    height, width = size
    if tiling is None or tiling.size is None:
        return [Tile((0, 0, width, height))]
    high, wide = min(tiling.size, height), min(tiling.size, width)
    step = max(1, tiling.size - overlap_pixels(tiling))
    return [Tile((x, y, x + wide, y + high)) for y in _starts(height, high, step) for x in _starts(width, wide, step)]


def overlap_pixels(tiling: Tiling) -> int:
    """The pixels that two neighboring windows share at least (0 where the picture is not cut)."""
    if tiling.size is None:
        return 0
    # 0.2 * 640 is 128.00000000000003 in some orders of rounding: without the small step back it would give 129.
    return math.ceil(tiling.size * tiling.overlap - 1e-9)


def _starts(length: int, side: int, step: int) -> list[int]:
    count = math.ceil((length - side) / step) + 1
    return [min(i * step, length - side) for i in range(count)]
