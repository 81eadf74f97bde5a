"""What an evaluation found: numbers, curves, and what a reader must know to compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.accumulation import Accumulated
from finespot.metrics.protocols import Protocol

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
        found, false = np.cumsum(right), np.cumsum(wrong)
        # Detections of one score stand or fall together under a threshold.
        ends = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.zeros(0, np.int64)
        f1 = 2 * found[ends] / np.maximum(found[ends] + false[ends] + objects, 1)
        if not len(f1):
            return cls(iou, recall, precision, 0.0, 0.0, 0.0, 0.0)
        best = int(ends[np.argmax(f1)])
        return cls(
            iou=iou,
            recall=recall,
            precision=precision,
            confidence=float(scores[best]),
            best_f1=float(f1.max()),
            best_precision=float(found[best] / max(found[best] + false[best], 1)),
            best_recall=float(found[best] / objects),
        )


@dataclass(frozen=True)
class Report:
    """Numbers by the protocol's labels, 0 to 1, None where there is nothing to average (no objects).

    `images`, `truths` (ordinary objects), `ignored` (crowds and ignore regions as the data set has them: one without a
    class is one) and `detections` (within the limits) count what was compared; `objects` counts ordinary objects by
    class. `settings` say how the detections were made, where that is known. `notes` are one-line findings.
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
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, split: str) -> dict[str, Any]:
        """A dictionary of plain values for a file or a weight card."""
        return {
            "protocol": self.protocol.name,
            "split": split,
            "images": self.images,
            "values": dict(self.values),
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "settings": dict(self.settings),
        }

    def table(self) -> Any:
        """A `rich` table of AP by class, with the recalls, settings, limits, counts and notes below it."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        shown = self._labels("AP")
        table = ResultTable(("class",), ("objects", *shown), box=None, pad_edge=False)
        if len(self.classes) > 1:
            for name in self.classes:
                table.row(name, *self._cells(self.objects[name], self.per_class[name], shown))
        table.row("all", *self._cells(self.truths, self.values, shown), style="bold")
        return Group(table, *(Text(line) for line in self._lines()))

    def _cells(self, objects: int, values: dict[str, float | None], shown: list[str]) -> list[str]:
        if not objects:
            return ["no objects", *("" for _ in shown)]
        return [str(objects), *(_number(values[label]) for label in shown)]

    def _lines(self) -> list[str]:
        recalls = "  ".join(f"{label} {_number(self.values[label])}" for label in self._labels("AR"))
        lines = [recalls] if recalls else []
        lines.append(
            f"{self.protocol.name}: {self.images} images, {self.truths} objects, {self.ignored} ignore regions, "
            f"{self.detections} detections"
        )
        if self.settings:
            lines.append("made with " + ", ".join(_setting(name, value) for name, value in self.settings.items()))
        lines.append(
            f"at most {self.protocol.max_dets[-1]} detections per image and class; "
            "what lies on an ignore region of its class is neither right nor wrong"
        )
        present = [values for name, values in self.per_class.items() if self.objects[name]]
        if any(values[label] is None for values in present for label in self._labels("AP")):
            lines.append("-: no objects of this size")
        return [*lines, *self.notes]

    def _labels(self, kind: str) -> list[str]:
        rows = [row for row in self.protocol.rows if row.kind == kind and self.protocol.covers(row)]
        return [self.protocol.label(row) for row in rows]


def _setting(name: str, value: Any) -> str:
    """`conf 0.25`; a setting of several values is `tiling (size 640, overlap 0.2)`."""
    if isinstance(value, Mapping):
        return f"{name} ({', '.join(_setting(*item) for item in value.items())})"
    return f"{name} {'none' if value is None else value}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
