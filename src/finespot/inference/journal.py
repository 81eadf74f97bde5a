"""What a long run has done so far, row of windows by row of windows, so that a killed one can go on.

A text file: a line that tells what the run is (the raster, the weights, the settings), then a line for each finished
row with all that the network found in it, unmerged. Each line goes out in one call and is forced to the disk; one that
was cut off when the run was killed is taken away. Merging is done anew from the lines, so that what is written is byte
for byte what an uninterrupted run writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import fsync
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from finespot.errors import FineSpotError
from finespot.structures import Placement, Size, Window
from finespot.tiling import Part

JOURNAL = "journal.jsonl"


class PartRecord(msgspec.Struct, array_like=True):
    """A `Part` as plain values; numbers of 32 bits come back exactly."""

    window: Window
    scale: tuple[float, float]
    offset: tuple[float, float]
    boxes: list[tuple[float, float, float, float]]
    scores: list[float]
    labels: list[int]

    @classmethod
    def of(cls, part: Part) -> PartRecord:
        """The record of a part."""
        assert part.window is not None
        placement = part.placement
        columns = part.boxes.tolist(), part.scores.tolist(), part.labels.tolist()
        return cls(part.window, placement.scale, placement.offset, *columns)

    def part(self, size: Size) -> Part:
        """The part again, of a picture of `size` (height, width)."""
        x1, y1 = self.window[:2]
        return Part(
            Placement(self.scale, self.offset, size, (float(x1), float(y1))),
            np.array(self.boxes, np.float32).reshape(-1, 4),
            np.array(self.scores, np.float32),
            np.array(self.labels, np.int64),
            self.window,
        )


class RowRecord(msgspec.Struct):
    """A finished row: its number, how many of its windows held nothing but nodata, lay outside the region, had nothing
    for a seeker, and ran, as how many whole ones these count; and what was found.
    """

    row: int
    empty: int
    outside: int
    cold: int
    seen: int
    worth: float
    parts: list[PartRecord]


class Journal:
    """`journal.jsonl` in a run folder.

    Parameters
    ----------
    fingerprint:
        What the run is, as plain values.
    resume:
        Go on with the journal that is there; otherwise one is begun.

    Attributes
    ----------
    rows:
        The finished rows that were there, from the first on without a gap.

    Raises
    ------
    FineSpotError
        There is none to go on with, it belongs to another run, or it cannot be written.
    """

    def __init__(self, folder: str | Path, fingerprint: Mapping[str, Any], resume: bool = False) -> None:
        self.path = Path(folder) / JOURNAL
        self.rows: list[RowRecord] = []
        good = self._read(fingerprint) if resume else 0
        try:
            # Unbuffered: a line is written in one call.
            self._file: BinaryIO = self.path.open("r+b" if resume else "wb", buffering=0)
            self._file.truncate(good)
            self._file.seek(good)
        except OSError as error:
            raise self._unwritable(error) from error
        if not resume:
            self._line(dict(fingerprint))

    def add(self, record: RowRecord) -> None:
        """Put down a finished row."""
        self._line(record)

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._file.close()

    def finish(self) -> None:
        """Close the file and take it away: the output is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _line(self, value: Any) -> None:
        try:
            self._file.write(msgspec.json.encode(value) + b"\n")
            fsync(self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self, fingerprint: Mapping[str, Any]) -> int:
        """Take over the finished rows; how many bytes of the file are whole."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            hint = "a run that was finished has none" if isinstance(error, FileNotFoundError) else None
            what = f"no run to resume ({error.strerror})"
            raise FineSpotError(what, where=self.path, hint=hint) from error
        self._compare(lines[0] if lines and lines[0].endswith(b"\n") else b"", fingerprint)
        good = len(lines[0])
        for line in lines[1:]:
            try:
                record = msgspec.json.decode(line, type=RowRecord)
            except msgspec.DecodeError:
                break
            if not line.endswith(b"\n") or record.row != len(self.rows):
                break
            self.rows.append(record)
            good += len(line)
        return good

    def _compare(self, line: bytes, fingerprint: Mapping[str, Any]) -> None:
        try:
            stored = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise FineSpotError(f"no run to resume (its journal cannot be read: {error})", where=self.path) from error
        now = msgspec.json.decode(msgspec.json.encode(dict(fingerprint)))
        other = sorted(key for key in {*stored, *now} if stored.get(key) != now.get(key))
        if other:
            raise FineSpotError(
                f"expected the run that was begun but these differ: {', '.join(other)}",
                where=self.path,
                hint="repeat its command with --resume added, or begin anew without",
            )

    def _unwritable(self, error: OSError) -> FineSpotError:
        return FineSpotError(f"cannot be written ({error.strerror or error})", where=self.path)
