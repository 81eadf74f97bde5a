"""What augmentation works with: truth as plain columns, and source pictures on their way to the canvas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.data.pictures import Picture
from finespot.structures import Annotations, Size

Matrix = NDArray[np.float64]


class Truth(NamedTuple):
    """Boxes (n, 4) float64 in pixels, labels (n,) int64, ignore (n,) bool; unchecked, unlike `Annotations`."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]

    def joined(self, *others: Truth) -> Truth:
        """The rows of all, in order."""
        return Truth(*(np.concatenate(columns) for columns in zip(self, *others)))

    def select(self, keep: NDArray[np.bool_]) -> Truth:
        """The rows that the mask names."""
        return Truth(self.boxes[keep], self.labels[keep], self.ignore[keep])

    def flipped(self, size: Size, left_right: bool, up_down: bool) -> Truth:
        """Mirrored with a canvas of `size`."""
        boxes = self.boxes
        if left_right:
            boxes = np.stack([size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]], axis=1)
        if up_down:
            boxes = np.stack([boxes[:, 0], size[0] - boxes[:, 3], boxes[:, 2], size[0] - boxes[:, 1]], axis=1)
        return self._replace(boxes=boxes)

    def annotations(self, size: Size, source: str) -> Annotations:
        """As the picture's checked truth."""
        return Annotations(self.boxes.astype(np.float32), self.labels, size, self.ignore, source=source)


class Canvas(NamedTuple):
    """A training picture on its way: pixels (h, w, 1 or 3) and, where objects have shapes, those (h, w, 1), uint8.

    A shape is 255 where a pixel belongs to an object with all of it.
    """

    pixels: NDArray[np.uint8]
    shape: NDArray[np.uint8] | None

    def flipped(self, left_right: bool, up_down: bool) -> Canvas:
        """Mirrored."""
        rows, columns = slice(None, None, -1 if up_down else 1), slice(None, None, -1 if left_right else 1)
        return Canvas(self.pixels[rows, columns], None if self.shape is None else self.shape[rows, columns])


@dataclass(frozen=True)
class Part:
    """One source picture of `size` (height, width) with its truth, and the 3 x 3 matrix from there to the canvas.

    Coordinates are continuous (pixel c covers c to c + 1); the decoded pixels may be reduced, size and truth are not.
    """

    picture: Picture
    size: Size
    truth: Truth
    matrix: Matrix
