"""Whether a confidence of 0.7 means that seven in ten are right: reliability bins and calibration errors.

After Guo et al. 2017 (On Calibration of Modern Neural Networks); of detectors, as Kueppers et al. 2020 (Multivariate
Confidence Calibration for Object Detection) with the confidence alone: in each bin the mean confidence is compared with
the share of true positives. Missed objects have no confidence and take no part. What differs: detections on ignored
objects, and of sizes that do not count, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.judged import ANY_SIZE, Judged, judged
from finespot.metrics.protocols import Protocol, protocol
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Detections in bins of confidence: bin b has those above `edges[b]` up to `edges[b + 1]` (the first: from).

    `count` (B,) detections, their mean `confidence` (B,) and the share `precision` (B,) of true positives; both NaN in
    an empty bin.
    """

    edges: Floats
    count: Rows
    confidence: Floats
    precision: Floats

    @classmethod
    def of(cls, scores: Floats, right: Flags, edges: Floats) -> Reliability:
        """From detections and whether each is a true positive."""
        bins = len(edges) - 1
        place = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, bins - 1)
        count = np.bincount(place, minlength=bins)
        total, found = (np.bincount(place, values, minlength=bins) for values in (scores, right.astype(np.float64)))
        some = np.where(count > 0, count, np.nan)
        return cls(edges, count, total / some, found / some)

    @property
    def detections(self) -> int:
        """How many detections all bins hold."""
        return int(self.count.sum())

    @property
    def ece(self) -> float | None:
        """The expected calibration error: the distance of both, weighted by detections; None of no detections."""
        gaps = self._gaps()
        return float((gaps * self.count).sum() / self.count.sum()) if self.detections else None

    @property
    def mce(self) -> float | None:
        """The maximum calibration error: the largest distance in a bin; None of no detections."""
        return float(self._gaps().max()) if self.detections else None

    def _gaps(self) -> Floats:
        return np.where(self.count > 0, np.abs(np.nan_to_num(self.confidence - self.precision)), 0.0)


@dataclass(frozen=True)
class Calibration:
    """Reliability of all detections, by class, and by the protocol's size ranges, at one overlap.

    All share the edges of the bins. `conf` is the least score of the detections that were looked at.
    """

    iou: float
    conf: float
    overall: Reliability
    classes: dict[str, Reliability]
    sizes: dict[str, Reliability]


def calibration(
    truth: Truth,
    results: Results,
    protocol_or_name: Protocol | str = "coco",
    *,
    iou: float = 0.5,
    bins: int = 10,
    equal_counts: bool = False,
    conf: float = 0.0,
) -> Calibration:
    """Compare confidences with the share of true positives.

    Parameters
    ----------
    bins:
        How many bins of equal width from 0 to 1.
    equal_counts:
        Bins of about equally many detections instead (fewer where many scores are the same), which most detectors
        need whose scores are mostly near 0.
    conf:
        Detections of a lower score are left out: those that you would never show.

    Raises
    ------
    FineSpotError
        The protocol's name is unknown, an argument is out of its range, or a score lies outside 0 to 1.
    """
    if bins < 1:
        raise FineSpotError(f"expected 1 bin or more but got {bins}", where="bins")
    if not 0 <= conf < 1:
        raise FineSpotError(f"expected a score of 0 or more and below 1 but got {conf}", where="conf")
    if len(results) and not (results.scores.min() >= 0 and results.scores.max() <= 1):
        low, high = results.scores.min(), results.scores.max()
        raise FineSpotError(
            f"expected scores from 0 to 1 but got {low:g} to {high:g}", hint="only probabilities can be calibrated"
        )
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    seen = results.scores >= conf
    fate = judged(truth, results, rules, iou=iou)
    edges = np.linspace(0, 1, bins + 1)
    shown = seen & (fate.right | fate.wrong)
    if equal_counts and shown.any():
        edges = np.unique(np.quantile(results.scores[shown], edges))
        edges = edges if len(edges) > 1 else np.repeat(edges, 2)
    return Calibration(
        iou=iou,
        conf=conf,
        overall=_reliability(results, fate, seen, edges),
        classes={
            name: _reliability(results, fate, seen & (results.label == k), edges)
            for k, name in enumerate(truth.classes.names)
        },
        sizes={
            area.label: _reliability(results, judged(truth, results, rules, iou=iou, area=area), seen, edges)
            for area in rules.areas
            if area.label != ANY_SIZE.label
        },
    )


def _reliability(results: Results, fate: Judged, chosen: Flags, edges: Floats) -> Reliability:
    rows = np.flatnonzero(chosen & (fate.right | fate.wrong))
    return Reliability.of(results.scores[rows], fate.right[rows], edges)
