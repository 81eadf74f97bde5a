"""What readers of text labels share: files, lines and numbers, with file and line in every message."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from finespot.data.builder import shown
from finespot.data.findings import Corners
from finespot.errors import FineSpotError

_LARGEST = 2**62


def read_text(file: Path) -> str:
    """A UTF-8 text file, with or without byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FineSpotError(f"expected UTF-8 text ({error.reason} at byte {error.start})", where=file) from error
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=file) from error


def lines(file: Path) -> Iterator[tuple[str, str]]:
    """(`file:number`, line) of each line that is not blank, without blanks and commas at its end; numbered from 1."""
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if text := line.strip().rstrip(",").rstrip():
            yield f"{file}:{number}", text


def digits(text: str) -> str:
    """The text of a number; ValueError for the underscores that Python allows in one."""
    if "_" in text:
        raise ValueError(text)
    return text


def real(text: str, what: str, where: object) -> float:
    """A finite number."""
    try:
        value = float(digits(text))
    except ValueError:
        raise FineSpotError(f"expected a number as {what} but got {shown(text)}", where=where) from None
    if not math.isfinite(value):
        raise FineSpotError(f"expected a finite number as {what} but got {shown(text)}", where=where)
    return value


def whole(text: str, what: str, where: object) -> int:
    """An integer, also where it is written `12.0`."""
    try:
        value = int(digits(text)) if len(text) < 20 else 2 * _LARGEST
    except ValueError:
        number = real(text, what, where)
        if not number.is_integer():
            raise FineSpotError(f"expected an integer as {what} but got {shown(text)}", where=where) from None
        value = int(number)
    if abs(value) > _LARGEST:
        raise FineSpotError(f"expected an integer of at most 2**62 as {what} but got {shown(text)}", where=where)
    return value


def left_top_width_height(fields: Sequence[str], where: object) -> Corners:
    """The corners of a box whose first four fields are left, top, width and height."""
    left, top, width, height = (
        real(text, what, where) for text, what in zip(fields, ("left", "top", "width", "height"))
    )
    if width < 0 or height < 0:
        raise FineSpotError(f"expected a width and height of 0 or more but got {width:g} and {height:g}", where=where)
    return left, top, left + width, top + height


def plain(value: float) -> str:
    """A coordinate to write: rounded to four decimals, without zeros at its end and never as a power of ten."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
