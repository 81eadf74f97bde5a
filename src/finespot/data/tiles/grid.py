"""Where pictures are cut: a regular grid, TinyPerson's, or one that lies elsewhere in every epoch."""

from __future__ import annotations

import math

from finespot.structures import Size, Tiling, Window
from finespot.tiling import grid

# TinyPerson (Yu et al., Scale match for tiny person detection, 2020): pieces of 640 x 512 pixels that overlap by 50.
# Its program keeps an object where the square root of its visible share is 0.7 or more, and leaves the others out.
TINYPERSON_WINDOW: Size = (512, 640)
TINYPERSON_OVERLAP = 50
TINYPERSON_VISIBLE = 0.7**2


def regular_windows(size: Size, tiling: Tiling) -> list[Window]:
    """The windows that prediction cuts a picture of `size` (height, width) into, row by row."""
    return [tile.window for tile in grid(size, tiling)]


def shifted_windows(size: Size, tiling: Tiling, shift: tuple[float, float]) -> list[Window]:
    """As many windows as `regular_windows` cuts, evenly spaced and moved by `shift` (x, y), in spaces from -0.5 to 0.5.

    What would reach over the edge is moved back inside, so a strip of half a space at the most is in no window, at the
    edge that the windows move away from. Two neighbors share the tiling's overlap or more.
    """
    height, width = size
    side = tiling.size or max(size)
    high, wide = min(side, height), min(side, width)
    step = max(1, side - tiling.overlap_pixels)
    rows, columns = _starts(height - high, step, shift[1]), _starts(width - wide, step, shift[0])
    return [(x, y, x + wide, y + high) for y in rows for x in columns]


def tinyperson_windows(size: Size, *, fixed_size: bool = True, least_pieces: bool = False) -> list[Window]:
    """The windows of TinyPerson's own cutting program for a picture of `size` (height, width), row by row.

    Parameters
    ----------
    fixed_size:
        A window that reaches over the edge is moved back inside, as in the published cut; else it is cut off there.
    least_pieces:
        Turn the window by 90 degrees where that covers the picture with fewer windows, overlap left aside.
    """
    high, wide = TINYPERSON_WINDOW
    if least_pieces and _pieces(size, (wide, high)) < _pieces(size, (high, wide)):
        high, wide = wide, high
    cut = []
    for y in range(0, max(1, size[0] - TINYPERSON_OVERLAP), high - TINYPERSON_OVERLAP):
        for x in range(0, max(1, size[1] - TINYPERSON_OVERLAP), wide - TINYPERSON_OVERLAP):
            left = max(0, min(x, size[1] - wide)) if fixed_size else x
            top = max(0, min(y, size[0] - high)) if fixed_size else y
            cut.append((left, top, min(left + wide, size[1]), min(top + high, size[0])))
    return cut


def _pieces(size: Size, window: Size) -> int:
    return math.ceil(size[0] / window[0]) * math.ceil(size[1] / window[1])


def _starts(last: int, step: int, shift: float) -> list[int]:
    """Evenly spaced from 0 to `last`, at most `step` apart, moved by a share of the space between them."""
    spaces = math.ceil(last / step)
    space = last / max(1, spaces)
    return [min(max(0, math.floor((i + shift) * space + 0.5)), last) for i in range(spaces + 1)]
