"""Box forms: corners (x1, y1, x2, y2), corner and size (x, y, w, h), center and size (cx, cy, w, h).

All functions take arrays of shape (..., 4) and return a new array of that shape. Floating types are kept (float64
stays float64, as evaluation needs); integers become float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.structures import Size


def xywh_to_xyxy(boxes: ArrayLike) -> NDArray[Any]:
    """(x, y, w, h) to corners."""
    first, second = _halves(boxes)
    return np.concatenate([first, first + second], axis=-1)


def xyxy_to_xywh(boxes: ArrayLike) -> NDArray[Any]:
    """Corners to (x, y, w, h)."""
    first, second = _halves(boxes)
    return np.concatenate([first, second - first], axis=-1)


def cxcywh_to_xyxy(boxes: ArrayLike) -> NDArray[Any]:
    """(cx, cy, w, h) to corners."""
    first, second = _halves(boxes)
    half = second / 2
    return np.concatenate([first - half, first + half], axis=-1)


def xyxy_to_cxcywh(boxes: ArrayLike) -> NDArray[Any]:
    """Corners to (cx, cy, w, h)."""
    first, second = _halves(boxes)
    return np.concatenate([(first + second) / 2, second - first], axis=-1)


def clip(boxes: ArrayLike, size: Size) -> NDArray[Any]:
    """Corners moved into a picture of `size` (height, width); a box outside becomes one of zero width or height."""
    array = _floating(boxes)
    height, width = size
    high = np.array([width, height, width, height], array.dtype)
    return np.asarray(np.clip(array, np.zeros(4, array.dtype), high))


def _halves(boxes: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    array = _floating(boxes)
    return array[..., :2], array[..., 2:]


def _floating(boxes: ArrayLike) -> NDArray[Any]:
    array = np.asarray(boxes)
    if array.size == 0 and array.shape[-1:] != (4,):
        array = array.reshape(0, 4)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise ValueError(f"expected boxes of shape (..., 4) but got {array.shape}")
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
