"""Mosaic: four pictures around a random center (Bochkovskiy et al., YOLOv4, 2020, section 3.4).

On a canvas of twice the output, the center is drawn from the middle half; the first picture touches it with its lower
right corner, then upper right, lower left and lower right quadrant follow. Differs: pictures are not cut at the
canvas's border, so a shrunk mosaic shows picture where others show gray.
"""

from __future__ import annotations

import numpy as np

from finespot.data.augment.parts import Matrix
from finespot.data.augment.warp import is_upright, project, scaling
from finespot.structures import Size


def mosaic_center(imgsz: int, rng: np.random.Generator) -> tuple[float, float]:
    """A random center (x, y) on the canvas of 2 imgsz x 2 imgsz."""
    x, y = rng.uniform(0.5 * imgsz, 1.5 * imgsz, 2)
    return float(x), float(y)


def mosaic_matrices(sizes: list[Size], imgsz: int, center: tuple[float, float]) -> list[Matrix]:
    """From each of the four sources (longer side scaled to `imgsz`) to the mosaic canvas."""
    matrices = []
    for quadrant, (height, width) in enumerate(sizes):
        ratio = imgsz / max(height, width)
        left = center[0] - (ratio * width if quadrant in (0, 2) else 0)
        top = center[1] - (ratio * height if quadrant in (0, 1) else 0)
        matrices.append(scaling(ratio, ratio, left, top))
    return matrices


def on_whole_pixel(matrix: Matrix, center: tuple[float, float]) -> Matrix:
    """The matrix, moved by less than a pixel so that the center falls between pixels: no seam of mixed pixels."""
    if not is_upright(matrix):
        return matrix
    x, y = project(matrix, np.array([center]))[0]
    return scaling(1, 1, round(x) - x, round(y) - y) @ matrix
