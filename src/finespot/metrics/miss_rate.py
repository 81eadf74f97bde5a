"""The miss rate of one class over false positives per image, as in pedestrian benchmarks (Dollar et al., PAMI 2012).

TinyPerson's program reads the recall at nine numbers of false positives per image, evenly spaced in logarithm from 0.01
to 1. Where even the first detection exceeds such a number nothing is found there; the program takes the last, best
recall instead (an index of -1), which `wrap` keeps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

FPPI = np.exp(np.log(0.01) + np.arange(9) * (np.log(100) / 8))


def miss_rates(right: Flags, wrong: Flags, objects: int, pictures: int, *, wrap: bool) -> Floats:
    """(9,) share of objects missed at the false positives per image `FPPI`.

    `right` and `wrong` (D,) flag detections that come by falling score as true and false positives (neither: ignored).
    """
    if not len(right):
        return np.ones(len(FPPI))
    recall = np.cumsum(right) / objects
    place = np.searchsorted(np.cumsum(wrong) / pictures, FPPI, side="right") - 1
    found = np.where((place >= 0) | wrap, recall[place], 0.0)
    missed: Floats = 1 - found
    return missed


def log_mean(missed: Floats) -> float:
    """The geometric mean of miss rates; 0 where one of them is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(missed).mean()))
