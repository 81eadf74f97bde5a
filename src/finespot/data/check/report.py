"""What a check found, as a table, as JSON, and by its exit code."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finespot.data.check.kinds import ERROR, KINDS, SEVERITIES, Kind, kind
from finespot.data.check.survey import Split, Survey
from finespot.data.dataset import find_format
from finespot.data.findings import Finding

# Examples of one kind in a file of numbers; the table shows fewer.
_MOST_EXAMPLES = 100
_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class Row:
    """All findings of one kind: how many, in which splits, and the first of them."""

    name: str
    kind: Kind
    by_split: Mapping[str, int]
    examples: Sequence[tuple[str, Finding]]

    @property
    def count(self) -> int:
        """Findings of the kind in all splits."""
        return sum(self.by_split.values())

    def splits(self) -> str:
        """How many in which splits, in words."""
        return ", ".join(f"{name} {count:,}" for name, count in self.by_split.items())


class Report:
    """The findings about a data set.

    `depth` says whether pictures were decoded, `notes` are one-line remarks beside the findings. `survey` holds the
    opened splits.
    """

    def __init__(self, survey: Survey, depth: str, notes: Sequence[str] = ()) -> None:
        self.survey, self.depth, self.notes = survey, depth, list(notes)
        place = os.path.abspath(find_format(survey.data)[1])
        self._root = os.path.join(place if os.path.isdir(place) else os.path.dirname(place), "")

    def rows(self) -> list[Row]:
        """One row a kind, errors first, then warnings and notes, each as in the list of kinds."""
        names: dict[str, None] = dict.fromkeys(KINDS)
        names.update(dict.fromkeys(name for split in self.survey.splits for name in split.findings.counts))
        rows = [row for name in names if (row := self._row(name)).by_split]
        return sorted(rows, key=lambda row: SEVERITIES.index(row.kind.severity))

    def _row(self, name: str) -> Row:
        by_split = {one.name: one.findings.counts[name] for one in self.survey.splits if name in one.findings.counts}
        examples = [(one.name, finding) for one in self.survey.splits for finding in one.findings.of(name)]
        if name == "unreadable":
            by_split = dict.fromkeys(self.survey.unreadable, 1)
            examples = list(self.survey.unreadable.items())
        return Row(name, kind(name), by_split, examples)

    def counts(self) -> dict[str, int]:
        """Findings by kind."""
        return {row.name: row.count for row in self.rows()}

    def passed(self, accept: Collection[str] = ()) -> bool:
        """Whether there is no error of a kind that is not accepted."""
        return not any(row.kind.severity == ERROR and row.name not in accept for row in self.rows())

    def to_json(self, accept: Collection[str] = ()) -> dict[str, Any]:
        """A dictionary of plain values; of each kind the first hundred findings."""
        return {
            "data": self.survey.data,
            "passed": self.passed(accept),
            "depth": self.depth,
            "notes": self.notes,
            "splits": {split.name: _split_json(split) for split in self.survey.splits},
            "findings": [
                {
                    "kind": row.name,
                    "severity": row.kind.severity,
                    "accepted": row.name in accept,
                    "title": row.kind.title,
                    "advice": row.kind.advice,
                    "count": row.count,
                    "splits": dict(row.by_split),
                    "examples": [
                        {
                            "split": split,
                            "what": one.what,
                            "where": one.where,
                            "picture": one.picture,
                            "box": one.box,
                        }
                        for split, one in row.examples[:_MOST_EXAMPLES]
                    ],
                }
                for row in self.rows()
            ],
        }

    def table(self, examples: int = 3, accept: Collection[str] = ()) -> Any:
        """A `rich` table of the findings; below it for each kind what to do, and the first `examples`."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[Any] = [Text(line) for line in self.lines()]
        rows = self.rows()
        if rows:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for title in ("severity", "kind", "count", "splits", "finding"):
                table.add_column(title, no_wrap=title != "finding", justify="right" if title == "count" else "left")
            parts += [Text(), table]
        for row in rows:
            color = _COLORS[row.kind.severity]
            severity = "accepted" if row.name in accept else row.kind.severity
            cells = (row.name, f"{row.count:,}", row.splits(), row.kind.title)
            table.add_row(Text(severity, color), *map(Text, cells))
            lines = [f"\n  {self.line(row, one)}" for _, one in row.examples[:examples]]
            parts.append(Text.assemble("\n", (row.name, color), f": {row.kind.advice}", *lines))
        if rows:
            parts.append(Text(f"\nfile names are those below {self._root}"))
        return Group(*parts)

    def lines(self) -> Iterator[str]:
        """What was looked at, a line a split, and the remarks."""
        for split in self.survey.splits:
            boxes, ignored = _count_boxes(split)
            regions = f", {ignored:,} ignore regions" if ignored else ""
            yield f"{split.name}: {len(split.dataset):,} pictures, {boxes:,} objects{regions}"
            yield from (f"  {note}" for note in split.dataset.notes)
        yield self.depth
        yield from self.notes

    def line(self, row: Row, finding: Finding) -> str:
        """A finding in one line, file names without the data set's folder."""
        where = finding.where.removeprefix(self._root)
        if row.kind.pair:
            return f"{finding.picture.removeprefix(self._root)} {finding.what}: {where}"
        return f"{where}: {finding.what}"

    def verdict(self, accept: Collection[str] = ()) -> str:
        """The last line."""
        totals = dict.fromkeys(SEVERITIES, 0)
        for row in self.rows():
            totals[row.kind.severity] += row.count
        if not sum(totals.values()):
            return "nothing found"
        words = ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in totals.items() if count)
        return words if self.passed(accept) else f"{words}: not fit for training"


def _split_json(split: Split) -> dict[str, Any]:
    boxes, ignored = _count_boxes(split)
    return {
        "pictures": len(split.dataset),
        "objects": boxes,
        "ignore_regions": ignored,
        "classes": list(split.dataset.classes.names),
        "notes": split.dataset.notes,
    }


def _count_boxes(split: Split) -> tuple[int, int]:
    """Objects and ignore regions."""
    ignored = int(split.dataset.rows.ignore.sum())
    return len(split.dataset.rows.ignore) - ignored, ignored
