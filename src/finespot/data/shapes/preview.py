"""Shapes drawn over pictures, so that a person can look at them before training on them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.shapes.folder import Shapes, place
from finespot.images import to_rgb8
from finespot.writers import draw, write_atomic

FOLDER = "preview"
_TINT = np.array([255, 0, 200], np.float32)
_STRENGTH = 0.45


def draw_previews(dataset: Dataset, folder: Path, count: int) -> list[Path]:
    """Draw `count` pictures with objects, evenly spread over the data set, to `preview` in the folder of the shapes.

    Raises
    ------
    FineSpotError
        A shape file is missing or does not fit, a picture cannot be read, or a preview cannot be written.
    """
    shapes = Shapes(dataset, folder)
    with_objects = [index for index in range(len(dataset)) if not dataset.columns(index)[2].all()]
    count = min(count, len(with_objects))
    return [_draw_preview(dataset, shapes, with_objects[len(with_objects) * k // count]) for k in range(count)]


def tinted(pixels: NDArray[np.uint8], shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB pixels (h, w, 3), colored where the shape (h, w) is set."""
    colored: NDArray[np.uint8] = pixels.copy()
    inside = shape > 0
    colored[inside] = (1 - _STRENGTH) * pixels[inside] + _STRENGTH * _TINT
    return colored


def _draw_preview(dataset: Dataset, shapes: Shapes, index: int) -> Path:
    image = dataset.image(index)
    pixels = tinted(to_rgb8(image.read(None), image.bit_depth), shapes[index])
    stream = io.BytesIO()
    # Full color resolution, as other drawings: halved, shapes of a few pixels lose their color.
    drawn = draw(pixels, dataset.annotations(index), dataset.classes)
    PIL.Image.fromarray(drawn).save(stream, "JPEG", quality=92, subsampling=0)
    path = shapes.folder / FOLDER / f"{place(shapes.folder, dataset, index).stem}.jpg"
    return write_atomic(path, stream.getvalue(), sync=False)
