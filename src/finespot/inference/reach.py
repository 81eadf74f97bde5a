"""What a seeker reaches on labelled pictures, and the threshold with which it reaches nearly all of it.

An object is reached where a cell that its box touches, or that is no further away than `MARGIN`, is hot: tiles show
that much and more around hot cells. Ignore regions are no objects; what is hot there costs as everywhere.
"""

from __future__ import annotations

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
from finespot.structures import Boxes, Size
from finespot.weights import SeekerCalibration, SizeReach

if TYPE_CHECKING:
    from finespot.data import Dataset

# Whose sizes objects are counted by.
SIZES = "ai-tod"
# Pixels of the picture. A tile of 640 with the usual overlap shows 64 around a hot cell, one of 320 shows 32.
MARGIN = 32


@dataclass(frozen=True)
class Reach:
    """The heat of labelled pictures.

    Attributes
    ----------
    scores:
        (N,) float32, of each object the greatest heat among the cells that its box, with the margin, touches.
    sides:
        (N,) float64, the root of each object's area in pixels of its picture.
    cells:
        Of each picture the heat of its cells, rising.
    """

    scores: NDArray[np.float32]
    sides: NDArray[np.float64]
    cells: list[NDArray[np.float32]]

    def recall(self, threshold: float) -> float:
        """The share of the objects that are reached."""
        return float((self.scores >= np.float32(threshold)).mean())

    def hot(self, threshold: float) -> float:
        """The mean share of a picture's area that is hot."""
        least = np.float32(threshold)
        return float(np.mean([1 - np.searchsorted(cells, least) / len(cells) for cells in self.cells]))

    def by_size(self, threshold: float) -> list[SizeReach]:
        """How many objects are reached, by the sizes of AI-TOD."""
        reached = self.scores >= np.float32(threshold)
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


def measure_reach(seeker: Seeker, dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> Reach:
    """Look at all pictures of a data set; `progress` is called with (pictures done, pictures in all).

    Raises
    ------
    FineSpotError
        A picture cannot be read, or there is no object.
    """
    refuse_empty(dataset)
    scores: list[NDArray[np.float32]] = []
    sides: list[NDArray[np.float64]] = []
    cells: list[NDArray[np.float32]] = []
    for number in range(len(dataset)):
        heat = seeker.heat(read_rgb(dataset.image(number)))
        boxes, _, ignore = dataset.columns(number)
        boxes = boxes[~ignore]
        scores.append(object_heat(heat, boxes, dataset.size(number), MARGIN))
        sides.append(np.sqrt((boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(1)))
        cells.append(np.sort(heat, axis=None))
        if progress is not None:
            progress(number + 1, len(dataset))
    return Reach(np.concatenate(scores), np.concatenate(sides), cells)


def refuse_empty(dataset: Dataset) -> None:
    """Raise FineSpotError where a data set has no object."""
    if not (~dataset.rows.ignore).any():
        raise FineSpotError("there is no object to choose a threshold by", where=f"{dataset.name} {dataset.split}")


def calibrate_seeker(
    seeker: Seeker,
    dataset: Dataset,
    recall: float = 0.99,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> SeekerCalibration:
    """The highest threshold with which at least the share `recall`, above 0 to 1, of the objects is reached.

    Raises
    ------
    FineSpotError
        `recall` is out of range, a picture cannot be read, or there is no object.
    """
    if not 0 < recall <= 1:
        raise FineSpotError(f"expected a share above 0 and up to 1 but got {recall}", where="recall")
    found = measure_reach(seeker, dataset, progress)
    threshold = highest_threshold(found.scores, recall)
    return SeekerCalibration(
        threshold=threshold,
        target=recall,
        margin=MARGIN,
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
    lines = [
        f"threshold {found.threshold:.4g}: {100 * found.recall:.1f} % of {found.objects} objects are reached "
        f"({100 * found.lost:.1f} % lost), {100 * found.hot:.1f} % of the area is hot "
        f"({found.data} {found.split}, {found.pictures} pictures)"
    ]
    for one in found.sizes:
        sides = f"{one.low:g} px and more" if one.high is None else f"{one.low:g} to {one.high:g} px"
        share = f"{100 * one.reached / one.objects:.1f} % of {one.objects}" if one.objects else "no objects"
        lines.append(f"  {one.label} ({sides}): {share}")
    return lines
