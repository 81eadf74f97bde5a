"""Tiles for training, cut anew in every epoch: the grid lies elsewhere in each picture, other empty tiles are taken.

An epoch has as many tiles with objects as the grid of prediction has, and the share `keep_empty` of its tiles without;
so all epochs have the same length. Where the shifted grid shows objects in more or fewer tiles, some are left out or
come twice.

Tiles come in pools of some pictures, at random within a pool, and what is joined into one training picture (mosaic,
mixup, copy-paste) comes from one pool: so a process that remembers the files it decoded last decodes each file about
once an epoch, instead of once a tile. The order is the same with and without a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.tiles.cut import LEAST_VISIBLE, Border, Windows, cut_dataset, pieces, survey
from finespot.data.tiles.grid import regular_windows, shifted_windows
from finespot.errors import FineSpotError
from finespot.structures import Tiling

# Decoded pixels of the files of a pool, at three channels; a pool of one larger file holds more.
POOL_BYTES = 256 << 20
_TILES = 4  # A stream of random numbers beside those of the loader.


class TileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cutting pictures into tiles while training; `size` None leaves them whole.

    size: side in pixels of the picture, which becomes `imgsz`. overlap: what neighbors repeat, below 1 a share of it,
    else pixels. min_visible: share of an object that a tile must show; of others, what shows becomes an ignore region.
    keep_empty: share of the tiles without objects that an epoch takes. whole, merge, metric: how validation and
    prediction with the weights go on (see `Tiling`).
    """

    size: Annotated[int, Meta(ge=32)] | None = None
    overlap: Annotated[float, Meta(ge=0)] = 0.2
    min_visible: Annotated[float, Meta(ge=LEAST_VISIBLE, le=1)] = 0.4
    keep_empty: Annotated[float, Meta(ge=0, le=1)] = 0.1
    whole: bool = False
    merge: str | None = None
    metric: str | None = None

    @property
    def tiling(self) -> Tiling | None:
        """The tiling that prediction with the trained weights uses; None for whole pictures.

        Raises
        ------
        FineSpotError
            A value is out of range, or has no effect without another.
        """
        tiling = Tiling(self.size, self.overlap, self.whole, self.merge, self.metric)
        return None if self.size is None else tiling


@dataclass(frozen=True)
class _Plan:
    """An epoch's tiles in their order; pool p holds those from starts[p] to starts[p + 1]."""

    windows: Windows
    starts: NDArray[np.int64]


class EpochTiles:
    """The tiles of each epoch of a data set.

    Raises
    ------
    FineSpotError
        No tile would be left.
    """

    def __init__(self, dataset: Dataset, settings: TileSettings, seed: int) -> None:
        if settings.tiling is None or settings.size is None:
            raise FineSpotError("expected the side of the tiles but got none", where="tile.size")
        self.dataset, self.side, self.tiling, self.seed = dataset, settings.size, settings.tiling, seed
        self.border = Border(settings.min_visible)
        windows = survey(dataset, lambda i: regular_windows(dataset.size(i), self.tiling), settings.min_visible)
        self.full = int(np.count_nonzero(windows.full))
        self.empty = round(settings.keep_empty * (len(windows) - self.full))
        if not len(self):
            raise FineSpotError(
                "no tile shows an object, and none of the others is taken",
                where="tile",
                hint="raise tile.keep_empty, tile.size or tile.overlap",
            )
        self._file_of, self._file_bytes = _files(dataset)
        self._planned: tuple[int, _Plan] | None = None

    def __len__(self) -> int:
        return self.full + self.empty

    def notes(self, imgsz: int) -> list[str]:
        """What an epoch holds, in words."""
        scale = "" if self.side == imgsz else f", scaled by {imgsz / self.side:.3g} to imgsz {imgsz}"
        return [f"tile: {len(self)} tiles of {self.side} px an epoch, {self.full} of them with objects{scale}"]

    def picture(self, epoch: int, tile: int) -> int:
        """The picture, by index in the data set, that a tile of an epoch is cut from."""
        return int(self._plan(epoch).windows.pictures[tile])

    def pool(self, epoch: int, tile: int) -> tuple[int, int]:
        """The pool that a tile of an epoch belongs to, and its place there."""
        starts = self._plan(epoch).starts
        number = int(np.searchsorted(starts, tile, side="right")) - 1
        return number, tile - int(starts[number])

    def pool_windows(self, epoch: int, number: int) -> Windows:
        """The tiles of a pool as windows of the data set's pictures."""
        plan = self._plan(epoch)
        return plan.windows.select(np.arange(plan.starts[number], plan.starts[number + 1]))

    def pool_dataset(self, epoch: int, number: int) -> Dataset:
        """The tiles of a pool as a data set.

        A picture smaller than a tile counts as one that has the tile's side: so its pixels are scaled as in
        prediction, where it lies in a larger input.
        """
        windows = self.pool_windows(epoch, number)
        return cut_dataset(
            self.dataset,
            list(pieces(self.dataset, windows, self.border)),
            range(len(windows)),
            least_side=self.side,
        )

    def _plan(self, epoch: int) -> _Plan:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._made(epoch)
        return self._planned[1]

    def _made(self, epoch: int) -> _Plan:
        rng = np.random.default_rng((self.seed, epoch, _TILES))
        shifts = rng.uniform(-0.5, 0.5, (len(self.dataset), 2))
        windows = survey(
            self.dataset,
            lambda i: shifted_windows(self.dataset.size(i), self.tiling, (float(shifts[i, 0]), float(shifts[i, 1]))),
            self.border.min_visible,
        )
        chosen = windows.select(self._chosen(windows.full, rng))
        pool = self._pool_of_file(rng)[self._file_of[chosen.pictures]]
        order = np.lexsort((rng.random(len(pool)), pool))
        starts = np.flatnonzero(np.diff(pool[order], prepend=-1))
        return _Plan(chosen.select(order), np.append(starts, len(pool)))

    def _chosen(self, full: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
        """The rows of an epoch's windows: `self.full` with and `self.empty` without objects, as far as there are."""
        chosen = [
            np.resize(rng.permutation(rows), count if len(rows) else 0)
            for rows, count in ((np.flatnonzero(full), self.full), (np.flatnonzero(~full), self.empty))
        ]
        rows = np.concatenate(chosen)
        return np.resize(rows if len(rows) else np.arange(len(full)), len(self))

    def _pool_of_file(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The pool of each file: some at random, as many as fit into the memory of one pool."""
        order = rng.permutation(len(self._file_bytes))
        before = np.cumsum(self._file_bytes[order]) - self._file_bytes[order]
        pool = np.empty(len(order), np.int64)
        pool[order] = before // POOL_BYTES
        return pool


def _files(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each picture the number of its file, and for each file the bytes of its pixels at three channels."""
    numbers: dict[str, int] = {}
    sides: list[tuple[int, int]] = []
    for i in range(len(dataset)):
        window = dataset.window(i)
        height, width = dataset.size(i) if window is None else (window[3], window[2])
        number = numbers.setdefault(dataset.path(i), len(numbers))
        if number == len(sides):
            sides.append((0, 0))
        sides[number] = max(sides[number][0], height), max(sides[number][1], width)
    file_of = np.array([numbers[dataset.path(i)] for i in range(len(dataset))], np.int64)
    return file_of, np.array(sides, np.int64).prod(axis=1) * 3
