"""Pairs out of ranges: all of them, in order, in pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes.ranges import range_pairs


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(1, 8))
def test_all_pairs_in_order_in_pieces(ranges: list[tuple[int, int]], most: int) -> None:
    start, end = np.array(ranges, np.int64).reshape(-1, 2).T
    pieces = [(k.tolist(), j.tolist()) for k, j in range_pairs(start, end, most)]
    pairs = [pair for k, j in pieces for pair in zip(k, j, strict=True)]
    assert pairs == [(k, j) for k, (first, last) in enumerate(ranges) for j in range(first, last)]
    for k, _ in pieces:
        assert len(k) <= most or len(set(k)) == 1
