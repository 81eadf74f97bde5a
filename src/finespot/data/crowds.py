"""How many objects a picture or a tile holds: what the number of queries and the cap on detections must allow for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.tiles.cut import shares
from finespot.data.tiles.epochs import TileSettings
from finespot.data.tiles.grid import regular_windows

# Nearly all: a single crowded picture does not decide, and of a thousand pictures one may hold more.
MOST = 99.9


@dataclass(frozen=True)
class Crowds:
    """Objects of each picture, and of each network input: a picture, or a tile where pictures are cut."""

    per_picture: NDArray[np.int64]
    per_input: NDArray[np.int64]

    def in_picture(self) -> int:
        """Objects that 99.9 % of the pictures do not exceed."""
        return _most(self.per_picture)

    def in_input(self) -> int:
        """Objects that 99.9 % of the network inputs do not exceed."""
        return _most(self.per_input)


def crowds(dataset: Dataset, tile: TileSettings) -> Crowds:
    """Count objects (ignore regions left out), in tiles those that show `tile.min_visible` of themselves."""
    rows = dataset.rows
    pictures = np.repeat(np.arange(len(dataset)), np.diff(rows.starts))
    per_picture = np.bincount(pictures[~rows.ignore], minlength=len(dataset))
    tiling = tile.tiling
    if tiling is None:
        return Crowds(per_picture, per_picture)
    counts = []
    for index in range(len(dataset)):
        boxes, _, ignore = dataset.columns(index)
        windows = np.array(regular_windows(dataset.size(index), tiling), np.int64).reshape(-1, 4)
        counts += [int((share >= tile.min_visible).sum()) for share in shares(boxes[~ignore], windows)]
    return Crowds(per_picture, np.array(counts, np.int64))


def _most(counts: NDArray[np.int64]) -> int:
    return int(np.percentile(counts, MOST, method="higher")) if len(counts) else 0
