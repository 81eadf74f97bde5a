"""The pictures in which a detector fails most: what to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.curves import ConfidenceCurve
from finespot.metrics.judged import Judged
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Failure:
    """One picture (a position in the truth's `image_ids`): rows of the truth and of the results.

    `found` and `missed` are objects that count, `ignored` other rows of the truth, `false` false positives.
    """

    image: int
    found: Rows
    missed: Rows
    ignored: Rows
    false: Rows


@dataclass(frozen=True, eq=False)
class Worst:
    """Pictures with misses, most first, and pictures with false positives, most first; ties by position.

    Detections of `confidence` or more were looked at.
    """

    confidence: float
    missed: tuple[Failure, ...]
    false: tuple[Failure, ...]


def best_confidence(results: Results, fates: Judged) -> float:
    """The confidence of the best F1 over the objects of all classes together; 0 where none counts."""
    if not fates.counts.any():
        return 0.0
    order = np.argsort(-results.scores, kind="stable")
    rows = (results.scores[order], fates.right[order], fates.wrong[order])
    best = ConfidenceCurve.trace(*rows, int(fates.counts.sum())).best_threshold()
    return 0.0 if best is None else best.confidence


def worst(truth: Truth, results: Results, fates: Judged, n: int = 12) -> Worst:
    """The `n` pictures with most missed objects and the `n` with most false positives (`fates` of `judged`).

    Only detections count that are kept at the confidence of the best F1. Pictures without a miss (without a false
    positive) are not among them, so there may be fewer.

    Raises
    ------
    FineSpotError
        n is below 0.
    """
    if n < 0:
        raise FineSpotError(f"expected 0 pictures or more but got {n}", where="n")
    confidence = best_confidence(results, fates)
    shown = results.scores >= confidence
    found = np.zeros(len(truth), bool)
    found[fates.partner[fates.right & shown]] = True
    missed, false = fates.counts & ~found, fates.wrong & shown

    def failure(image: int) -> Failure:
        own = truth.image == image
        parts = (own & fates.counts & found, own & missed, own & ~fates.counts, (results.image == image) & false)
        return Failure(image, *map(np.flatnonzero, parts))

    def most(where: Rows) -> tuple[Failure, ...]:
        counts = np.bincount(where, minlength=len(truth.image_ids))
        order = np.argsort(-counts, kind="stable")[:n]
        return tuple(failure(int(image)) for image in order if counts[image])

    return Worst(confidence, most(truth.image[missed]), most(results.image[false]))
