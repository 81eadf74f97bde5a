"""Parts of pictures at a size to look at: whole and small, or magnified by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.images import resample
from finespot.structures import Boxes, Size, Window

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """Pixels (H, W, 3) of a `window` of a picture, scaled by (x, y)."""

    pixels: Pixels
    window: Window
    scale: tuple[float, float]

    def boxes(self, boxes: ArrayLike) -> Boxes:
        """Boxes (N, 4), xyxy, of the picture in pixels of the view, not clipped."""
        given = np.asarray(boxes, np.float64).reshape(-1, 4)
        placed: Boxes = ((given - np.array(self.window[:2] * 2)) * np.array(self.scale * 2)).astype(np.float32)
        return placed


def view(pixels: Pixels, window: Window | None, longest: int, most: int = 1) -> View:
    """A window of a picture (all of it for None), its longer side brought to `longest` pixels.

    A smaller window is magnified by a whole number, at most `most`, so that a pixel stays a square.
    """
    x1, y1, x2, y2 = window or (0, 0, pixels.shape[1], pixels.shape[0])
    part = pixels[y1:y2, x1:x2]
    high, wide = part.shape[:2]
    times = longest / max(high, wide)
    if times >= 1:
        whole = min(int(times), most)
        return View(part.repeat(whole, 0).repeat(whole, 1), (x1, y1, x2, y2), (whole, whole))
    size = (max(1, round(high * times)), max(1, round(wide * times)))
    shrunk = resample(part, size, (0.0, 0.0, float(wide), float(high)))
    return View(shrunk, (x1, y1, x2, y2), (size[1] / wide, size[0] / high))


def window_around(center: tuple[float, float], side: int, size: Size) -> Window:
    """The window of `side` pixels around a center (x, y), moved and cut to lie in a picture of `size`."""
    height, width = size
    left, top = (min(max(0, int(at - side / 2)), max(0, end - side)) for at, end in zip(center, (width, height)))
    return left, top, min(width, left + side), min(height, top + side)
