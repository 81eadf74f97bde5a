"""Boxes follow the pixels: through the warp of their picture, then cut at the canvas.

No box is dropped for its size in pixels. An object of which less than `MIN_VISIBLE` of the warped box is left on the
canvas is no fair target any more, but no background either: its visible part becomes an ignore region of its class
and is counted as `mostly_outside`. Ignore regions stay ignore regions however little of them is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.warp import Matrix, Part, is_upright, project
from finespot.structures import Annotations, Size

# The share of a warped box that must be on the canvas for it to stay a target; the usual value, there taken against
# the box before cutting at the mosaic's own border as well.
MIN_VISIBLE = 0.1


class Truth(NamedTuple):
    """Boxes (n, 4) float64 in canvas pixels, labels (n,) int64, ignore (n,) bool."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]

    def joined(self, *others: Truth) -> Truth:
        """The rows of all, in order."""
        return Truth(*(np.concatenate(columns) for columns in zip(self, *others)))

    def flipped(self, size: Size, left_right: bool, up_down: bool) -> Truth:
        """Mirrored with a canvas of `size`."""
        boxes = self.boxes
        if left_right:
            boxes = np.stack([size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]], axis=1)
        if up_down:
            boxes = np.stack([boxes[:, 0], size[0] - boxes[:, 3], boxes[:, 2], size[0] - boxes[:, 1]], axis=1)
        return self._replace(boxes=boxes)

    def annotations(self, size: Size, source: str) -> Annotations:
        """As the noun of the contracts."""
        return Annotations(self.boxes.astype(np.float32), self.labels, size, self.ignore, source=source)


def warp_truth(parts: Sequence[Part], size: Size, drop_small: float, dropped: Counter[str]) -> Truth:
    """The truth of all parts on the canvas; what stops being a target is counted in `dropped`.

    `drop_small` (pixels of the source picture) turns objects whose shorter side is below it into ignore regions,
    counted as `small`.
    """
    return _join([_warp_one(part, size, drop_small, dropped) for part in parts])


def _warp_one(part: Part, size: Size, drop_small: float, dropped: Counter[str]) -> Truth:
    source = part.truth.boxes.astype(np.float64)
    warped = warp_boxes(source, part.matrix)
    limits = np.array([size[1], size[0]] * 2, np.float64)
    cut = np.minimum(np.maximum(warped, 0.0), limits)
    seen = np.prod(cut[:, 2:] - cut[:, :2], axis=1)
    whole = np.prod(warped[:, 2:] - warped[:, :2], axis=1)
    ignore = part.truth.ignore.copy()
    target = ~ignore & (seen > 0)
    outside = target & (seen < MIN_VISIBLE * whole)
    small = target & ~outside & ((source[:, 2:] - source[:, :2]).min(axis=1) < drop_small)
    for reason, rows in (("mostly_outside", outside), ("small", small)):
        if count := int(rows.sum()):
            dropped[reason] += count
    ignore |= outside | small
    keep = seen > 0
    return Truth(cut[keep], part.truth.labels[keep], ignore[keep])


def warp_boxes(boxes: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Boxes (n, 4) through a matrix: the envelopes of their warped corners."""
    if is_upright(matrix):
        return boxes * np.diag(matrix)[[0, 1, 0, 1]] + matrix[[0, 1, 0, 1], 2]
    corners = project(matrix, boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _join(truths: Sequence[Truth]) -> Truth:
    return truths[0].joined(*truths[1:])
