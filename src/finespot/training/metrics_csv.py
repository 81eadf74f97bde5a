"""`metrics.csv` of a run: one row an epoch, rewritten whole so that it is never half a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from finespot.errors import FineSpotError
from finespot.writers import write_atomic

Row = dict[str, Any]

_MEND = "mend it, or move it away to go on without the figures of the finished epochs"


class MetricsCsv:
    """The rows of a run so far; columns are the union of what the rows hold, in order of appearance."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def keep_until(self, epoch: int, first: int = 1) -> list[int]:
        """Take over the rows of the file for the epochs up to `epoch` (a run that goes on); returns those it lacks
        from `first` on.

        Raises
        ------
        FineSpotError
            The file is not as a run wrote it: the next epoch would write over what may be saved of it.
        """
        try:
            rows = read_metrics(self.path)
            numbers = [_epoch(row) for row in rows]
            if len(set(numbers)) < len(numbers):
                raise FineSpotError("expected one row an epoch but got several of one")
        except FineSpotError as error:
            raise FineSpotError(error.what, where=self.path, hint=_MEND) from error
        self.rows = [row for row, number in zip(rows, numbers) if number <= epoch]
        return sorted(set(range(first, epoch + 1)) - set(numbers))

    def add(self, row: Row) -> None:
        """Add an epoch's row and write the file."""
        self.rows.append({key: _short(value) for key, value in row.items()})
        columns: dict[str, None] = {}
        for one in self.rows:
            columns.update(dict.fromkeys(one))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue(), sync=False)


def read_metrics(path: Path) -> list[Row]:
    """The rows of a `metrics.csv`: numbers as floats, empty cells left out, everything else as text.

    Raises
    ------
    FineSpotError
        The file cannot be read as such a table.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FineSpotError(f"cannot be read ({error})", where=path) from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise FineSpotError(f"row {number} has not as many cells as the header", where=path)
    return [{key: _value(cell) for key, cell in row.items() if cell != ""} for row in rows]


def _epoch(row: Row) -> int:
    number = row.get("epoch")
    if not isinstance(number, int) or number < 1:
        raise FineSpotError(f"expected the number of an epoch in each row's column 'epoch' but got {number}")
    return number


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else "" if value is None else value


def _value(cell: str) -> Any:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return int(number) if number.is_integer() and "." not in cell and "e" not in cell else number
