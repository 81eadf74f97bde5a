"""The confusion matrix: which class is taken for which, and what is missed or invented.

Detections first find truths of their own class, by the rule of the average precision; of what is left over, a
detection that overlaps a truth of another class is a confusion. So the diagonal holds the true positives of the
chosen confidence. A detection left over on an ignore region of its class is not counted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.judged import judged
from finespot.metrics.protocols import PROTOCOLS
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]


def confusion_matrix(truth: Truth, results: Results, *, conf: float = 0.25, iou: float = 0.5) -> Rows:
    """Counts of shape (K + 1, K + 1): rows are true classes, columns predicted ones, the last of both is background.

    Row K counts detections where nothing is (false positives), column K objects that were missed.

    Parameters
    ----------
    conf:
        Detections of a lower score are left out.
    iou:
        The least overlap for a detection to count as found, above 0 to 1.
    """
    if not 0 < iou <= 1:
        raise FineSpotError(f"expected an overlap above 0 to 1 but got {iou}", where="iou")
    classes = len(truth.classes)
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    truth, results = truth.spread(), results.select((results.scores >= conf) & (results.label >= 0))
    own = _partners(truth, results, iou)
    found = own >= 0
    # A truth taken by its own class is gone for the others; crowds only spare detections.
    np.add.at(counts, (results.label[found], results.label[found]), ~truth.crowd[own[found]])
    free = ~truth.crowd
    free[own[found]] = False
    left_truth, left_results = truth.select(free), results.select(~found)
    other = _partners(left_truth, left_results, iou, pooled=True)
    hit = other >= 0
    np.add.at(counts, (left_truth.label[other[hit]], left_results.label[hit]), 1)
    np.add.at(counts, (np.full((~hit).sum(), classes), left_results.label[~hit]), 1)
    missed = np.ones(len(left_truth), bool)
    missed[other[hit]] = False
    np.add.at(counts, (left_truth.label[missed], np.full(missed.sum(), classes)), 1)
    return counts


def _partners(truth: Truth, results: Results, iou: float, *, pooled: bool = False) -> Rows:
    """For each row of the results, the row of the truth that it takes, or -1."""
    rules = replace(PROTOCOLS["coco"], max_dets=(), rows=(), pooled=pooled)
    return judged(truth, results, rules, iou=iou).partner
