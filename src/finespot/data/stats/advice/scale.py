"""At which size objects should reach the network: input size, tiles, finest level.

The fixed points are sides of 8 px and 12 px at the network: nine in ten objects should have the first, half of them
the second. All of it follows from the split that is learned from.
"""

from __future__ import annotations

import math

import numpy as np

from finespot.data.stats.advice.line import Advice
from finespot.data.stats.measure import (
    FEW_CELLS_PX,
    FEW_CELLS_SHARE,
    ONE_CELL_PX,
    ONE_CELL_SHARE,
    STRIDE,
    Statistics,
    finest_stride,
)
from finespot.data.stats.summary import Sides
from finespot.structures import Tiling

TENTH_PX, MEDIAN_PX = 8.0, 12.0
# A larger input than this costs more memory and time than tiles do.
LARGEST_INPUT = 2048
SMALLEST_TILE = 128
VANISHING_PX, VANISHING_SHARE = 2.0, 0.001
# An input is wasteful where objects stay large enough at half of it.
_WASTEFUL = 0.5
_AGAIN = ", and ask again with it"


def lacking(sides: Sides) -> float:
    """By which factor objects must be larger to be seen well (below 1: they could be smaller); 1 without objects."""
    if sides.spread is None:
        return 1.0
    return max(TENTH_PX / sides.spread.at(10), MEDIAN_PX / sides.spread.at(50))


def image_size(stats: Statistics) -> Advice | None:
    """A larger input for whole pictures, or a smaller one where objects stay large enough at half of it."""
    factor, length = lacking(stats.learned.network), _long_side(stats)
    wanted = _up(stats.imgsz * factor)
    if stats.cut is not None or _fits(factor) or wanted == stats.imgsz:
        return None
    if factor <= _WASTEFUL:
        text = f"--imgsz {wanted} would do and cost less{_AGAIN}"
    elif wanted > LARGEST_INPUT:
        text = f"no whole picture will do (--imgsz {wanted}); cut pictures into tiles"
    else:
        text = f"take --imgsz {wanted}{_AGAIN}"
        if wanted > length:
            text += f"; beyond the pictures' own {length:.0f} px this adds cells, no detail"
    return Advice("image size", text, _seen(stats))


def tile_size(stats: Statistics) -> Advice | None:
    """Smaller tiles where objects are too small in the chosen ones, larger ones where twice the size would do."""
    factor, length = lacking(stats.learned.network), _long_side(stats)
    if stats.cut is None or stats.cut.size is None or _fits(factor):
        return None
    tile = max(SMALLEST_TILE, int(stats.cut.size / factor) // STRIDE * STRIDE)
    if tile == stats.cut.size:
        return None
    if factor > 1:
        text = f"take --slice {tile}"
    elif tile < length:
        text = f"--slice {tile} would do and cost less"
    else:
        text = f"whole pictures at --imgsz {_up(length * stats.imgsz / tile)} would do and cost less"
    return Advice("tile size", f"{text}{_AGAIN}", _seen(stats))


def tiles(stats: Statistics) -> Advice | None:
    """Cutting, where whole pictures shrink so much that objects are too small."""
    longer = stats.learned.source.longer
    if stats.cut is not None or longer is None:
        return None
    factor, largest, length = lacking(stats.learned.network), longer.at(99), _long_side(stats)
    tile = _tile(stats, largest)
    shrinks = length >= 1.5 * max(tile, stats.imgsz)
    if factor <= 1 or not (shrinks or _up(stats.imgsz * factor) > LARGEST_INPUT):
        return None
    share = _overlap(largest, tile)
    shared = Tiling(tile, share).overlap_pixels
    whole = "; look at whole pictures too, for larger objects" if shared < largest else ""
    return Advice(
        "tiles",
        f"cut pictures for training and prediction alike: --slice {tile} --overlap {share:g} at --imgsz "
        f"{stats.imgsz}{whole}",
        f"half of the pictures are {length:.0f} px long or more, and a whole one enters at {stats.imgsz}; tiles of "
        f"{tile} px show objects at {stats.imgsz / tile:.2g} times their size; neighbors share {shared} px, and the "
        f"longer side of 99 % of the objects is at most {largest:.0f} px",
    )


def overlap(stats: Statistics) -> Advice | None:
    """A larger overlap, where the chosen one does not hold the objects."""
    longer = stats.learned.source.longer
    if stats.cut is None or stats.cut.size is None or longer is None:
        return None
    largest = longer.at(99)
    shared, wanted = stats.cut.overlap_pixels, _overlap(largest, stats.cut.size)
    if shared >= largest or wanted * stats.cut.size <= shared:
        return None
    return Advice(
        "overlap",
        f"take --overlap {wanted:g}",
        f"the longer side of 99 % of the objects is at most {largest:.0f} px, but neighbors share {shared} px: "
        f"{stats.learned.cut} of {stats.learned.total} objects lie whole in no tile",
    )


def finest_level(stats: Statistics) -> Advice | None:
    """Whether a P2 level pays."""
    network = stats.learned.network
    if network.spread is None:
        return None
    reason = (
        f"{network.below(FEW_CELLS_PX):.1%} of the objects are below {FEW_CELLS_PX:g} px at the network (2 x 2 cells "
        f"of stride 8), {network.below(ONE_CELL_PX):.1%} below {ONE_CELL_PX:g} px (one cell); P2 pays from "
        f"{FEW_CELLS_SHARE:.0%} or {ONE_CELL_SHARE:.0%} on"
    )
    if finest_stride(network) == 4:
        return Advice("finest level", "take a network with a P2 level (stride 4), such as yolo11n-p2", reason)
    return Advice("finest level", "P3 (stride 8) will do; a P2 level would cost time and find little more", reason)


def vanishing(stats: Statistics) -> Advice | None:
    """Objects that no level can hold."""
    share = stats.learned.network.below(VANISHING_PX)
    if share < VANISHING_SHARE:
        return None
    return Advice(
        "vanishing objects",
        "enlarge the input or cut tiles, or make ignore regions of such objects (drop_small=N, pixels of the picture)",
        f"{share:.1%} of the objects are below {VANISHING_PX:g} px at the network",
    )


def _fits(factor: float) -> bool:
    """Whether the input is neither too small nor wasteful."""
    return _WASTEFUL < factor <= 1


def _seen(stats: Statistics) -> str:
    """How large objects are, and should be."""
    spread = stats.learned.network.spread
    if spread is None:
        return "there are no objects"
    return (
        f"at --imgsz {stats.imgsz} the 10th percentile of the objects' sides is {spread.at(10):.1f} px and their "
        f"median {spread.at(50):.1f} px; networks see objects well from about {TENTH_PX:g} and {MEDIAN_PX:g} px on"
    )


def _long_side(stats: Statistics) -> float:
    """The median of the pictures' long sides."""
    return float(np.median(stats.learned.columns.sizes.max(axis=1)))


def _tile(stats: Statistics, largest: float) -> int:
    """The side of tiles that show pixels as they are.

    Smaller where objects need to be enlarged; larger, as far as objects stay large enough, where a quarter of it would
    not hold the `largest` objects.
    """
    enlarge = lacking(stats.learned.source)
    if enlarge >= 1:
        return max(SMALLEST_TILE, int(stats.imgsz / enlarge) // STRIDE * STRIDE)
    return max(stats.imgsz, min(_up(4 * largest), int(stats.imgsz / enlarge) // STRIDE * STRIDE))


def _overlap(pixels: float, tile: int) -> float:
    """The overlap, in steps of 0.05 up to 0.5, that holds so many pixels; at least 0.1."""
    return min(0.5, max(0.1, math.ceil(20 * pixels / tile - 1e-9) / 20))


def _up(pixels: float) -> int:
    return math.ceil(pixels / STRIDE - 1e-9) * STRIDE
