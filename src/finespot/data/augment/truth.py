"""Boxes follow the pixels: through the warp of their picture, then cut at the canvas.

No box is dropped for its size in pixels. An object of which less than `MIN_VISIBLE` of the warped box is left on the
canvas is no fair target any more, but no background either: its visible part becomes an ignore region of its class
and is counted as `mostly_outside`. Ignore regions stay ignore regions however little of them is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.parts import Matrix, Part, Truth
from finespot.data.augment.warp import is_upright, project
from finespot.structures import Size

# The share of a warped box that must be on the canvas for it to stay a target; the usual value, there taken against
# the box before cutting at the mosaic's own border as well.
MIN_VISIBLE = 0.1


def warp_truth(parts: Sequence[Part], size: Size, drop_small: float, dropped: Counter[str]) -> Truth:
    """The truth of all parts on the canvas; what is no target any more is counted in `dropped`.

    `drop_small` (pixels of the source picture) turns objects whose shorter side is below it into ignore regions,
    counted as `small`.
    """
    source, labels, ignore = parts[0].truth.joined(*(part.truth for part in parts[1:]))
    warped = np.concatenate([warp_boxes(part.truth.boxes, part.matrix) for part in parts])
    cut = np.minimum(np.maximum(warped, 0.0), np.array([size[1], size[0]] * 2, np.float64))
    seen, whole = _areas(cut), _areas(warped)
    target = ~ignore & (seen > 0)
    outside = target & (seen < MIN_VISIBLE * whole)
    small = target & ~outside & (np.minimum(source[:, 2] - source[:, 0], source[:, 3] - source[:, 1]) < drop_small)
    for reason, rows in (("mostly_outside", outside), ("small", small)):
        if count := int(np.count_nonzero(rows)):
            dropped[reason] += count
    return Truth(cut, labels, ignore | outside | small).select(seen > 0)


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def warp_boxes(boxes: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Boxes (n, 4) through a matrix: the envelopes of their warped corners."""
    if is_upright(matrix):
        return boxes * np.diag(matrix)[[0, 1, 0, 1]] + matrix[[0, 1, 0, 1], 2]
    corners = project(matrix, boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
