"""The LRP error of one class (Oksuz et al., Localization Recall Precision, ECCV 2018), as AI-TOD's tool computes it.

For each score as a limit: how far the boxes found are off, what is found falsely and what is missed, together a number
from 0 (perfect) to 1. The best limit gives oLRP. `loc` is the mean of 1 - IoU over the true positives, which is not
divided by 1 - threshold as it is in the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
_NAN = float("nan")


@dataclass(frozen=True)
class LRP:
    """The least error, its parts and the score where it is reached. NaN where nothing is found."""

    error: float
    loc: float
    false: float
    missed: float
    threshold: float


def optimal_lrp(right: Flags, wrong: Flags, iou: Floats, scores: Floats, objects: int, threshold: float) -> LRP:
    """The least LRP error of detections that come by falling score.

    Parameters
    ----------
    right, wrong:
        (D,) true and false positives at the IoU `threshold`; neither: ignored.
    iou:
        (D,) overlap of each true positive with its truth.
    objects:
        Truths that count, 1 or more.
    """
    if not right.any():
        return LRP(1.0, _NAN, _NAN, 1.0, _NAN)
    found, false = np.cumsum(right), np.cumsum(wrong)
    missed = objects - found
    # The order of operations is the tool's: it decides which of equal errors comes first.
    off = found - np.cumsum(np.where(right, iou, 0.0))
    error = (off / (1 - threshold) + false + missed) / (found + false + missed)
    best = int(np.argmin(error))
    hits, misfires = int(found[best]), int(false[best])
    return LRP(
        error=float(error[best]),
        loc=float(off[best] / hits) if hits else _NAN,
        false=misfires / (hits + misfires) if hits + misfires else _NAN,
        missed=float(missed[best] / objects),
        threshold=float(scores[best]),
    )
