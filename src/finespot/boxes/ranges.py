"""Pairs out of ranges of sorted positions, a bounded number at once: how searches for near boxes are read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def range_pairs(start: Rows, end: Rows, most: int) -> Iterator[tuple[Rows, Rows]]:
    """All (k, j) with start[k] <= j < end[k], in order, as pairs of arrays of about `most` entries: memory stays small.

    A range alone that is longer comes in one piece; one that ends before it starts is empty.
    """
    counts = np.maximum(end - start, 0)
    edges = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        done = edges[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(edges, done + most, side="right")))
        part = counts[begin:stop]
        first = np.repeat(start[begin:stop] - (np.cumsum(part) - part), part)
        yield np.repeat(np.arange(begin, stop), part), first + np.arange(len(first))
        begin = stop
