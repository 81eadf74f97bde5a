"""Place a whole picture in a network input: scaled without distortion, centered, the rest filled with gray 114.

Sizes and padding as the common YOLO letterbox (new size rounded, an odd rest puts the smaller half on top and left).
Differs: the placement keeps the scale of each axis after rounding, so boxes map back without a systematic error, and
shrinking is antialiased.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images.resize import resize
from finespot.structures import Placement, Size

PADDING = 114


def fit_size(size: Size, imgsz: int, stride: int) -> Size:
    """The network input (height, width) of a picture whose longer side becomes `imgsz`, rounded up to the stride.

    A 512 x 640 picture at 640 and stride 32 gives (512, 640). `imgsz` itself should be a multiple of the stride:
    otherwise the input is larger than `imgsz`, and so is the picture that `letterbox` places in it.
    """
    height, width = size
    if min(height, width, imgsz, stride) < 1:
        raise FineSpotError(f"expected sizes of 1 or more but got {height}x{width}, imgsz {imgsz}, stride {stride}")
    ratio = imgsz / max(height, width)
    return _up(round(height * ratio), stride), _up(round(width * ratio), stride)


def letterbox(
    pixels: NDArray[np.uint8], size: Size, fill: int = PADDING, enlarge: bool = True, corner: bool = False
) -> tuple[NDArray[np.uint8], Placement]:
    """Place uint8 pixels (h, w, channels) in an input of `size` (height, width); channels stay as they are.

    `enlarge` False leaves pictures that are smaller than the input at their size; `corner` puts the picture top left
    instead of in the middle. A picture that fits exactly is
    returned itself, not a copy.
    """
    height, width = pixels.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    if not enlarge:
        ratio = min(ratio, 1.0)
    inner = (min(size[0], max(1, round(height * ratio))), min(size[1], max(1, round(width * ratio))))
    top, left = (0, 0) if corner else ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
    placement = Placement(
        scale=(inner[0] / height, inner[1] / width), offset=(float(top), float(left)), size=(height, width)
    )
    placed = resize(pixels, inner)
    if inner == tuple(size):
        return placed, placement
    padded = np.full((*size, pixels.shape[2]), fill, np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = placed
    return padded, placement


def _up(side: int, stride: int) -> int:
    return max(1, math.ceil(side / stride)) * stride
