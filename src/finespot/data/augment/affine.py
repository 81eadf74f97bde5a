"""Random affine and perspective warp about the center, as the YOLO family draws it.

matrix = move to the output, x shear, x rotation and scale, x perspective, x move of the source's center to 0.
"""

from __future__ import annotations

import math

import numpy as np

from finespot.data.augment.parts import Matrix
from finespot.data.augment.settings import Augment
from finespot.data.augment.warp import scaling
from finespot.structures import Size


def random_affine(augment: Augment, source: tuple[float, float], size: Size, rng: np.random.Generator) -> Matrix:
    """A matrix from a canvas of `source` (height, width) to the output of `size`.

    Always draws the same number of values, so that one setting does not change what another draws.
    """
    draw = rng.uniform(-1.0, 1.0, 8)
    angle = math.radians(augment.degrees * draw[0])
    scale = 1.0 + augment.scale * draw[1]
    to_center = scaling(1, 1, -source[1] / 2, -source[0] / 2)
    perspective = np.eye(3)
    perspective[2, :2] = augment.perspective * draw[2:4]
    rotation = np.eye(3)
    if augment.degrees:
        rotation[:2, :2] = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    rotation[:2, :2] *= scale
    shear = np.eye(3)
    shear[0, 1], shear[1, 0] = (math.tan(math.radians(augment.shear * value)) for value in draw[4:6])
    shift = 0.5 + augment.translate * draw[6:8]
    to_output = scaling(1, 1, shift[0] * size[1], shift[1] * size[0])
    matrix: Matrix = to_output @ shear @ rotation @ perspective @ to_center
    return matrix
