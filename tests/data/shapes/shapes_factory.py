"""Pictures whose white pixels are their objects' shapes, and segmenters that see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
from memory_factory import Box, made

from finespot.data import Dataset
from finespot.data.painting import whole_pixels
from finespot.structures import Boxes, Size, Window

Objects = list[tuple[Box, int, bool]]
MODEL = "white"


class White:
    """Takes white pixels for the object; counts what it was asked."""

    def __init__(self, name: str = MODEL, fail_after: int | None = None) -> None:
        self.name, self.fail_after = name, fail_after
        self.pictures = 0
        self.prompts: list[tuple[float, ...]] = []

    def __call__(self, pixels: np.ndarray, boxes: Boxes) -> list[np.ndarray]:
        if self.fail_after is not None and self.pictures >= self.fail_after:
            raise KeyboardInterrupt
        self.pictures += 1
        self.prompts += [tuple(box) for box in boxes.tolist()]
        return [
            pixels[y1:y2, x1:x2, 0] >= 128 for x1, y1, x2, y2 in whole_pixels(boxes, (pixels.shape[0], pixels.shape[1]))
        ]


def painted(size: Size, objects: Objects) -> np.ndarray:
    """Black, with a white ellipse in the middle of each object, of two thirds of its sides."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    inside = np.zeros(size, bool)
    for (x1, y1, x2, y2), _, ignored in objects:
        if not ignored:
            a, b = (x2 - x1) / 3, (y2 - y1) / 3
            inside |= ((x - (x1 + x2) / 2) / a) ** 2 + ((y - (y1 + y2) / 2) / b) ** 2 <= 1
    return inside


def white_set(
    folder: Path, pictures: list[tuple[Size, Objects]], windows: list[Window | None] | None = None
) -> Dataset:
    """A data set of such pictures; with windows, the pictures are parts of one file of 200 x 300."""
    folder.mkdir(parents=True, exist_ok=True)
    dataset = made(pictures, windows)
    for index, (size, objects) in enumerate(pictures):
        file = folder / f"{index}.png"
        if windows is not None and (window := windows[index]) is not None:
            pixels = np.zeros((200, 300), bool)
            pixels[window[1] : window[3], window[0] : window[2]] = painted(size, objects)
        else:
            pixels = painted(size, objects)
        PIL.Image.fromarray(pixels.astype(np.uint8) * 255).save(file)
        dataset._paths[index] = str(file)
    return dataset


def many(count: int, size: Size = (120, 160), seed: int = 0) -> list[tuple[Size, Objects]]:
    """Pictures with three objects of 12 to 30 pixels and an ignore region each."""
    rng = np.random.default_rng(seed)
    pictures: list[tuple[Size, Objects]] = []
    for _ in range(count):
        objects: Objects = []
        for k in range(4):
            w, h = rng.uniform(12, 30, 2)
            x, y = rng.uniform(0, size[1] / 2 - w) + (k % 2) * size[1] / 2, rng.uniform(0, size[0] / 2 - h)
            y += (k // 2) * size[0] / 2
            objects.append(((float(x), float(y), float(x + w), float(y + h)), k % 2, k == 3))
        pictures.append((size, objects))
    return pictures
