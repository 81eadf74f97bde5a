"""`metrics.csv` of a run: one row an epoch, rewritten whole so that it is never half a row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from finespot.writers import write_atomic

Row = dict[str, Any]


class MetricsCsv:
    """The rows of a run so far; columns are the union of what the rows hold, in order of appearance."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def keep_until(self, epoch: int) -> None:
        """Take over the rows of the file for the epochs 1 to `epoch` (a run that goes on)."""
        self.rows = [row for row in read_metrics(self.path) if int(row["epoch"]) <= epoch]

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
    """The rows of a `metrics.csv`: numbers as floats, empty cells left out, everything else as text."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: _value(cell) for key, cell in row.items() if cell != ""} for row in csv.DictReader(file)]


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else "" if value is None else value


def _value(cell: str) -> Any:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return int(number) if number.is_integer() and "." not in cell and "e" not in cell else number
