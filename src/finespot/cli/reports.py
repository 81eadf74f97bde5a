"""Reports of one or several protocols on a terminal and as JSON: each a table of its own, official and clean apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.metrics import Protocol, Report, Results, Truth

_SAME = 1e-12


@dataclass(frozen=True)
class Scored:
    """A protocol's numbers as its tool has them and, where they differ, those without the tool's oddities."""

    official: Report
    clean: Report | None = None

    @classmethod
    def of(cls, truth: Truth, results: Results, rules: Protocol) -> Scored:
        """Score results by a protocol."""
        from finespot import metrics

        return cls.beside(metrics.evaluate(truth, results, rules), truth, results)

    @classmethod
    def beside(cls, official: Report, truth: Truth, results: Results) -> Scored:
        """A report of these tables, and that of its protocol's clean form where it differs."""
        from finespot import metrics

        clean = metrics.cleaned(official, truth, results)
        return cls(official, None if clean is None or _same(official.values, clean.values) else clean)

    def made_with(self, settings: Mapping[str, Any]) -> Scored:
        """The same, told how it was made."""
        official = replace(self.official, settings=settings)
        return Scored(official, None if self.clean is None else replace(self.clean, settings=settings))

    def show(self, out: Console, split: str) -> None:
        """Print a table of each."""
        for report in (self.official, self.clean):
            if report is not None:
                out.print(f"\n{report.protocol.name}, split {split}", style="bold", highlight=False, markup=False)
                out.print(report.table())

    def to_json(self, split: str) -> dict[str, Any]:
        """The official report, with the other one under `clean`."""
        report = self.official.to_json(split)
        return report if self.clean is None else {**report, "clean": self.clean.to_json(split)}


def joined(scored: Sequence[Scored], split: str) -> dict[str, Any]:
    """One object for a file: the report of one protocol itself, those of several as a list `reports`."""
    found = [one.to_json(split) for one in scored]
    return found[0] if len(found) == 1 else {"reports": found}


def _same(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> bool:
    return one.keys() == other.keys() and all(
        value is other[name] or (value is not None and _near(value, other[name])) for name, value in one.items()
    )


def _near(value: float, other: float | None) -> bool:
    return other is not None and abs(value - other) <= _SAME
