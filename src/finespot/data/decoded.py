"""Decoded picture files: decoded anew each time, all kept in memory, or kept on the disk as raw arrays.

All three answer the same call with the same pixels: eight bits, one or three channels, upright, shrunk by a whole
factor. On the disk a file's pixels are mapped, not read: who takes a window of it reads only the rows of that window.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images import open_image, reduce, to_uint8
from finespot.structures import Size
from finespot.writers import write_atomic

Pixels = NDArray[np.uint8]
FOLDER = ".finespot-cache"
# An entry: this header (magic, height, width, channels), then the pixels row by row.
_HEADER = struct.Struct("<8s3I")
_MAGIC = b"finespot"
# Part of every name: pixels of another way to decode are others.
_FORMAT = "1"
# Seconds after which a file that a process left half written is not being written any more.
_ABANDONED = 3600.0


class File(NamedTuple):
    """A picture file, the factor it is shrunk by, and the (height, width) that it must have, where that is known."""

    path: str
    factor: int
    size: Size | None


Decoded = Callable[[File], Pixels]


def decode(file: File) -> Pixels:
    """The pixels of a file.

    Raises
    ------
    FineSpotError
        It cannot be read, or its size is another by now.
    """
    image = open_image(file.path)
    if file.size is not None and image.size != file.size:
        raise size_changed(file.path)
    return reduce(to_uint8(image.read(None), image.bit_depth), file.factor)


def size_changed(path: str) -> FineSpotError:
    """The error for a file whose labels no longer fit it."""
    return FineSpotError("the picture's size has changed since its data set was opened", where=path)


class Recent:
    """Decodes, and keeps the files used last, up to `nbytes` of them."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._kept: OrderedDict[File, Pixels] = OrderedDict()
        self._used = 0

    def __call__(self, file: File) -> Pixels:
        if file in self._kept:
            self._kept.move_to_end(file)
            return self._kept[file]
        pixels = self._kept[file] = decode(file)
        self._used += pixels.nbytes
        while len(self._kept) > 1 and self._used > self.nbytes:
            self._used -= self._kept.popitem(last=False)[1].nbytes
        return pixels


class InMemory:
    """Decodes all files at once and keeps them."""

    def __init__(self, files: Iterable[File]) -> None:
        self._kept = {file: decode(file) for file in files}

    def __call__(self, file: File) -> Pixels:
        return self._kept[file]


class OnDisk:
    """Keeps the pixels of each file that was asked for once in a file below `folder`.

    A name holds the file's path, size and time of change, so a file that was changed gets a new one, and the old one
    is deleted. An array is written under a temporary name and renamed: it is there whole or not at all, whatever
    kills the process, and processes that share the folder do not disturb each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, file: File) -> Pixels:
        place = self.place(file)
        pixels = _mapped(place)
        if pixels is None:
            pixels = decode(file)
            self._keep(place, pixels)
        elif file.size is not None and pixels.shape[:2] != tuple(-(-side // file.factor) for side in file.size):
            raise size_changed(file.path)  # and another process has decoded it since
        return pixels

    def place(self, file: File) -> Path:
        """Where a file's pixels belong, as it is now."""
        try:
            status = os.stat(file.path)
        except OSError as error:
            raise FineSpotError(f"the picture cannot be read ({error.strerror})", where=file.path) from error
        key = hashlib.sha256(f"{_FORMAT}\n{file.factor}\n".encode() + os.fsencode(file.path)).hexdigest()[:32]
        return self.folder / key[:2] / f"{key}-{status.st_size:x}-{status.st_mtime_ns:x}.pixels"

    def clean(self) -> None:
        """Delete what processes that were killed left half written."""
        for left in self.folder.glob("*/.*.part"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    left.unlink()

    def _keep(self, place: Path, pixels: Pixels) -> None:
        try:
            write_atomic(place, _HEADER.pack(_MAGIC, *pixels.shape) + pixels.tobytes())
        except FineSpotError as error:
            raise FineSpotError(
                error.what, where=error.where, hint="make space, or go on with cache=null (--resume RUN cache=null)"
            ) from error
        for old in place.parent.glob(f"{place.name.partition('-')[0]}-*.pixels"):
            if old != place:
                with suppress(OSError):
                    old.unlink()


def _mapped(place: Path) -> Pixels | None:
    """The array of an entry, or None where there is none that is whole. (A third of what `numpy.load` takes.)"""
    try:
        with place.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, height, width, channels = _HEADER.unpack_from(data)
    except (OSError, ValueError, struct.error):  # not there, empty, or too short
        return None
    if magic != _MAGIC or len(data) != _HEADER.size + height * width * channels:
        return None
    return np.frombuffer(data, np.uint8, offset=_HEADER.size).reshape(height, width, channels)


def default_folder(paths: Sequence[str]) -> Path:
    """Where decoded pictures are kept: below the folder that the files have in common, else the user's cache folder."""
    try:
        common = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    except ValueError:  # on several drives
        common = Path(os.sep)
    if common != common.parent and os.access(common, os.W_OK | os.X_OK):
        return common / FOLDER
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finespot" / "pictures"
