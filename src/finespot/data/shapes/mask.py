"""From the masks of objects to that of their picture; what is no plausible mask becomes the whole box.

The rule is that of the data preparation of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP
34, 2025): a segmenter that took the ground, a shadow or a neighbor for the object gives a mask that lies aside or in
pieces. Such an object keeps its whole box, and with it the whole ellipse in the heat map.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finespot.data.painting import whole_pixels
from finespot.structures import Boxes, Size, Window

Mask = NDArray[np.bool_]

# How far the mask's centroid may lie from the box's center, as a share of the box's side.
MAX_OFFSET = 0.15


def join(size: Size, boxes: Boxes, masks: Sequence[Mask]) -> tuple[Mask, int]:
    """The mask of a picture of `size` from those of its objects, and how many of them were not plausible.

    Parameters
    ----------
    boxes:
        (n, 4) xyxy in pixels.
    masks:
        One for each box, of the pixels that it touches (`whole_pixels`).
    """
    joined = np.zeros(size, np.bool_)
    whole = 0
    for box, window, mask in zip(boxes.astype(np.float64), whole_pixels(boxes, size), masks, strict=True):
        x1, y1, x2, y2 = window
        if mask.shape != (y2 - y1, x2 - x1):
            raise ValueError(f"expected a mask of shape {(y2 - y1, x2 - x1)} but got {mask.shape}")
        kept = is_plausible(mask, box, window)
        whole += not kept
        joined[y1:y2, x1:x2] |= mask if kept else True
    return joined, whole


def is_plausible(mask: Mask, box: NDArray[np.float64], window: Window) -> bool:
    """Whether a mask lies around the center of its box and is of one piece, seen along rows and columns."""
    for axis, low in ((0, window[0]), (1, window[1])):
        profile = mask.sum(axis=axis)
        filled = np.flatnonzero(profile)
        if not len(filled) or len(filled) != filled[-1] - filled[0] + 1:
            return False
        centroid = low + 0.5 + float(profile @ np.arange(len(profile))) / float(profile.sum())
        center, side = (box[axis] + box[axis + 2]) / 2, box[axis + 2] - box[axis]
        if abs(centroid - center) > MAX_OFFSET * side:
            return False
    return True
