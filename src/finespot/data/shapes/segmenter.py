"""What makes masks of objects from a picture and the boxes around them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from finespot.structures import Boxes


class Segmenter(Protocol):
    """A promptable segmenter; `name` goes into the files that it makes."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def __call__(self, pixels: NDArray[np.uint8], boxes: Boxes) -> list[NDArray[np.bool_]]:
        """The masks of the objects in boxes (n, 4) xyxy in pixels, each over the pixels that its box touches.

        `pixels` are RGB (height, width, 3); `finespot.data.painting.whole_pixels` says which pixels a box touches.
        """
        ...
