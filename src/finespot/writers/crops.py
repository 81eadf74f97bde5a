"""Every detected object cut out into a picture of its own, one folder a class.

For looking through what a detector found and for collecting material for a classifier.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot.errors import FineSpotError
from finespot.structures import Detections, Window
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.naming import Names

_FORMATS = {"jpg": ("JPEG", {"quality": 95, "subsampling": 0}), "png": ("PNG", {})}


class CropWriter:
    """`crops/<class>/<picture>_<n>.jpg`, n being the row of the detection.

    Parameters
    ----------
    margin:
        Pixels of surroundings kept on each side (an object of 6 px says little without them).
    extension:
        `jpg` (quality 95) or `png` (exact).
    """

    needs_pixels = True

    def __init__(self, margin: int = 0, extension: str = "jpg") -> None:
        if margin < 0:
            raise FineSpotError(f"expected a margin of 0 or more but got {margin}", where="margin")
        if extension not in _FORMATS:
            raise FineSpotError(f"expected jpg or png but got '{extension}'", where="extension")
        self.margin, self.extension = margin, extension

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder `crops`."""
        self._folder = make_folder(Path(folder) / "crops")
        self._names = names or Names()

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None) -> None:
        """Cut one picture's objects out."""
        if pixels is None:
            raise ValueError("CropWriter.write needs the picture's pixels")
        name = self._names.of(detections.source)
        kind, options = _FORMATS[self.extension]
        for row, (box, label) in enumerate(zip(detections.boxes.tolist(), detections.labels.tolist())):
            x1, y1, x2, y2 = _window(box, detections.size, self.margin)
            stream = io.BytesIO()
            Pillow.fromarray(np.ascontiguousarray(pixels[y1:y2, x1:x2])).save(stream, kind, **options)
            folder = self._folder / class_folder(detections.classes[label])
            write_atomic(folder / f"{name}_{row}.{self.extension}", stream.getvalue(), sync=False)

    def close(self) -> Path:
        """The folder of the class folders."""
        return self._folder


def _window(box: list[float], size: tuple[int, int], margin: int) -> Window:
    """The whole pixels that a box touches, with a margin, at least one pixel, inside the picture."""
    height, width = size
    x1, y1 = max(0, int(np.floor(box[0])) - margin), max(0, int(np.floor(box[1])) - margin)
    x2, y2 = min(width, int(np.ceil(box[2])) + margin), min(height, int(np.ceil(box[3])) + margin)
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def class_folder(name: str) -> str:
    """A class name as a folder name: what would lead elsewhere (separators, dots only) becomes an underscore."""
    plain = "".join("_" if c in '/\\:*?"<>|\0' else c for c in name).strip()
    return plain if plain.strip(".") else "_"
