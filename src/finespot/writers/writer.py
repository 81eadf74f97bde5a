"""What a writer of detections does, whatever it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from finespot.structures import Detections
from finespot.writers.naming import Names


class Writer(Protocol):
    """Takes the detections of one picture after the other and leaves files in a folder.

    `needs_pixels` says whether `write` uses the picture's pixels (uint8 RGB (H, W, 3)) or may be given None.
    """

    needs_pixels: bool

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the output folder; `names` shared between writers gives a picture one name in all of them."""

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None) -> None:
        """Take the detections of one picture."""

    def close(self) -> Path:
        """Finish; returns the file or folder that was written."""
