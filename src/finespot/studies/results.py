"""What a study found: every row's scores over its seeds, its difference to the baseline, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from finespot.studies.cells import Outcome
from finespot.studies.costs import Latency, RowCost, Timing
from finespot.studies.study import COSTS, Row, Study


@dataclass(frozen=True)
class Spread:
    """The mean over seeds, and half the range between the lowest and the highest; None with a single seed."""

    mean: float
    half: float | None
    low: float
    high: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Of a score with each seed; None without any."""
        if not values:
            return None
        low, high = min(values), max(values)
        return cls(sum(values) / len(values), (high - low) / 2 if len(values) > 1 else None, low, high, len(values))


@dataclass(frozen=True)
class Difference:
    """A row's score minus the baseline's, seed by seed; `apart` where no seed of the one reaches into the range of the
    other, None where one of the two has a single seed.
    """

    spread: Spread
    apart: bool | None


@dataclass(frozen=True)
class Line:
    """A row with what is known of it so far; scores and differences by the protocol's names."""

    row: Row
    cost: RowCost
    outcomes: tuple[Outcome, ...]
    scores: Mapping[str, Spread | None]
    differences: Mapping[str, Difference | None]
    latency: Latency | None = None

    @property
    def done(self) -> list[Outcome]:
        """The outcomes that have scores."""
        return [one for one in self.outcomes if one.error is None]

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes that have none."""
        return [one for one in self.outcomes if one.error is not None]


@dataclass(frozen=True)
class Results:
    """A study's table. `data` and `split` are what was scored on; `setting` is what latencies were measured on, None
    before.
    """

    study: Study
    data: str
    split: str
    lines: tuple[Line, ...]
    setting: str | None = None

    @property
    def shown(self) -> list[str]:
        """The scores of the table: AP in all its forms, without recalls."""
        return [label for label in self.study.labels if label.startswith("AP")]

    @property
    def main(self) -> str:
        """The score that differences are shown of: AP, or the first where a protocol has none of this name."""
        labels = self.study.labels
        return "AP" if "AP" in labels else labels[0]

    @property
    def failures(self) -> list[str]:
        """One line of each cell that failed."""
        return [f"{one.row}, seed {one.seed}: {one.error}" for line in self.lines for one in line.failed]

    @property
    def versions(self) -> list[str]:
        """The versions that cells were trained with; more than one where the study went on after an update."""
        done = [one for line in self.lines for one in line.done]
        return sorted({f"finespot {one.finespot}, torch {one.torch}" for one in done})

    def claimed_difference(self, line: Line) -> float | None:
        """What is claimed for a row minus what is claimed for the baseline, in percentage points."""
        base, own, name = self.study.row(self.study.baseline).claim, line.row.claim, self.main
        if own is None or base is None or line.row.name == self.study.baseline:
            return None
        return own.values[name] - base.values[name] if name in own.values and name in base.values else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; all scores from 0 to 1, those that are claimed too."""
        study = self.study
        return {
            "study": study.name,
            "title": study.title,
            "recipe": study.recipe,
            "protocol": study.protocol,
            "data": self.data,
            "split": self.split,
            "seeds": list(study.seeds),
            "epochs": study.rows[0].recipe.epochs,
            "baseline": study.baseline,
            "scored": "averaged weights of the last epoch",
            "spread": "half the range over seeds",
            "latency": self.setting,
            "versions": self.versions,
            "rows": [self._row(line) for line in self.lines],
        }

    def _row(self, line: Line) -> dict[str, Any]:
        row = line.row
        return {
            "name": row.name,
            "group": row.group,
            "note": row.note,
            "of": row.of,
            "changes": dict(row.changes),
            "scores": {name: asdict(one) if one else None for name, one in line.scores.items()},
            "differences": {name: asdict(one) if one else None for name, one in line.differences.items()},
            "cost": asdict(line.cost),
            "latency_ms": asdict(line.latency) if line.latency else None,
            "claimed": _claimed(row),
            "cells": [msgspec.to_builtins(one) for one in line.outcomes],
        }


def results(
    study: Study,
    rows: Sequence[Row],
    costs: Mapping[str, RowCost],
    outcomes: Sequence[Outcome],
    *,
    data: str,
    split: str,
    timing: Timing | None = None,
) -> Results:
    """The table of what became of the cells so far."""
    by_row = {row.name: tuple(one for one in outcomes if one.row == row.name) for row in study.rows}
    lines = [
        Line(
            row=row,
            cost=costs[row.name],
            outcomes=by_row[row.name],
            scores={label: Spread.of(_values(by_row[row.name], label)) for label in study.labels},
            differences={
                label: _difference(by_row[row.name], by_row[study.baseline], label)
                for label in study.labels
                if row.name != study.baseline
            },
            latency=timing.rows.get(row.name) if timing else None,
        )
        for row in rows
    ]
    return Results(study, data, split, tuple(lines), timing.setting if timing else None)


def _values(outcomes: Sequence[Outcome], label: str) -> list[float]:
    return [value for one in outcomes if one.error is None and (value := one.values.get(label)) is not None]


def _difference(own: Sequence[Outcome], base: Sequence[Outcome], label: str) -> Difference | None:
    """Over the seeds that both have."""
    ours = {one.seed: one.values[label] for one in own if one.values.get(label) is not None}
    theirs = {one.seed: one.values[label] for one in base if one.values.get(label) is not None}
    seeds = [seed for seed in ours if seed in theirs]
    pairs = [(a, b) for seed in seeds if (a := ours[seed]) is not None and (b := theirs[seed]) is not None]
    spread = Spread.of([a - b for a, b in pairs])
    if spread is None:
        return None
    above, below = [a for a, _ in pairs], [b for _, b in pairs]
    apart = min(above) > max(below) or max(above) < min(below) if len(pairs) > 1 else None
    return Difference(spread, apart)


def _claimed(row: Row) -> dict[str, Any] | None:
    if row.claim is None:
        return None
    values = {name: value if name in COSTS else value / 100 for name, value in row.claim.values.items()}
    return {**values, "protocol": row.claim.protocol, "source": row.claim.source}
