"""Change hue, saturation and value, in the hexcone model (Smith, Color gamut transform pairs, SIGGRAPH 1978).

Saturation and value are multiplied and limited to their range, hue is moved around its circle. Differs from the usual
way through an HSV picture of 8 bits: nothing is rounded in between, hue needs no case distinction, and a
one-channel picture takes a table of 256 values, with the result that three equal channels would have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.settings import Augment

# Rows worked on together: their planes stay in a core's cache.
_ROWS = 32


def random_gains(augment: Augment, rng: np.random.Generator) -> tuple[float, float, float]:
    """(hue shift as share of the circle, factor of saturation, factor of value)."""
    draw = rng.uniform(-1.0, 1.0, 3)
    return augment.hsv_h * draw[0], 1 + augment.hsv_s * draw[1], 1 + augment.hsv_v * draw[2]


def adjust(pixels: NDArray[np.uint8], hue: float, saturation: float, value: float) -> NDArray[np.uint8]:
    """Pixels (h, w, 1 or 3) with hue moved by a share of the circle, saturation and value multiplied."""
    if pixels.shape[2] == 1:
        if value == 1:
            return pixels
        table = (np.minimum(np.arange(256, dtype=np.float32) * np.float32(value), 255) + 0.5).astype(np.uint8)
        return np.take(table, pixels)
    if (hue, saturation, value) == (0, 1, 1):
        return pixels
    changed = np.empty_like(pixels)
    for row in range(0, len(pixels), _ROWS):
        _adjust_rows(pixels[row : row + _ROWS], changed[row : row + _ROWS], hue * 6, saturation, value)
    return changed


def _adjust_rows(source: NDArray[np.uint8], target: NDArray[np.uint8], hue: float, gain: float, value: float) -> None:
    """With top = largest and low = smallest channel and chroma = top - low, a color is top - chroma * (1 - share)."""
    planes = [source[..., channel].astype(np.float32) for channel in range(3)]
    top = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    low = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    chroma = top - low
    if hue:
        for plane in planes:
            plane -= low  # now chroma * share
        while abs(hue) > 0:
            step = max(-1.0, min(1.0, hue))
            planes = _turned(planes, chroma, step)
            hue -= step
        deficits = [np.subtract(chroma, plane, out=plane) for plane in planes]
    else:
        deficits = [np.subtract(top, plane, out=plane) for plane in planes]
    bright = np.minimum(top * np.float32(value), np.float32(255))
    np.maximum(top, 1, out=top)
    np.maximum(chroma, 1, out=chroma)
    # New chroma by old chroma: saturation chroma / top times gain, but at most 1.
    ratio = np.minimum(np.float32(gain) / top, np.float32(1) / chroma)
    ratio *= bright
    bright += 0.5
    for channel, deficit in enumerate(deficits):
        deficit *= ratio
        np.subtract(bright, deficit, out=deficit)
        target[..., channel] = deficit


def _turned(planes: list[NDArray[np.float32]], chroma: NDArray[np.float32], step: float) -> list[NDArray[np.float32]]:
    """Hue moved by at most one sextant, in closed form.

    The share of a channel is a trapezoid over the hue circle (1 for two sextants, 0 for two). Of the three shares one
    is 1 and one is 0, and the share after a move by d in 0..1 comes out as own - next + (1 - d) + (2d - 1) previous,
    limited to 0..1, where next and previous are the neighbors in the order red, green, blue (reversed for d < 0).
    """
    d = np.float32(abs(step))
    ahead, behind = (1, 2) if step > 0 else (2, 1)
    rest = chroma * (1 - d)
    turned = []
    for channel in range(3):
        share = planes[(channel + behind) % 3] * (2 * d - 1)
        share += planes[channel]
        share -= planes[(channel + ahead) % 3]
        share += rest
        np.maximum(share, 0, out=share)
        np.minimum(share, chroma, out=share)
        turned.append(share)
    return turned
