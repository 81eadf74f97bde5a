"""What a seeker reaches on labelled pictures, and the threshold with which it reaches nearly all of it.

Cell by cell, an object is reached where a cell that its box touches, or that is no further away than `MARGIN`, is hot:
tiles show that much and more around hot cells. With a tiling it is counted what tiles really show: an object is reached
where one of those that the seeker chooses shows as much of it as the best tile of the grid does. In large pictures that
is far more, for a tile that is taken for one object shows others. Ignore regions are no objects; what is hot there
costs as everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.inference.calibrate import highest_threshold
from finespot.inference.prepare import read_rgb
from finespot.inference.seeker import Seeker
from finespot.metrics import protocol
from finespot.structures import Boxes, Flags, Size, Tile, Tiling
from finespot.tiling import cover, grid, worth
from finespot.weights import SeekerCalibration, SizeReach

if TYPE_CHECKING:
    from finespot.data import Dataset

# Whose sizes objects are counted by.
SIZES = "ai-tod"
# Pixels of the picture. A tile of 640 with the usual overlap shows 64 around a hot cell, one of 320 shows 32.
MARGIN = 32
# Of an object's area: what a chosen tile may show less of it than the grid's.
_LESS = 0.01


@dataclass(frozen=True)
class Reach(ABC):
    """The heat of labelled pictures.

    Attributes
    ----------
    scores:
        (N,) float32, of each object the greatest heat among the cells that its box, with a margin, touches.
    sides:
        (N,) float64, the root of each object's area in pixels of its picture.
    cells:
        Of each picture the heat of its cells, rising.
    """

    scores: NDArray[np.float32]
    sides: NDArray[np.float64]
    cells: list[NDArray[np.float32]]

    @abstractmethod
    def reached(self, threshold: float) -> Flags:
        """(N,) which objects are reached."""

    @abstractmethod
    def threshold(self, recall: float) -> float:
        """The highest threshold that reaches at least the share `recall` of the objects."""

    def recall(self, threshold: float) -> float:
        """The share of the objects that are reached."""
        return float(self.reached(threshold).mean())

    def hot(self, threshold: float) -> float:
        """The mean share of a picture's area that is hot."""
        least = np.float32(threshold)
        return float(np.mean([1 - np.searchsorted(cells, least) / len(cells) for cells in self.cells]))

    def by_size(self, threshold: float) -> list[SizeReach]:
        """How many objects are reached, by the sizes of AI-TOD."""
        reached = self.reached(threshold)
        rows, areas = [], protocol(SIZES).areas[1:]
        for area in areas:
            low, high = area.low**0.5, area.high**0.5
            last = area is areas[-1]
            here = (self.sides >= low) & ((self.sides < high) | last)
            rows.append(
                SizeReach(
                    label=area.label,
                    low=low,
                    high=None if last else high,
                    objects=int(here.sum()),
                    reached=int(reached[here].sum()),
                )
            )
        return rows


@dataclass(frozen=True)
class CellReach(Reach):
    """Where an object is reached by a hot cell on or near it."""

    def reached(self, threshold: float) -> Flags:
        """See `Reach`."""
        found: Flags = self.scores >= np.float32(threshold)
        return found

    def threshold(self, recall: float) -> float:
        """See `Reach`."""
        return highest_threshold(self.scores, recall)


@dataclass(frozen=True)
class TileReach(Reach):
    """Where an object is reached by a tile that shows it.

    Attributes
    ----------
    maps, sizes, boxes:
        Of each picture the heat (rows, columns), its (height, width) and the boxes (n, 4) of its objects.
    """

    tiling: Tiling
    maps: list[NDArray[np.float32]]
    sizes: list[Size]
    boxes: list[Boxes]

    def reached(self, threshold: float) -> Flags:
        """See `Reach`."""
        found = [np.zeros(0, bool)]
        for tiles, size, boxes in zip(self.chosen(threshold), self.sizes, self.boxes):
            found.append(shown(boxes, tiles) >= shown(boxes, grid(size, self.tiling)) - _LESS)
        return np.concatenate(found)

    def threshold(self, recall: float) -> float:
        """See `Reach`. Tried are the heats of the objects: between two of them all their cells stay hot or cold."""
        levels = np.unique(self.scores)
        low, high = 0, len(levels)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.recall(_below(levels[middle])) >= recall else (low, middle)
        # Fewer hot cells may move tiles so that they show more: a level may be good though a lower one is not.
        while low > 0 and self.recall(_below(levels[low])) < recall:
            low -= 1
        return _below(levels[low])

    def chosen(self, threshold: float) -> list[list[Tile]]:
        """The tiles of each picture that are looked at."""
        return [cover(heat, threshold, self.tiling, size) for heat, size in zip(self.maps, self.sizes)]

    def tiles(self, threshold: float) -> float:
        """The share of all tiles that are looked at, by area."""
        every = sum(len(grid(size, self.tiling)) for size in self.sizes)
        looked = zip(self.chosen(threshold), self.sizes)
        return sum(worth(tile, size, self.tiling) for tiles, size in looked for tile in tiles) / every


def shown(boxes: Boxes, tiles: list[Tile]) -> NDArray[np.float64]:
    """The share of each box (n, 4) that the tile with the most of it shows; 0 where there is no tile."""
    windows = np.array([tile.window for tile in tiles], np.float64).reshape(-1, 4)
    own = boxes.astype(np.float64)
    low, high = np.maximum(own[:, None, :2], windows[:, :2]), np.minimum(own[:, None, 2:], windows[:, 2:])
    # A box without area is shown where its place is.
    sides = np.maximum(own[:, 2:] - own[:, :2], 1e-6)
    shares = (np.clip(high - low, 0, None) / sides[:, None]).prod(2)
    most: NDArray[np.float64] = shares.max(1, initial=0.0)
    return most


def _below(level: np.float32) -> float:
    """A hair below: what is compared later is rounded to float32."""
    return float(max(np.nextafter(np.float32(level), np.float32(0)), np.finfo(np.float32).tiny))


def object_heat(heat: NDArray[np.float32], boxes: Boxes, size: Size, margin: float = 0.0) -> NDArray[np.float32]:
    """The greatest heat (n,) among the cells that each box (n, 4), widened by `margin` on all sides, touches.

    Boxes and margin are in pixels of a picture of `size`.
    """
    rows, columns = heat.shape
    scale = np.array([columns / size[1], rows / size[0]])
    limit = np.array([columns, rows])
    around = np.array([[-margin], [margin]])
    cells = (boxes.astype(np.float64).reshape(-1, 2, 2) + around) * scale
    first = np.clip(np.floor(cells[:, 0]), 0, limit - 1).astype(int)
    last = np.clip(np.ceil(cells[:, 1]), first + 1, limit).astype(int)
    found = [heat[y1:y2, x1:x2].max() for (x1, y1), (x2, y2) in zip(first, last)]
    return np.array(found, np.float32)


def measure_reach(
    seeker: Seeker,
    dataset: Dataset,
    tiling: Tiling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CellReach | TileReach:
    """Look at all pictures of a data set; `progress` is called with (pictures done, pictures in all).

    With a `tiling`, objects are reached by tiles, else by cells.

    Raises
    ------
    FineSpotError
        A picture cannot be read, there is no object, or the tiling cuts nothing.
    """
    if tiling is not None and tiling.size is None:
        raise FineSpotError("chooses tiles, but nothing is cut", where="slice", hint="give their side, such as 640")
    refuse_empty(dataset)
    margin = MARGIN if tiling is None else tiling.overlap_pixels / 2
    scores: list[NDArray[np.float32]] = []
    maps: list[NDArray[np.float32]] = []
    sizes: list[Size] = []
    objects: list[Boxes] = []
    for number in range(len(dataset)):
        heat, size = seeker.heat(read_rgb(dataset.image(number))), dataset.size(number)
        boxes, _, ignore = dataset.columns(number)
        scores.append(object_heat(heat, boxes[~ignore], size, margin))
        objects.append(boxes[~ignore])
        maps.append(heat)
        sizes.append(size)
        if progress is not None:
            progress(number + 1, len(dataset))
    every = np.concatenate(objects)
    sides = np.sqrt((every[:, 2:] - every[:, :2]).astype(np.float64).prod(1))
    cells = [np.sort(heat, axis=None) for heat in maps]
    if tiling is None:
        return CellReach(np.concatenate(scores), sides, cells)
    return TileReach(np.concatenate(scores), sides, cells, tiling, maps, sizes, objects)


def refuse_empty(dataset: Dataset) -> None:
    """Raise FineSpotError where a data set has no object."""
    if not (~dataset.rows.ignore).any():
        raise FineSpotError("there is no object to choose a threshold by", where=f"{dataset.name} {dataset.split}")


def calibrate_seeker(
    seeker: Seeker,
    dataset: Dataset,
    recall: float = 0.99,
    *,
    tiling: Tiling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SeekerCalibration:
    """The highest threshold with which at least the share `recall`, above 0 to 1, of the objects is reached.

    With a `tiling` that is by tiles, without by cells; see `measure_reach`.

    Raises
    ------
    FineSpotError
        `recall` is out of range, a picture cannot be read, there is no object, or the tiling cuts nothing.
    """
    if not 0 < recall <= 1:
        raise FineSpotError(f"expected a share above 0 and up to 1 but got {recall}", where="recall")
    found = measure_reach(seeker, dataset, tiling, progress)
    threshold = found.threshold(recall)
    by_tiles = isinstance(found, TileReach)
    return SeekerCalibration(
        threshold=threshold,
        target=recall,
        margin=None if by_tiles else MARGIN,
        tile=None if tiling is None else tiling.size,
        overlap=None if tiling is None else tiling.overlap,
        tiles=found.tiles(threshold) if isinstance(found, TileReach) else None,
        recall=found.recall(threshold),
        hot=found.hot(threshold),
        objects=len(found.scores),
        pictures=len(dataset),
        sizes=found.by_size(threshold),
        data=dataset.name,
        split=dataset.split,
    )


def reach_lines(found: SeekerCalibration) -> list[str]:
    """A calibration in words."""
    by = "are reached" if found.tile is None else f"are in the tiles of {found.tile} px that are looked at"
    cost = f"{100 * found.hot:.1f} % of the area is hot"
    if found.tiles is not None:
        cost = f"{100 * found.tiles:.1f} % of the tiles run, {cost}"
    lines = [
        f"threshold {found.threshold:.4g}: {100 * found.recall:.1f} % of {found.objects} objects {by} "
        f"({100 * found.lost:.1f} % lost), {cost} ({found.data} {found.split}, {found.pictures} pictures)"
    ]
    for one in found.sizes:
        sides = f"{one.low:g} px and more" if one.high is None else f"{one.low:g} to {one.high:g} px"
        share = f"{100 * one.reached / one.objects:.1f} % of {one.objects}" if one.objects else "no objects"
        lines.append(f"  {one.label} ({sides}): {share}")
    return lines
