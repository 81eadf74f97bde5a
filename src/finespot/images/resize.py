"""Change the size and the sample format of pixels.

Resampling is bilinear with the filter widened when it shrinks (Pillow's `BILINEAR`): each source pixel keeps its
weight, where plain bilinear interpolation skips pixels below half size and with them small objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.structures import Size

Pixels8 = NDArray[np.uint8]


def to_uint8(pixels: NDArray[Any], bit_depth: int = 8) -> Pixels8:
    """Eight-bit samples of pixels with `bit_depth` bits: linear from the full range, 0..2^n-1 to 0..255, rounded.

    The range is that of the format, never that of the content, so that equal values stay equal in all pictures. The
    shape stays; uint8 pixels are returned as they are.
    """
    if pixels.dtype == np.uint8 and bit_depth == 8:
        return pixels
    if pixels.dtype not in (np.uint8, np.uint16) or not 1 <= bit_depth <= 16:
        raise FineSpotError(f"expected uint8 or uint16 pixels but got {pixels.dtype} of {bit_depth} bits")
    top = (1 << bit_depth) - 1
    scaled: Pixels8 = ((np.minimum(pixels, top).astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    return scaled


def to_rgb8(pixels: NDArray[Any], bit_depth: int = 8) -> Pixels8:
    """Pixels (H, W), (H, W, 1) or (H, W, 3) of any bit depth as uint8 RGB (H, W, 3); one channel is repeated.

    More bits are scaled as `to_uint8` says. Pixels that are uint8 RGB already are returned without a copy.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise FineSpotError(f"expected pixels of shape (height, width, 1 or 3) but got {pixels.shape}")
    pixels = to_uint8(pixels, bit_depth)
    if pixels.shape[2] == 3:
        return pixels
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for channel in range(3):  # six times as fast as one broadcast assignment
        rgb[..., channel] = pixels[..., 0]
    return rgb


def resize(pixels: Pixels8, size: Size) -> Pixels8:
    """Pixels (H, W, 1 or 3) uint8 at another size (height, width); without a copy where the size is the same.

    Three channels go through torch, whose kernel for them is Pillow's algorithm vectorized: 6 ms where Pillow takes
    62 for 4000 x 2250 to 640 x 360, equal to one gray level. One channel is left to Pillow, which is faster there.
    """
    if pixels.shape[:2] == tuple(size):
        return pixels
    height, width = pixels.shape[:2]
    if pixels.shape[2] == 3:
        return _resize_rgb(pixels, size)
    return resample(pixels, size, (0.0, 0.0, float(width), float(height)))


def _resize_rgb(pixels: Pixels8, size: Size) -> Pixels8:
    import torch

    _check_size(size)
    # torch warns about arrays that cannot be written to, as those are that come from Pillow.
    source = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
    planes = source.permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size=tuple(size), mode="bilinear", antialias=True)
    array: Pixels8 = resized[0].permute(1, 2, 0).contiguous().numpy()
    return array


def resample(pixels: Pixels8, size: Size, box: tuple[float, float, float, float]) -> Pixels8:
    """The part `box` (x1, y1, x2, y2, fractions allowed, inside the picture) of the pixels at `size`."""
    _check_size(size)
    height, width = size
    resized = _picture(pixels).resize((width, height), PIL.Image.Resampling.BILINEAR, box=box)
    return _pixels(resized)


def reduce(pixels: Pixels8, factor: int | tuple[int, int]) -> Pixels8:
    """Pixels shrunk by a whole factor, each the mean of factor x factor (fewer at the right and bottom edge).

    A pair is a factor for the width and one for the height.
    """
    return pixels if factor in (1, (1, 1)) else _pixels(_picture(pixels).reduce(factor))


def _check_size(size: Size) -> None:
    if min(size) < 1:
        raise FineSpotError(f"expected a size of 1x1 pixels or more but got {size[1]}x{size[0]}")


def _picture(pixels: Pixels8) -> PIL.Image.Image:
    return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _pixels(picture: PIL.Image.Image) -> Pixels8:
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array
