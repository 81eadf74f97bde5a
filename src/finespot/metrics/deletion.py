"""What ignore regions without a class delete before anything is matched, as the tools of VisDrone and UAVDT do it.

VisDrone deletes truths and detections of which half or more is covered. Its toolkit paints the regions on a map of
whole pixels and reads sums from an integral image; here the same sums come from the few edges of the regions, so that
no map is made. Kept as they are: coordinates count from 0 and are used as if from 1, a box's window starts one pixel
after its corner, and what is cut off at the picture's border still counts in its area.

UAVDT deletes detections that lie strictly inside one region on all four sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.boxes.ranges import range_pairs
from finespot.errors import FineSpotError
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_CHUNK = 200_000


def half_covered(truth: Truth, *columns: tuple[Rows, Floats]) -> list[Flags]:
    """Which boxes the regions of the truth cover by half or more: of each (pictures (N,), boxes (N, 4)) flags (N,).

    Raises
    ------
    FineSpotError
        There are regions, but the sizes of the pictures are not known.
    """
    covered = [np.zeros(len(image), bool) for image, _ in columns]
    regions = truth.regions
    if not len(regions):
        return covered
    if truth.sizes is None:
        raise FineSpotError(
            "expected the sizes of the pictures, in which ignore regions delete boxes, but the truth has none",
            hint="read the data set with its pictures, or give their sizes",
        )
    orders = [np.argsort(image, kind="stable") for image, _ in columns]
    pictures = np.unique(regions.image)
    spans = [np.searchsorted(image[order], [pictures, pictures + 1]) for (image, _), order in zip(columns, orders)]
    for number, picture in enumerate(pictures):
        height, width = truth.sizes[picture].tolist()
        painted = _Painted(regions.boxes[regions.image == picture], height, width)
        for (_, boxes), order, (start, end), flags in zip(columns, orders, spans, covered):
            rows = order[start[number] : end[number]]
            flags[rows] = painted.share(boxes[rows]) >= 0.5
    return covered


class _Painted:
    """The pixels that the regions of one picture cover, as a grid between their edges."""

    def __init__(self, regions: Floats, height: int, width: int) -> None:
        self.size = (height, width)
        # Pixel k lies between the edges k - 1 and k. A region of w pixels paints w + 1.
        x, y, w, h = np.maximum(regions, 1).T
        left, right = np.floor(x) - 1, np.minimum(np.floor(x + w), width)
        top, bottom = np.floor(y) - 1, np.minimum(np.floor(y + h), height)
        self.columns, self.rows = np.unique([left, right]), np.unique([top, bottom])
        x_inside = (left[:, None] <= self.columns[:-1]) & (self.columns[1:] <= right[:, None])
        y_inside = (top[:, None] <= self.rows[:-1]) & (self.rows[1:] <= bottom[:, None])
        self.painted = (y_inside[:, :, None] & x_inside[:, None, :]).any(axis=0).astype(np.float64)

    def share(self, boxes: Floats) -> Floats:
        """Painted pixels in each box's window, as a share of the whole box."""
        height, width = self.size
        # Halves are rounded away from zero; what is below 1 becomes 1 anyway.
        x, y, w, h = np.maximum(np.floor(boxes + 0.5), 1).T
        left, top = np.minimum(x, width), np.minimum(y, height)
        right, bottom = np.minimum(width, left + w), np.minimum(top + h, height)
        across = _lengths(left, right, self.columns)
        down = _lengths(top, bottom, self.rows)
        share: Floats = ((down @ self.painted) * across).sum(axis=1) / (w * h)
        return share


def _lengths(low: Floats, high: Floats, edges: Floats) -> Floats:
    """(N, E - 1) how much of each interval lies between two edges."""
    part = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    length: Floats = np.maximum(part, 0)
    return length


def strictly_inside(truth: Truth, results: Results) -> Flags:
    """Which detections lie inside a region of their picture without touching its border."""
    inside = np.zeros(len(results), bool)
    order = np.argsort(results.image, kind="stable")
    image = results.image[order]
    start = np.searchsorted(image, truth.regions.image, side="left")
    end = np.searchsorted(image, truth.regions.image, side="right")
    for region, position in range_pairs(start, end, _CHUNK):
        row = order[position]
        x, y, w, h = results.boxes[row].T
        left, top, width, height = truth.regions.boxes[region].T
        within = (x > left) & (y > top) & (x + w < left + width) & (y + h < top + height)
        inside[row[within]] = True
    return inside
