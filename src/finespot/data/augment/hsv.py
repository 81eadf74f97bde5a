"""Change hue, saturation and value, in the hexcone model (Smith, Color gamut transform pairs, SIGGRAPH 1978).

Saturation and value are multiplied and limited to their range, hue is moved around its circle. Differs from the usual
way through an HSV picture of 8 bits: nothing is rounded in between, hue needs no case distinction, and a
one-channel picture takes a table of 256 values, with the result that three equal channels would have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.settings import Augment

Planes = NDArray[np.float32]

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
    work = np.empty((3, 3, min(_ROWS, len(pixels)), pixels.shape[1]), np.float32)
    for row in range(0, len(pixels), _ROWS):
        source = pixels[row : row + _ROWS]
        _adjust_rows(source, changed[row : row + _ROWS], work[:, :, : len(source)], hue * 6, saturation, value)
    return changed


def _adjust_rows(
    source: NDArray[np.uint8], target: NDArray[np.uint8], work: Planes, hue: float, gain: float, value: float
) -> None:
    """With top = largest and low = smallest channel and chroma = top - low, each channel is top - deficit.

    Hue changes the deficits, saturation multiplies them, value multiplies top and deficits. `work` is scratch memory
    (3, 3, rows, columns), made once: fresh memory of this size costs more than the arithmetic.
    """
    planes, deficits, (top, low, chroma) = work
    for channel in range(3):
        planes[channel] = source[..., channel]
    np.maximum.reduce(planes, axis=0, out=top)
    if hue:
        np.minimum.reduce(planes, axis=0, out=low)
        np.subtract(top, low, out=chroma)
        _turn(planes, deficits, low, chroma, hue)
    else:
        np.subtract(top, planes, out=deficits)
        np.maximum.reduce(deficits, axis=0, out=chroma)
    # New chroma by old chroma: saturation chroma / top times gain, but at most 1.
    # (np.clip, because np.maximum with a scalar is four times as slow.)
    ratio = np.divide(np.float32(gain), np.clip(top, 1, 255, out=low), out=low)
    np.clip(chroma, 1, 255, out=chroma)
    np.divide(np.float32(1), chroma, out=chroma)
    np.minimum(ratio, chroma, out=ratio)
    top *= np.float32(value)
    np.clip(top, 0, 255, out=top)
    ratio *= top
    top += np.float32(0.5)
    deficits *= ratio
    np.subtract(top, deficits, out=deficits)
    for channel in range(3):
        target[..., channel] = deficits[channel]


def _turn(planes: Planes, deficits: Planes, low: Planes, chroma: Planes, hue: float) -> None:
    """Write the deficits of the channels after the hue moved by `hue` sextants, in closed form.

    A channel's share (1 - deficit / chroma) is a trapezoid over the hue circle: 1 for two sextants, 0 for two. Of the
    three shares one is 1 and one is 0, and the share after a move by d in 0..1 comes out as own - next + (1 - d) +
    (2d - 1) previous, limited to 0..1, where next and previous are the neighbors in the order red, green, blue
    (reversed for a move back). Longer moves are made sextant by sextant. `planes` and `low` are used up.
    """
    step = max(-1.0, min(1.0, hue))
    d = np.float32(abs(step))
    ahead, behind = (1, 2) if step > 0 else (2, 1)
    for channel in range(3):
        np.subtract(planes[(channel + ahead) % 3], planes[channel], out=deficits[channel])
    planes *= 2 * d - 1
    low *= 2 * d - 1
    low += d * chroma
    for channel in range(3):
        deficits[channel] -= planes[(channel + behind) % 3]
    deficits += low
    low[...] = 0
    np.maximum(deficits, low, out=deficits)
    np.minimum(deficits, chroma, out=deficits)
    if abs(hue) > 1:
        np.subtract(chroma, deficits, out=planes)
        _turn(planes, deficits, low, chroma, hue - step)
