"""Shape files: which pixels of one picture belong to objects, one bit each, and what they were made from.

A file is a start (magic, format version, length and CRC-32 of the header), the header in JSON, and the rows of the
picture, each filled up to whole bytes with its first pixel in the highest bit, compressed with zlib. Two checksums
cover all of it, so that a file that was cut off or changed is an error and never another shape.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.structures import Window

EXTENSION = ".shape"
Bits = NDArray[np.uint8]

_START = struct.Struct("<8sIII")
_MAGIC = b"fs-shape"
_VERSION = 1


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a shape file says of itself.

    height, width: of the picture in pixels. model: the segmenter. truth: digest of the objects that it was asked for.
    objects: how many they were; whole: how many of them are stored as their whole box, because their mask was not
    plausible. nbytes, crc: length and CRC-32 of the compressed rows.
    """

    height: int
    width: int
    model: str
    truth: str
    objects: int
    whole: int
    nbytes: int
    crc: int


def encode(mask: NDArray[np.bool_], *, model: str, truth: str, objects: int, whole: int) -> tuple[Header, bytes]:
    """A file's header and content from a mask (height, width)."""
    rows = zlib.compress(np.packbits(mask, axis=1).tobytes(), 6)
    header = Header(
        height=mask.shape[0],
        width=mask.shape[1],
        model=model,
        truth=truth,
        objects=objects,
        whole=whole,
        nbytes=len(rows),
        crc=zlib.crc32(rows),
    )
    text = msgspec.json.encode(header)
    return header, _START.pack(_MAGIC, _VERSION, len(text), zlib.crc32(text)) + text + rows


def read_header(path: Path) -> Header:
    """The header of a file that is as long as it says; the rows are not looked at.

    Raises
    ------
    FineSpotError
        There is no such file, or it is broken.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_START.size)
            content += file.read(_header_length(content, path))
            length = file.seek(0, 2)
    except OSError as error:
        raise _unreadable(path, error) from error
    header, start = _header(content, path)
    if length != start + header.nbytes:
        raise _broken(path, f"{start + header.nbytes} bytes, not {length}")
    return header


def read(path: Path) -> tuple[Header, Bits]:
    """Header and bits (height, bytes of a row) of a file, which `unpack` turns into pixels.

    Raises
    ------
    FineSpotError
        There is no such file, or it is broken.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    _header_length(content, path)
    header, start = _header(content, path)
    rows = content[start:]
    if len(rows) != header.nbytes or zlib.crc32(rows) != header.crc:
        raise _broken(path, "its checksum")
    bytes_of_row = -(-header.width // 8)
    try:
        bits = zlib.decompressobj().decompress(rows, header.height * bytes_of_row + 1)
    except zlib.error as error:
        raise _broken(path, "compressed rows") from error
    if len(bits) != header.height * bytes_of_row:
        raise _broken(path, f"{header.height} rows of {header.width} pixels")
    return header, np.frombuffer(bits, np.uint8).reshape(header.height, bytes_of_row)


def unpack(bits: Bits, window: Window) -> NDArray[np.uint8]:
    """The pixels of a window (x1, y1, x2, y2) inside the picture, 0 or 1; only its bytes are unpacked."""
    x1, y1, x2, y2 = window
    first = x1 // 8
    pixels = np.unpackbits(bits[y1:y2, first : -(-x2 // 8)], axis=1)
    return pixels[:, x1 - 8 * first : x2 - 8 * first]


def _header_length(content: bytes, path: Path) -> int:
    """How many bytes the header has, from a file's start."""
    if len(content) < _START.size or content[:8] != _MAGIC:
        raise _broken(path, "the start of a shape file")
    _, version, length, _ = _START.unpack_from(content)
    if version != _VERSION:
        raise _broken(path, f"format version {_VERSION}, not {version}")
    return int(length)


def _header(content: bytes, path: Path) -> tuple[Header, int]:
    """The header, and where the rows begin."""
    _, _, length, crc = _START.unpack_from(content)
    start = _START.size + length
    text = content[_START.size : start]
    try:
        if zlib.crc32(text) == crc:
            return msgspec.json.decode(text, type=Header), start
    except msgspec.MsgspecError:
        pass
    raise _broken(path, "a whole header")


def _broken(path: Path, expected: str) -> FineSpotError:
    return FineSpotError(
        f"the shape file is broken (expected {expected})",
        where=path,
        hint="make it again: finespot data shapes ... --overwrite",
    )


def _unreadable(path: Path, error: OSError) -> FineSpotError:
    return FineSpotError(f"the shape file cannot be read ({error.strerror or error})", where=path)
