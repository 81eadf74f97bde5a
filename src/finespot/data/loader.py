"""Batches for training: everything random derives from (seed, epoch, index), whatever the number of workers.

Workers are persistent processes. What changes between epochs (epoch number, augmentation) travels with each request,
so that no process works with settings of an earlier epoch.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from finespot.data.augment.compose import Composer, Partners
from finespot.data.augment.settings import Augment
from finespot.data.dataset import Dataset
from finespot.data.pictures import Pictures
from finespot.data.repeats import Repeats
from finespot.data.shapes import Shapes
from finespot.data.tiles.cut import Windows
from finespot.data.tiles.epochs import EpochTiles, TileSettings
from finespot.errors import FineSpotError, unknown
from finespot.structures import Batch, Targets

# Separate streams of random numbers, so that one use does not shift another.
_ORDER, _SIZE, _PICTURE = 1, 2, 3
CACHES = ("ram", "disk")


@dataclass(frozen=True)
class _Request:
    """One batch to make: everything a worker needs to know."""

    epoch: int
    imgsz: int
    indices: tuple[int, ...]
    augment: Augment


@dataclass(frozen=True)
class _Failure:
    """A FineSpotError on its way out of a worker, from where an exception would bring the worker's traceback along."""

    what: str
    where: str | None
    hint: str | None


class TrainLoader:
    """Shuffled, augmented batches of one data set for one of `world` processes.

    Parameters
    ----------
    dataset, imgsz, batch:
        What to load, the side of the square input (a multiple of `stride`), pictures per batch of this process.
    workers:
        Processes that make batches; 0 makes them in this one.
    seed:
        With the epoch and a picture's index it decides everything random.
    cache:
        "ram" keeps the decoded pictures in memory, "disk" in `cache_folder` (see `Pictures`), None decodes them each
        time; batches are the same.
    multi_scale:
        m draws the side of each batch from (1 - m) to (1 + m) times `imgsz`, rounded to the stride.
    rank, world:
        This process's share: all get equally many pictures, the first ones of the order fill up.
    drop_small:
        Objects whose shorter side is below so many pixels of the picture file become ignore regions; 0 keeps all.
    tile:
        Cut the pictures into tiles, anew in each epoch: then a tile is what else a picture is. A batch's `indices`
        stay those of the pictures; its `placements` are those of the tiles.
    repeat_rare:
        Pictures of classes that less than this share of the pictures shows come more often (see `Repeats`); not with
        `tile`.
    shapes:
        The folder of the shapes of the objects (see `finespot.data.shapes`): batches then have them, warped with the
        pictures. All else in the batches stays the same.

    Attributes
    ----------
    notes:
        What was decided, one line each.

    Raises
    ------
    FineSpotError
        A setting is out of range, the cache does not fit into memory or on the disk, or the shapes of a picture are
        missing or made from other boxes.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        imgsz: int,
        batch: int,
        workers: int = 0,
        seed: int = 0,
        cache: str | None = None,
        stride: int = 32,
        multi_scale: float = 0.0,
        rank: int = 0,
        world: int = 1,
        drop_small: float = 0.0,
        cache_folder: Path | None = None,
        tile: TileSettings | None = None,
        repeat_rare: float = 0.0,
        shapes: Path | None = None,
    ) -> None:
        _check(dataset, imgsz, batch, workers, seed, cache, stride, multi_scale, rank, world, drop_small)
        _check_repeats(repeat_rare, tile)
        self.dataset, self.imgsz, self.batch, self.seed = dataset, imgsz, batch, seed
        self.stride, self.multi_scale, self.rank, self.world = stride, multi_scale, rank, world
        self._plan = _Plan()
        tiles = EpochTiles(dataset, tile, seed) if tile is not None and tile.size is not None else None
        outlines = Shapes(dataset, shapes) if shapes is not None else None
        tiled = tiles is not None
        pictures = Pictures(dataset, imgsz, cache, world, folder=cache_folder, tiled=tiled, shapes=outlines)
        repeats = Repeats(dataset, repeat_rare, seed) if repeat_rare else None
        self.notes = pictures.notes + (outlines.notes() if outlines is not None else [])
        self._count = len(dataset)
        if tiles is not None:
            self.notes += tiles.notes(imgsz)
            self._count = len(tiles)
        elif repeats is not None:
            self.notes += repeats.notes()
            self._count = len(repeats)
        self._maker = _Maker(pictures, seed, drop_small, tiles, repeats)
        self._loader: DataLoader[Batch | _Failure] | None = None
        if workers:
            self._loader = DataLoader(
                self._maker,
                batch_size=None,
                sampler=self._plan,
                num_workers=workers,
                persistent_workers=True,
                multiprocessing_context=_context(cache),
            )

    def __len__(self) -> int:
        return math.ceil(math.ceil(self._count / self.world) / self.batch)

    def epoch(self, epoch: int, augment: Augment) -> Iterator[Batch]:
        """The batches of one epoch; the same epoch gives the same batches.

        Raises
        ------
        FineSpotError
            A picture cannot be decoded; the error names it.
        """
        self._plan.requests = self.requests(epoch, augment)
        made = self._loader if self._loader is not None else map(self._maker.__getitem__, self._plan.requests)
        failure = None
        for one in made:
            if isinstance(one, _Failure):
                failure = one
                break
            yield one
        if failure:
            self.close()
            raise FineSpotError(failure.what, where=failure.where, hint=failure.hint)

    def close(self) -> None:
        """End the worker processes now, not when the loader is collected; the next epoch starts new ones."""
        if self._loader is not None:
            self._loader._iterator = None

    def requests(self, epoch: int, augment: Augment) -> list[_Request]:
        """What each batch of an epoch will hold."""
        # Tiles are numbered in an order that is random already, and in which those of one file are near each other.
        tiled = self._maker.tiles is not None
        order = np.arange(self._count) if tiled else _rng(self.seed, epoch, _ORDER).permutation(self._count)
        share = math.ceil(len(order) / self.world)
        own = np.resize(order, share * self.world)[self.rank :: self.world].tolist()
        batches = [tuple(own[start : start + self.batch]) for start in range(0, share, self.batch)]
        return [_Request(epoch, self._side(epoch, number), one, augment) for number, one in enumerate(batches)]

    def _side(self, epoch: int, number: int) -> int:
        """The input side of a batch, the same in all processes."""
        if not self.multi_scale:
            return self.imgsz
        factor = 1 + self.multi_scale * _rng(self.seed, epoch, _SIZE, number).uniform(-1, 1)
        return max(1, round(self.imgsz * factor / self.stride)) * self.stride


class _Plan(Sampler[_Request]):
    """The requests of the current epoch; only the main process reads it."""

    def __init__(self) -> None:
        self.requests: list[_Request] = []

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class _Place(NamedTuple):
    """Where a training picture comes from: pictures, its number there, and its picture's index in the data set."""

    pictures: Pictures
    number: int
    source: int


class _Maker(TorchDataset[Batch | _Failure]):
    """Makes batches on request, in this process or a worker."""

    def __init__(
        self, pictures: Pictures, seed: int, drop_small: float, tiles: EpochTiles | None, repeats: Repeats | None
    ) -> None:
        self.pictures, self.seed, self.drop_small = pictures, seed, drop_small
        self.tiles, self.repeats = tiles, repeats
        self._pools: dict[tuple[int, int], Pictures] = {}

    def __getitem__(self, request: _Request) -> Batch | _Failure:
        try:
            return self._make(request)
        except FineSpotError as error:
            return _Failure(error.what, None if error.where is None else str(error.where), error.hint)

    def _make(self, request: _Request) -> Batch:
        count, side = len(request.indices), request.imgsz
        images = torch.empty((count, side, side, 3), dtype=torch.uint8)
        shapes = None if self.pictures.shapes is None else torch.empty((count, 1, side, side), dtype=torch.bool)
        outs = [(image, None if shapes is None else shapes[row, 0].numpy()) for row, image in enumerate(images.numpy())]
        places = [self._place(request.epoch, index) for index in request.indices]
        made = [
            Composer(place.pictures, request.augment, side, self.drop_small, self._partners).compose(
                place.number, _rng(self.seed, request.epoch, _PICTURE, index), *out
            )
            for index, place, out in zip(request.indices, places, outs)
        ]
        dropped: Counter[str] = Counter()
        for sample, _ in made:
            dropped.update(sample.dropped)
        return Batch(
            images=images.permute(0, 3, 1, 2),
            targets=Targets.from_annotations([sample.annotations for sample, _ in made]),
            placements=tuple(placement for _, placement in made),
            indices=tuple(place.source for place in places),
            dropped=dropped,
            shapes=shapes,
        )

    def _place(self, epoch: int, index: int) -> _Place:
        if self.tiles is None:
            source = index if self.repeats is None else self.repeats.picture(epoch, index)
            return _Place(self.pictures, source, source)
        number, place = self.tiles.pool(epoch, index)
        if (epoch, number) not in self._pools:
            # A batch may hold tiles of two pools.
            self._pools = dict(list(self._pools.items())[-1:])
            self._pools[epoch, number] = self.pictures.of(
                self.tiles.pool_dataset(epoch, number), self._cut_shapes(self.tiles.pool_windows(epoch, number))
            )
        return _Place(self._pools[epoch, number], place, self.tiles.picture(epoch, index))

    def _cut_shapes(self, windows: Windows) -> Shapes | None:
        shapes = self.pictures.shapes
        return None if shapes is None else shapes.cut(windows.pictures, windows.corners)

    @property
    def _partners(self) -> Partners | None:
        return None if self.repeats is None else self.repeats.partners


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _context(cache: str | None) -> str | None:
    """Workers must share a cache in memory, which only forked processes do."""
    if cache != "ram":
        return None
    if sys.platform == "win32" or "fork" not in multiprocessing.get_all_start_methods():
        raise FineSpotError(
            "cache=ram with workers needs processes that can be forked", hint="set workers=0 or no cache"
        )
    return "fork"


def _check(
    dataset: Dataset,
    imgsz: int,
    batch: int,
    workers: int,
    seed: int,
    cache: str | None,
    stride: int,
    multi_scale: float,
    rank: int,
    world: int,
    drop_small: float,
) -> None:
    if not len(dataset):
        raise FineSpotError("expected pictures to train on but got none", where=dataset.name)
    if stride < 1 or imgsz < stride or imgsz % stride:
        near = max(1, round(imgsz / max(stride, 1))) * max(stride, 1)
        raise FineSpotError(
            f"expected a multiple of the stride {stride} but got {imgsz}", where="imgsz", hint=f"try {near}"
        )
    for name, value, least in (("batch", batch, 1), ("workers", workers, 0), ("seed", seed, 0), ("world", world, 1)):
        if value < least:
            raise FineSpotError(f"expected {least} or more but got {value}", where=name)
    if not 0 <= rank < world:
        raise FineSpotError(f"expected 0 to {world - 1} but got {rank}", where="rank")
    if cache is not None and cache not in CACHES:
        raise unknown("cache", str(cache), CACHES, where="cache")
    if not 0 <= multi_scale < 1:
        raise FineSpotError(f"expected 0 to below 1 but got {multi_scale}", where="multi_scale")
    if not (drop_small >= 0 and math.isfinite(drop_small)):
        raise FineSpotError(f"expected 0 or more pixels but got {drop_small}", where="drop_small")


def _check_repeats(repeat_rare: float, tile: TileSettings | None) -> None:
    if not 0 <= repeat_rare <= 1:
        raise FineSpotError(f"expected 0 to 1 but got {repeat_rare}", where="repeat_rare")
    if repeat_rare and tile is not None and tile.size is not None:
        raise FineSpotError(
            "whole pictures can be repeated, tiles cannot",
            where="repeat_rare",
            hint="cut the tiles before (finespot data tile), or leave out tile.size or repeat_rare",
        )
