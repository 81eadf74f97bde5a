"""Detections that found no truth but lie on an ignored one: TinyPerson's programs ignore them too.

How much of a detection an ignored truth covers is derived from the stored overlap o as
o / (1 + o) * (1 + area of the truth / area of the detection), which is the share of the detection where o is an IoU and
the truth's area is that of its box. Where o is the share itself (crowds, and all ignored truths of the miss rate), the
value is too small; `true_iod` measures the share instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.arrangement import Arranged
from finespot.metrics.matching import overlap, overlapping_pairs

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Any overlap at all: a small detection in a large truth has a small IoU.
_LEAST = 1e-15


def covers(data: Arranged, iod: Flags, ignored: Flags, *, true_iod: bool) -> tuple[Rows, Rows, Floats]:
    """The ignored truth that covers each detection most, in each size range.

    Parameters
    ----------
    iod:
        (G,) truths whose stored overlap is intersection over detection.
    ignored:
        (G, A) truths that do not count in a range.
    true_iod:
        Measure the share of the detection instead of deriving it.

    Returns
    -------
    Rows (C,) of the detections that overlap an ignored truth, rising; that truth (C, A), -1 where there is none; and
    the cover (C, A), the first of equals.
    """
    truth, results = data.truth, data.results
    some = np.flatnonzero(ignored.any(axis=1))
    pairs = overlapping_pairs(
        (data.group, data.truth_group[some]), (results.boxes, truth.boxes[some]), iod[some], _LEAST
    )
    detection, row = pairs.detection, some[pairs.truth]
    if true_iod:
        cover = overlap(results.boxes[detection], truth.boxes[row], np.ones(len(row), bool))
    else:
        o = pairs.overlap
        cover = o / (1 + o) * (1 + truth.area[row] / results.area[detection])
    rows, place = np.unique(detection, return_inverse=True)
    shape = (len(rows), ignored.shape[1])
    partner, most = np.full(shape, -1, np.int64), np.zeros(shape)
    order = np.lexsort((-row, cover, place))
    for a in range(shape[1]):
        chosen = order[ignored[row[order], a]]
        last = chosen[np.append(np.diff(place[chosen]) != 0, True)[: len(chosen)]]
        partner[place[last], a], most[place[last], a] = row[last], cover[last]
    return rows, partner, most
