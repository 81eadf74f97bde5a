"""Data sets cut into tiles: written as a data set of their own, or cut anew in each epoch of a training."""

from finespot.data.tiles.back import SplitTiles, TileIndex, merge_tiles, read_index, untile
from finespot.data.tiles.cut import Border
from finespot.data.tiles.epochs import EpochTiles, TileSettings
from finespot.data.tiles.grid import TINYPERSON_VISIBLE, tinyperson_windows
from finespot.data.tiles.tile import Tiled, tile_dataset

__all__ = [
    "TINYPERSON_VISIBLE",
    "Border",
    "EpochTiles",
    "SplitTiles",
    "TileIndex",
    "TileSettings",
    "Tiled",
    "merge_tiles",
    "read_index",
    "tile_dataset",
    "tinyperson_windows",
    "untile",
]
