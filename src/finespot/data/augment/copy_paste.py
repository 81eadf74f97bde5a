"""Copy-paste of small objects (Kisantal et al., Augmentation for small object detection, 2019), from boxes.

Crops of small objects of another picture are pasted at random free places, at the scale that picture would have.
Differs from the paper, which has masks: the crop is the box with a rim of two pixels, over which it fades into its new
surroundings. Objects at the edge of their picture (cut off, maybe) and objects whose crop would show part of another
are not taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.parts import Part, Truth
from finespot.data.augment.warp import covered, patch, scaling, shape_part
from finespot.structures import Size

# Small as COCO means it: below 32 x 32 pixels, here at the network's scale.
SMALL_PX = 32.0
RIM_PX = 2
MAX_PASTES = 8
_TRIES = 10


class Pasted(NamedTuple):
    """The canvas, its truth, how many objects were pasted, and the shapes on the canvas where there are any."""

    canvas: NDArray[np.uint8]
    truth: Truth
    pasted: int
    shape: NDArray[np.uint8] | None = None


def paste_small(
    canvas: NDArray[np.uint8],
    truth: Truth,
    donor: Part,
    scale: float,
    rng: np.random.Generator,
    shape: NDArray[np.uint8] | None = None,
) -> Pasted:
    """Paste 1 to `MAX_PASTES` small objects of `donor`; its matrix is not used, `scale` is canvas px per donor px.

    What is passed in stays as it is. No pasted box touches another box or ignore region. `shape` (h, w, 1) holds the
    shapes of the canvas's objects; those of pasted ones come from the donor.
    """
    rows = _candidates(donor, scale)
    if not len(rows):
        return Pasted(canvas, truth, 0, shape)
    channels = max(canvas.shape[2], donor.picture.pixels.shape[2])
    canvas = np.repeat(canvas, channels // canvas.shape[2], axis=2)
    shape_donor = None if shape is None else shape_part(donor)
    shape = None if shape is None else shape.copy()
    size = (canvas.shape[0], canvas.shape[1])
    count = 0
    for row in rng.choice(rows, int(rng.integers(1, MAX_PASTES + 1))):
        box = donor.truth.boxes[row] * scale
        place = _free_place(truth.boxes, box, size, rng)
        if place is None:
            continue
        moved = box + np.array([*place, *place])
        _paste(canvas, donor, scale, place, moved)
        if shape is not None and shape_donor is not None:
            _paste(shape, shape_donor, scale, place, moved)
        label = donor.truth.labels[row]
        truth = truth.joined(Truth(moved[None], np.array([label]), np.array([False])))
        count += 1
    return Pasted(canvas, truth, count, shape)


def _candidates(donor: Part, scale: float) -> NDArray[np.int64]:
    """Rows of small objects whose crop shows nothing of another."""
    boxes = donor.truth.boxes
    sides = (boxes[:, 2:] - boxes[:, :2]) * scale
    small = ~donor.truth.ignore & (np.sqrt(sides.prod(axis=1)) < SMALL_PX)
    rim = RIM_PX / scale
    edge = np.array([donor.size[1], donor.size[0]])
    small &= ((boxes[:, :2] > 0) & (boxes[:, 2:] < edge)).all(axis=1)
    alone = [
        not _touches(np.delete(boxes, row, axis=0), boxes[row] + rim * np.array([-1, -1, 1, 1]))
        for row in np.flatnonzero(small)
    ]
    rows: NDArray[np.int64] = np.flatnonzero(small)[np.array(alone, bool)]
    return rows


def _free_place(
    taken: NDArray[np.float64], box: NDArray[np.float64], size: Size, rng: np.random.Generator
) -> tuple[float, float] | None:
    """A random shift (x, y) of the box to a place on the canvas where no other box is."""
    space = np.array([size[1], size[0]]) - (box[2:] - box[:2]) - 2 * RIM_PX
    if space.min() <= 0:
        return None
    for _ in range(_TRIES):
        shift = RIM_PX + rng.uniform(0, 1, 2) * space - box[:2]
        moved = box + np.concatenate([shift, shift])
        if not _touches(taken, moved + RIM_PX * np.array([-1, -1, 1, 1])):
            return float(shift[0]), float(shift[1])
    return None


def _touches(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> bool:
    apart = (boxes[:, 0] >= box[2]) | (boxes[:, 2] <= box[0]) | (boxes[:, 1] >= box[3]) | (boxes[:, 3] <= box[1])
    return not bool(apart.all())


def _paste(
    canvas: NDArray[np.uint8], donor: Part, scale: float, shift: tuple[float, float], box: NDArray[np.float64]
) -> None:
    matrix = scaling(scale, scale, *shift)
    cx1, cy1, cx2, cy2 = covered(donor.size, matrix, (canvas.shape[0], canvas.shape[1]))
    x1, y1 = max(cx1, int(np.floor(box[0])) - RIM_PX), max(cy1, int(np.floor(box[1])) - RIM_PX)
    x2, y2 = min(cx2, int(np.ceil(box[2])) + RIM_PX), min(cy2, int(np.ceil(box[3])) + RIM_PX)
    if x1 >= x2 or y1 >= y2:
        return
    crop = patch(donor.picture, donor.size, matrix, (x1, y1, x2, y2)).astype(np.float32)
    weight = np.outer(_fade(y1, y2, box[1], box[3]), _fade(x1, x2, box[0], box[2]))[..., None]
    region = canvas[y1:y2, x1:x2]
    region[...] = (weight * crop + (1 - weight) * region + 0.5).astype(np.uint8)


def _fade(start: int, end: int, low: float, high: float) -> NDArray[np.float32]:
    """1 inside low..high, falling to 0 over the rim."""
    centers = np.arange(start, end) + 0.5
    outside = np.maximum(np.maximum(low - centers, centers - high), 0)
    weights: NDArray[np.float32] = np.maximum(1 - outside / (RIM_PX + 1), 0).astype(np.float32)
    return weights
