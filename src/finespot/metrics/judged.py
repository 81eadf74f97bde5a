"""What became of each detection and object at one overlap: what curves, calibration and comparisons start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.arrangement import arrange
from finespot.metrics.outcome import judge
from finespot.metrics.protocols import AreaRange, Protocol
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

ANY_SIZE = AreaRange("all", 0, float("inf"))


@dataclass(frozen=True)
class Judged:
    """Detections and objects by the rules of a protocol, in the order of the tables that were given.

    For each row of the results (D,): `right` (true positive), `wrong` (false positive; neither of both: on an ignored
    object, or of a size that does not count), `kept` (within the protocol's limit, not deleted and of a class that is
    evaluated; else neither right nor wrong) and `partner`, the row of the truth that it took, -1 for none. For each row
    of the truth (G,): `counts` (an object that must be found) and `found`.
    """

    right: Flags
    wrong: Flags
    kept: Flags
    partner: Rows
    counts: Flags
    found: Flags


def judged(truth: Truth, results: Results, rules: Protocol, *, iou: float = 0.5, area: AreaRange = ANY_SIZE) -> Judged:
    """Match detections with objects of one size range at one overlap, within the protocol's largest limit.

    Raises
    ------
    FineSpotError
        The overlap is not above 0 to 1, or the protocol needs the sizes of the pictures and the truth has none.
    """
    if not 0 < iou <= 1:
        raise FineSpotError(f"expected an overlap above 0 to 1 but got {iou}", where="iou")
    rules = replace(rules, thresholds=(iou,), areas=(area,), rows=(), extra_thresholds=())
    data = arrange(truth, results, rules)
    outcome = judge(data, rules)
    right, wrong, kept = (np.zeros(len(results), bool) for _ in range(3))
    right[data.row], wrong[data.row] = outcome.lane(0, 0)
    kept[data.row] = True
    partner = np.full(len(results), -1, np.int64)
    listed = np.flatnonzero(outcome.place >= 0)
    taken = outcome.partner[0, 0][outcome.place[listed]]
    partner[data.row[listed]] = np.where(taken >= 0, data.truth_row[taken], -1)
    # Regions without a class stand behind the rows of the truth and are no rows of it.
    partner[partner >= len(truth)] = -1
    counts, found = np.zeros(len(truth), bool), np.zeros(len(truth), bool)
    own = data.truth_row < len(truth)
    counts[data.truth_row[own]] = ~outcome.ignored[own, 0]
    found[partner[right]] = True
    return Judged(right, wrong, kept, partner, counts, found)
