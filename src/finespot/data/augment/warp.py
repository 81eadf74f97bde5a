"""Draw source pictures on the canvas of a training picture, each through a 3 x 3 matrix of its own.

Mosaic and affine warp are one step here: each source is resampled once, straight to where it ends up. Without
rotation, shear and perspective that is a box-to-rectangle resize with antialiasing; otherwise the source is first
shrunk with antialiasing to its final scale and then warped bilinearly, so that shrinking never skips pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from finespot.data.augment.parts import Matrix, Part
from finespot.data.pictures import Picture
from finespot.images import PADDING, resample
from finespot.structures import Size

Rect = tuple[int, int, int, int]

_ROUNDING = 1e-6


def scaling(x: float, y: float, left: float, top: float) -> Matrix:
    """The matrix that scales by (x, y), then moves by (left, top)."""
    return np.array([[x, 0, left], [0, y, top], [0, 0, 1]], np.float64)


def is_upright(matrix: Matrix) -> bool:
    """Whether a matrix only scales and moves."""
    return bool(matrix[0, 1] == matrix[1, 0] == matrix[2, 0] == matrix[2, 1] == 0 and matrix[0, 0] > 0)


def render(parts: Sequence[Part], size: Size, fill: int = PADDING) -> NDArray[np.uint8]:
    """A canvas (height, width, 1 or 3) of gray `fill` with the parts drawn on it; one channel if all have one."""
    channels = max(part.picture.pixels.shape[2] for part in parts)
    canvas = np.full((*size, channels), fill, np.uint8)
    for part in parts:
        if is_upright(part.matrix):
            rect = covered(part.size, part.matrix, size)
            if rect[0] < rect[2] and rect[1] < rect[3]:
                canvas[rect[1] : rect[3], rect[0] : rect[2]] = patch(part.picture, part.size, part.matrix, rect)
        else:
            _draw_warped(canvas, part)
    return canvas


def shape_part(part: Part) -> Part | None:
    """The shape of a part as a part of its own, which goes where the picture goes; None where it has none."""
    picture = part.picture
    return None if picture.shape is None else replace(part, picture=Picture(picture.shape, picture.factor))


def covered(source: Size, matrix: Matrix, size: Size) -> Rect:
    """The canvas pixels (x1, y1, x2, y2) that an upright source covers entirely."""
    (sx, _, left), (_, sy, top), _ = matrix
    return (
        max(0, math.ceil(left - _ROUNDING)),
        max(0, math.ceil(top - _ROUNDING)),
        min(size[1], math.floor(left + sx * source[1] + _ROUNDING)),
        min(size[0], math.floor(top + sy * source[0] + _ROUNDING)),
    )


def patch(picture: Picture, source: Size, matrix: Matrix, rect: Rect) -> NDArray[np.uint8]:
    """What an upright matrix puts on the canvas pixels `rect`, which the source must cover."""
    (sx, _, left), (_, sy, top), _ = matrix
    x1, y1, x2, y2 = rect
    factor = picture.factor
    width, height = source[1] / factor, source[0] / factor
    box = (
        min(max((x1 - left) / sx / factor, 0.0), width),
        min(max((y1 - top) / sy / factor, 0.0), height),
        min(max((x2 - left) / sx / factor, 0.0), width),
        min(max((y2 - top) / sy / factor, 0.0), height),
    )
    return resample(picture.pixels, (y2 - y1, x2 - x1), box)


def _draw_warped(canvas: NDArray[np.uint8], part: Part) -> None:
    height, width = part.size
    outline = project(part.matrix, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64))
    x1, y1 = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(outline.max(axis=0)).astype(int), (canvas.shape[1], canvas.shape[0]))
    if x1 >= x2 or y1 >= y2:
        return
    pixels, matrix = _shrunk(part)
    inverse = np.linalg.inv(scaling(1, 1, -x1, -y1) @ matrix)
    inverse /= inverse[2, 2]
    flat = inverse[2, 0] == inverse[2, 1] == 0
    method = PIL.Image.Transform.AFFINE if flat else PIL.Image.Transform.PERSPECTIVE
    data = tuple(inverse.ravel()[: 6 if flat else 8])
    target = (int(x2 - x1), int(y2 - y1))
    source = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    inside = PIL.Image.new("L", source.size, 255).transform(target, method, data, PIL.Image.Resampling.NEAREST)
    warped = np.asarray(source.transform(target, method, data, PIL.Image.Resampling.BILINEAR))
    region = canvas[y1:y2, x1:x2]
    mask = np.asarray(inside)[..., None] > 0
    np.copyto(region, warped[..., None] if warped.ndim == 2 else warped, where=mask)


def _shrunk(part: Part) -> tuple[NDArray[np.uint8], Matrix]:
    """The source at its final scale where that is smaller, and the matrix from there to the canvas."""
    height, width = part.size
    center = np.array([[width / 2, height / 2]])
    across = [project(part.matrix, center + step) - project(part.matrix, center) for step in ((1, 0), (0, 1))]
    scale = math.sqrt(abs(float(np.linalg.det(np.concatenate(across)))))
    factor, pixels = part.picture.factor, part.picture.pixels
    if scale * factor >= 1:
        return pixels, part.matrix @ scaling(factor, factor, 0, 0)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    box = (0.0, 0.0, width / factor, height / factor)
    return resample(pixels, size, box), part.matrix @ scaling(width / size[1], height / size[0], 0, 0)


def project(matrix: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2) through a 3 x 3 matrix."""
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    flat: NDArray[np.float64] = homogeneous[:, :2] / homogeneous[:, 2:]
    return flat
