"""Rows of text files as columns of numbers, checked column by column; what is wrong is named with its line.

Files of a data set hold millions of rows, so a row is split once and numbers are made a whole file at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Beyond it, a double no longer tells whole numbers apart.
_LARGEST = 2.0**53
# No picture is that large; products of such coordinates are still exact enough.
_FARTHEST_PX = 1e9


@dataclass(frozen=True)
class Rows:
    """The fields of the rows of one file (or of several, joined), with file and line of each."""

    fields: list[list[str]]
    files: list[Path]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.fields)

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """All rows of several files, one after the other."""
        return cls(
            list(chain.from_iterable(part.fields for part in parts)),
            list(chain.from_iterable(part.files for part in parts)),
            list(chain.from_iterable(part.lines for part in parts)),
        )

    def where(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{self.files[row]}:{self.lines[row]}"

    def numbers(self, first: int, names: Sequence[str]) -> Floats:
        """Finite numbers of the columns from `first` on, one for each of `names`: (rows, names)."""
        last = first + len(names)
        texts = list(chain.from_iterable(row[first:last] for row in self.fields))
        try:
            values = np.fromiter(map(float, texts), np.float64, count=len(texts))
        except (ValueError, OverflowError):
            values = np.fromiter(map(_number, texts), np.float64, count=len(texts))
        # Python reads 1_000 as a number; no other reader of these files does.
        if "_" in "".join(texts):
            values[["_" in text for text in texts]] = np.nan
        table = values.reshape(-1, len(names))
        wrong = ~np.isfinite(table)
        if wrong.any():
            row, column = (int(one) for one in np.argwhere(wrong)[0])
            text = self.fields[row][first + column]
            raise FineSpotError(
                f"expected a finite number as {names[column]} but got '{text[:60]}'", where=self.where(row)
            )
        return table

    def whole(self, column: int, name: str) -> Whole:
        """Whole numbers of a column, also where they are written `12.0`."""
        values = self.numbers(column, [name])[:, 0]
        self.refuse(
            (values != np.floor(values)) | (np.abs(values) > _LARGEST),
            lambda k: f"expected a whole number as {name} but got {values[k]:.10g}",
        )
        return values.astype(np.int64)

    def boxes(self, first: int) -> Floats:
        """Boxes (left, top, width, height) of four columns, of no negative size."""
        boxes = self.numbers(first, ("left", "top", "width", "height"))
        self.refuse(
            (np.abs(boxes) > _FARTHEST_PX).any(axis=1),
            lambda k: f"expected coordinates of at most 1e9 pixels but got {boxes[k].tolist()}",
        )
        self.refuse(
            (boxes[:, 2:] < 0).any(axis=1),
            lambda k: f"expected a width and height of 0 or more but got {boxes[k, 2]:.10g} and {boxes[k, 3]:.10g}",
        )
        return boxes

    def refuse(self, wrong: Any, say: Callable[[int], str], hint: str | None = None) -> None:
        """Raise for the first row that is wrong."""
        if wrong.any():
            row, more = int(np.argmax(wrong)), int(wrong.sum()) - 1
            also = f" (and {more} more rows)" if more else ""
            raise FineSpotError(f"{say(row)}{also}", where=self.where(row), hint=hint)


def read_rows(file: Path, separator: str | None, columns: range, names: str) -> Rows:
    """The rows of a file that are not blank, split at `separator` (None: at blanks).

    `names` say in messages what the columns are. A comma at the end of a row is left out.

    Raises
    ------
    FineSpotError
        The file cannot be read as text, or a row has a number of columns that is not in `columns`.
    """
    fields, lines = [], []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        text = line.strip()
        if separator is not None:
            text = text.rstrip(separator).rstrip()
        if not text:
            continue
        row = text.split(separator)
        if len(row) not in columns:
            wanted = str(columns[0]) if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
            raise FineSpotError(f"expected {wanted} columns ({names}) but got {len(row)}", where=f"{file}:{number}")
        fields.append(row)
        lines.append(number)
    return Rows(fields, list(repeat(file, len(lines))), lines)


def read_text(file: Path) -> str:
    """A UTF-8 text file, with or without byte order mark."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FineSpotError(f"expected UTF-8 text ({error.reason} at byte {error.start})", where=file) from error
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=file) from error
    if "\0" in text:
        raise FineSpotError("expected a text file but got binary data", where=file)
    return text


def text_files(folder: Path) -> list[Path]:
    """The .txt files of a folder, sorted by name; hidden ones are left out.

    Raises
    ------
    FineSpotError
        There is no such folder.
    """
    if not folder.is_dir():
        raise FineSpotError("expected a folder of text files but there is none", where=folder)
    try:
        return sorted(
            (path for path in folder.iterdir() if path.suffix.lower() == ".txt" and not path.name.startswith(".")),
            key=lambda path: path.name,
        )
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=folder) from error


def _number(text: str) -> float:
    try:
        return float(text)
    except (ValueError, OverflowError):
        return float("nan")
