"""What an evaluation found: numbers, curves, and what a reader must know to compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.accumulation import Accumulated
from finespot.metrics.curves import ConfidenceCurve
from finespot.metrics.protocols import Protocol
from finespot.metrics.protocols.wording import brief

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# More columns than this do not fit a screen; then only those of the first size range are columns.
_COLUMNS = 9


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one class at one IoU threshold, and the confidence of the best F1.

    `recall` and `precision` are the 101 points of the average precision. The best F1 is taken over the confidences
    that occur, with the precision and recall of all detections of that confidence or more; zeros without detections.
    """

    iou: float
    recall: Floats
    precision: Floats
    confidence: float
    best_f1: float
    best_precision: float
    best_recall: float

    @classmethod
    def trace(
        cls,
        *,
        iou: float,
        recall: Floats,
        precision: Floats,
        scores: Floats,
        right: Flags,
        wrong: Flags,
        objects: int,
    ) -> Curve:
        """From detections by falling score, flagged as true or false positives (neither: ignored)."""
        best = ConfidenceCurve.trace(scores, right, wrong, objects).best_threshold()
        if best is None:
            return cls(iou, recall, precision, 0.0, 0.0, 0.0, 0.0)
        return cls(iou, recall, precision, best.confidence, best.f1, best.precision, best.recall)


@dataclass(frozen=True)
class Report:
    """Numbers by the protocol's labels, None where there is nothing to average (no objects).

    They are 0 to 1, or in percent where the tool prints percent (`unit`). `images`, `truths` (ordinary objects),
    `ignored` (crowds, other ignored objects and ignore regions as the data set has them: one without a class is one)
    and `detections` (within the limits) count what was compared; `objects` and `found` count ordinary objects and
    detections by class. `kept` are the objects and detections of each picture that are left where regions delete some.
    `settings` say how the detections were made, where that is known. `notes` are one-line findings.
    """

    protocol: Protocol
    classes: tuple[str, ...]
    values: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    objects: dict[str, int]
    images: int
    truths: int
    ignored: int
    detections: int
    curves: dict[str, Curve] = field(repr=False)
    averages: Accumulated = field(repr=False)
    found: dict[str, int] = field(default_factory=dict)
    kept: dict[int | str, tuple[int, int]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """`fraction` or `percent`."""
        return self.protocol.unit

    def to_json(self, split: str) -> dict[str, Any]:
        """A dictionary of plain values for a file or a weight card."""
        return {
            "protocol": self.protocol.name,
            "split": split,
            "images": self.images,
            "values": dict(self.values),
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "unit": self.unit,
            "counts": {
                "objects": dict(self.objects),
                "ignored": self.ignored,
                "detections": dict(self.found),
                "kept_after_ignore_drop": {
                    "truths": sum(truths for truths, _ in self.kept.values()),
                    "detections": sum(detections for _, detections in self.kept.values()),
                },
            },
            "rules": self.protocol.describe(),
            "notes": list(self.notes),
            "settings": dict(self.settings),
        }

    def table(self) -> Any:
        """A `rich` table of AP by class, with the recalls, settings, limits, counts and notes below it."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        shown, others = self._columns()
        table = ResultTable(("class",), ("objects", *shown), box=None, pad_edge=False)
        if len(self.classes) > 1:
            for name in self.classes:
                table.row(name, *self._cells(self.objects[name], self.per_class[name], shown))
        table.row("all", *self._cells(self.truths, self.values, shown), style="bold")
        return Group(table, *(Text(line) for line in (*self._others(others), *self.facts())))

    def _columns(self) -> tuple[list[str], list[list[str]]]:
        """Labels that make columns, and the others in groups of one kind (and threshold, where there are many)."""
        rules = self.protocol
        rows = [row for row in rules.rows if rules.covers(row) and rules.label(row) in self.values]
        # A mean over classes of another kind has no values of classes of its own.
        columns = [row for row in rows if row.kind == rows[0].kind and row.class_mean is None]
        split = False
        if len(columns) > _COLUMNS:
            columns = [row for row in columns if row.area == rules.areas[0].label]
            split = True
        groups: dict[tuple[str, float | None], list[str]] = {}
        for row in rows:
            if row not in columns:
                kind = row.kind.split("_")[0]
                groups.setdefault((kind, row.iou if split else None), []).append(rules.label(row))
        return [rules.label(row) for row in columns], list(groups.values())

    def _cells(self, objects: int, values: dict[str, float | None], shown: list[str]) -> list[str]:
        if not objects:
            return ["no objects", *("" for _ in shown)]
        return [str(objects), *(self._number(values[label]) for label in shown)]

    def _others(self, groups: list[list[str]]) -> list[str]:
        return ["  ".join(f"{label} {self._number(self.values[label])}" for label in group) for group in groups]

    def facts(self) -> list[str]:
        """What a reader must know to compare the numbers: counts, settings, rules and notes, one line each."""
        name = f"{self.protocol.name} (percent)" if self.protocol.percent else self.protocol.name
        lines = [
            f"{name}: {self.images} images, {self.truths} objects, {self.ignored} ignore regions, "
            f"{self.detections} detections"
        ]
        if self.settings:
            lines.append("made with " + ", ".join(_setting(name, value) for name, value in self.settings.items()))
        lines.append(brief(self.protocol))
        shown, _ = self._columns()
        present = [values for name, values in self.per_class.items() if self.objects[name]]
        if any(values[label] is None for values in present for label in shown):
            lines.append("-: no objects of this size")
        return [*lines, *self.notes]

    def _number(self, value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" if self.protocol.percent else f"{value:.3f}"


def _setting(name: str, value: Any) -> str:
    """`conf 0.25`; a setting of several values is `tiling (size 640, overlap 0.2)`."""
    if isinstance(value, Mapping):
        return f"{name} ({', '.join(_setting(*item) for item in value.items())})"
    return f"{name} {'none' if value is None else value}"
