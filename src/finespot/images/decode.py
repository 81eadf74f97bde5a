"""Open picture files: the header at once, the pixels when they are asked for.

JPEG is decoded by simplejpeg (libjpeg-turbo) at full size and with its exact transform, so that training and
prediction see the same pixels; everything else by Pillow. What is handed out is upright (EXIF orientation applied
here and nowhere else), in RGB or one channel, of 8 or 16 bits. Alpha is dropped, palettes, CMYK and bilevel pictures
become RGB or gray. A damaged file is refused: nothing is filled in.

Differs from common readers: a truncated JPEG is an error (most fill the rest with gray), and Pillow's limit of 89
megapixels is raised, because aerial mosaics are larger than that.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import simplejpeg
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.structures import Image, Size, Window

EXTENSIONS = frozenset((".bmp", ".jpeg", ".jpg", ".mpo", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))

# Pillow warns above this many pixels and refuses twice as many; its own default (89 million) guards web servers.
PIL.Image.MAX_IMAGE_PIXELS = 1 << 31

# Damaged metadata count as absent (damaged pixels are an error): Pillow's warnings of them name no file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, PIL.Image.DecompressionBombError)
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("L", "1", "LA", "La")

Pixels = NDArray[Any]


def open_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture's header; the pixels are decoded by `.read(window)`, anew with each call.

    `window` is (x1, y1, x2, y2) in upright pixels. The whole file is decoded whatever the window: who needs several
    windows reads once and slices. `bit_depth` is 16 for 16-bit gray PNG and TIFF (read as uint16), else 8; 16-bit RGB
    comes with the upper 8 bits only, because Pillow has no such mode.

    Raises
    ------
    FineSpotError
        The file is missing, empty, no picture, damaged or of a kind that is not supported (32-bit samples).
    """
    name = os.fspath(path)
    try:
        with PIL.Image.open(name) as header:
            kind, mode, width_height = header.format, header.mode, header.size
            orientation = exif_orientation(header)
            if kind == "TIFF" and orientation != 1:
                # Pillow turns TIFF files itself while loading; whether the header's size is turned depends on its
                # version, so this rare case is loaded.
                header.load()
                width_height, orientation = header.size, 1
    except FileNotFoundError:
        raise FineSpotError("expected a picture but there is no such file", where=name) from None
    except IsADirectoryError:
        raise FineSpotError("expected a picture but got a folder", where=name) from None
    except PIL.UnidentifiedImageError:
        raise FineSpotError(_not_a_picture(name), where=name) from None
    except _UNREADABLE as error:
        raise _damaged(name, error) from error
    width, height = width_height
    if width < 1 or height < 1:
        raise FineSpotError(f"expected a picture but its size is {width}x{height}", where=name)
    channels, sixteen = _samples(mode, kind, name)
    size = (width, height) if orientation in _TRANSPOSED else (height, width)
    jpeg = kind in ("JPEG", "MPO") and mode in ("L", "RGB")
    decode: Callable[[str], Pixels] = _jpeg(mode) if jpeg else _pillow(channels, sixteen)

    def read(window: Window | None = None) -> Pixels:
        return _read(name, size, orientation, decode, window)

    return Image(size, channels, 16 if sixteen else 8, name, read)


def from_pillow(picture: PIL.Image.Image, name: str) -> Pixels:
    """All pixels (height, width, 1 or 3) of a Pillow picture in memory: upright, in the form that files are read in.

    Raises
    ------
    FineSpotError
        Its samples have 32 bits (modes I and F; their range says nothing of what is black and white), or the file
        that it was opened from is damaged.
    """
    channels, sixteen = _samples(picture.mode, picture.format, name)
    try:
        return _converted(PIL.ImageOps.exif_transpose(picture), channels, sixteen)
    except _UNREADABLE as error:
        raise _damaged(name, error) from error


def exif_orientation(header: PIL.Image.Image) -> int:
    """EXIF orientation, 1 to 8, of a picture file that Pillow has opened; pixels are not decoded for it.

    What cannot be read or is out of range counts as upright, and so does what a PNG says behind its pixels.
    """
    try:
        # PNG's own `getexif` decodes the picture where it has met no EXIF, to look behind the pixels.
        value = PIL.Image.Image.getexif(header).get(_ORIENTATION, 1)
    except Exception:  # Pillow raises whatever comes on metadata that are damaged
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def crop(image: Image, window: Window) -> Image:
    """A window (x1, y1, x2, y2) of a picture as a picture of its own.

    Raises
    ------
    FineSpotError
        The window reaches over the picture's edge or is empty.
    """
    left, top, right, bottom = window
    height, width = image.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise FineSpotError(f"expected a window inside {width}x{height} pixels but got {window}", where=image.path)

    def read(inner: Window | None = None) -> Pixels:
        x1, y1, x2, y2 = inner or (0, 0, right - left, bottom - top)
        return image.read((left + x1, top + y1, left + x2, top + y2))

    return Image((bottom - top, right - left), image.channels, image.bit_depth, image.path, read)


def find_images(folder: str | os.PathLike[str], extensions: Collection[str] = EXTENSIONS) -> list[Path]:
    """All picture files below a folder (by extension, hidden ones left out), sorted bytewise by path with `/`.

    `extensions` (lower case, with the dot) may ask for files of other kinds.

    Raises
    ------
    FineSpotError
        There is no such folder.
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise FineSpotError("expected a folder with pictures but there is none", where=root)
    found: list[str] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [one for one in folders if not one.startswith(".")]
        found += [
            os.path.join(place, file)
            for file in files
            if os.path.splitext(file)[1].lower() in extensions and not file.startswith(".")
        ]
    return sorted((Path(one) for one in found), key=lambda path: os.fsencode(path.as_posix()))


def _samples(mode: str, kind: str | None, name: str) -> tuple[int, bool]:
    """Channels of what is handed out for a Pillow mode, and whether its samples have 16 bits."""
    sixteen = mode in _SIXTEEN_BIT or (mode == "I" and kind == "PNG")
    if mode in ("I", "F") and not sixteen:
        what = f"{kind}, mode {mode}" if kind else f"mode {mode}"
        raise FineSpotError(f"expected samples of 8 or 16 bits but got 32 ({what})", where=name)
    return 1 if sixteen or mode in _GRAY else 3, sixteen


def _read(name: str, size: Size, orientation: int, decode: Callable[[str], Pixels], window: Window | None) -> Pixels:
    try:
        pixels = decode(name)
    except FileNotFoundError:
        raise FineSpotError("expected a picture but there is no such file", where=name) from None
    except _UNREADABLE as error:
        raise _damaged(name, error) from error
    pixels = _upright(pixels, orientation)
    if pixels.shape[:2] != size:
        raise FineSpotError(
            f"expected {size[1]}x{size[0]} pixels but got {pixels.shape[1]}x{pixels.shape[0]}",
            where=name,
            hint="the file has changed since it was opened",
        )
    if window is None:
        return np.ascontiguousarray(pixels)
    x1, y1, x2, y2 = window
    if not (0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]):
        raise FineSpotError(f"expected a window inside {size[1]}x{size[0]} pixels but got {window}", where=name)
    return np.ascontiguousarray(pixels[y1:y2, x1:x2])


def _jpeg(mode: str) -> Callable[[str], Pixels]:
    colorspace = "GRAY" if mode == "L" else "RGB"

    def decode(name: str) -> Pixels:
        with open(name, "rb") as file:
            data = file.read()
        pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace, strict=True)
        return pixels

    return decode


def _pillow(channels: int, sixteen: bool) -> Callable[[str], Pixels]:
    def decode(name: str) -> Pixels:
        with PIL.Image.open(name) as picture:
            return _converted(picture, channels, sixteen)

    return decode


def _converted(picture: PIL.Image.Image, channels: int, sixteen: bool) -> Pixels:
    if sixteen:
        return np.asarray(picture).astype(np.uint16)[..., None]
    if channels == 1:
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture.convert("RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn (height, width, channels) pixels as the EXIF orientation says."""
    if orientation in _TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _not_a_picture(name: str) -> str:
    if os.path.getsize(name) == 0:
        return "expected a picture but the file is empty"
    return "expected a picture but the content is none that can be read"


def _damaged(name: str, error: BaseException) -> FineSpotError:
    return FineSpotError(f"the picture cannot be read, it is damaged or incomplete ({error})", where=name)
