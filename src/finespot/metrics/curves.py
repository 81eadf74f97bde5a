"""Precision, recall and F1 over the confidence, and the threshold to use.

A threshold keeps the detections of its confidence or more; those of one confidence stand or fall together, so the
curves have one point for each confidence that occurs. Detections on ignored objects count nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.judged import ANY_SIZE, Judged, judged
from finespot.metrics.protocols import AreaRange, Protocol, protocol
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """A confidence and what the detections of that confidence or more reach; `detections` is their number."""

    confidence: float
    precision: float
    recall: float
    f1: float
    detections: int


@dataclass(frozen=True)
class ConfidenceCurve:
    """Counts over falling confidences: `found` and `false` (N,) at `confidence` (N,) or more, of so many objects."""

    confidence: Floats
    found: Rows
    false: Rows
    objects: int

    @classmethod
    def trace(cls, scores: Floats, right: Flags, wrong: Flags, objects: int) -> ConfidenceCurve:
        """From detections in any order, flagged as true or false positives (neither: ignored)."""
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        ends = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.zeros(0, np.int64)
        found, false = (np.cumsum(flags[order], dtype=np.int64) for flags in (right, wrong))
        return cls(scores[ends], found[ends], false[ends], objects)

    @property
    def precision(self) -> Floats:
        """Share of true positives, 0 where only ignored detections are."""
        return np.asarray(self.found / np.maximum(self.found + self.false, 1))

    @property
    def recall(self) -> Floats:
        """Share of the objects that are found, 0 without objects."""
        return np.asarray(self.found / max(self.objects, 1))

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall."""
        return np.asarray(2 * self.found / np.maximum(self.found + self.false + self.objects, 1))

    def best_threshold(self, *, precision: float | None = None, recall: float | None = None) -> Threshold | None:
        """The threshold of the best F1, or of what is wanted; of equals the one of the higher confidence.

        With a least `precision`, the threshold of the highest recall that reaches it; with a least `recall`, that of
        the highest precision; with both, that of the best F1 among those that reach both. None where none does or
        there is no detection.

        Raises
        ------
        FineSpotError
            A wish is not above 0 to 1.
        """
        able = np.ones(len(self.confidence), bool)
        for name, wish, values in (("precision", precision, self.precision), ("recall", recall, self.recall)):
            if wish is not None:
                if not 0 < wish <= 1:
                    raise FineSpotError(f"expected a share above 0 to 1 but got {wish}", where=name)
                able &= values >= wish
        if not able.any():
            return None
        if (precision is None) == (recall is None):
            value = self.f1
        else:
            value = self.recall if recall is None else self.precision
        best = int(np.argmax(np.where(able, value, -1.0)))
        return Threshold(
            confidence=float(self.confidence[best]),
            precision=float(self.precision[best]),
            recall=float(self.recall[best]),
            f1=float(self.f1[best]),
            detections=int(self.found[best] + self.false[best]),
        )


@dataclass(frozen=True)
class ConfidenceCurves:
    """The curves of each class with objects and of all together (one threshold for all), at one overlap.

    Of a protocol that takes all classes for one there are no curves of classes.
    """

    iou: float
    classes: dict[str, ConfidenceCurve]
    together: ConfidenceCurve

    def best_thresholds(
        self, *, precision: float | None = None, recall: float | None = None
    ) -> dict[str, Threshold | None]:
        """`ConfidenceCurve.best_threshold` of each class."""
        return {name: curve.best_threshold(precision=precision, recall=recall) for name, curve in self.classes.items()}


def confidence_curves(
    truth: Truth,
    results: Results,
    protocol_or_name: Protocol | str = "coco",
    *,
    iou: float = 0.5,
    area: AreaRange = ANY_SIZE,
) -> ConfidenceCurves:
    """Curves over the confidence by the rules of a protocol, at one overlap and for one size range.

    Raises
    ------
    FineSpotError
        The protocol's name is unknown or the overlap is not above 0 to 1.
    """
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    fate = judged(truth, results, rules, iou=iou, area=area)
    names = () if rules.pooled else truth.classes.names
    return ConfidenceCurves(
        iou=iou,
        classes={
            name: curve
            for k, name in enumerate(names)
            if (curve := _curve(results, fate, results.label == k, truth.label == k)).objects
        },
        together=_curve(results, fate, np.ones(len(results), bool), np.ones(len(truth), bool)),
    )


def reaches_best_f1(truth: Truth, results: Results, rules: Protocol, *, iou: float = 0.5) -> Flags:
    """Which detections (D,) reach the threshold of the best F1 of their class, or of all classes taken for one."""
    curves = confidence_curves(truth, results, rules, iou=iou)
    least = np.full(len(truth.classes), np.inf)
    for k, name in enumerate(truth.classes.names):
        curve = curves.together if rules.pooled else curves.classes.get(name)
        best = curve.best_threshold() if curve is not None else None
        if best is not None:
            least[k] = best.confidence
    # A detection of no class of the truth (-1) is never shown.
    return np.asarray((results.label >= 0) & (results.scores >= least[results.label]))


def _curve(results: Results, fate: Judged, of_results: Flags, of_truth: Flags) -> ConfidenceCurve:
    rows = np.flatnonzero(of_results & (fate.right | fate.wrong))
    objects = int((fate.counts & of_truth).sum())
    return ConfidenceCurve.trace(results.scores[rows], fate.right[rows], fate.wrong[rows], objects)
