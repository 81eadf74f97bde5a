"""What regions delete, against maps of pixels and plain comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.metrics import Regions, Results, Truth
from finespot.metrics.deletion import half_covered, strictly_inside
from finespot.structures import Classes

HEIGHT, WIDTH = 30, 40
boxes = st.lists(st.tuples(*(st.integers(-6, 50).map(float),) * 2, *(st.integers(0, 25).map(float),) * 2), max_size=5)
halves = st.tuples(*(st.integers(-12, 100).map(lambda x: x / 2),) * 2, *(st.integers(0, 50).map(lambda x: x / 2),) * 2)


def truth_of(regions) -> Truth:
    """Two pictures, of which the second has the regions."""
    none = np.zeros(0, int)
    return Truth(
        (1, 2),
        Classes(("a",)),
        none,
        none,
        np.zeros((0, 4)),
        np.zeros(0),
        none.astype(bool),
        none,
        regions=Regions(np.ones(len(regions), int), np.array(regions, float).reshape(-1, 4)),
        sizes=np.array([[HEIGHT, WIDTH]] * 2),
    )


def covered_on_a_map(regions, box) -> bool:
    """The rule as VisDrone's toolkit runs it: a map of pixels that count from 1, and its integral image."""
    painted = np.zeros((HEIGHT + 1, WIDTH + 1))
    for region in regions:
        x, y, w, h = (int(max(1, value)) for value in region)
        painted[y : min(HEIGHT, y + h) + 1, x : min(WIDTH, x + w) + 1] = 1
    total = painted.cumsum(axis=0).cumsum(axis=1)
    x, y, w, h = (int(max(1, np.floor(value + 0.5))) for value in box)
    left, top = min(x, WIDTH), min(y, HEIGHT)
    right, bottom = min(WIDTH, left + w), min(HEIGHT, top + h)
    inside = total[top, left] + total[bottom, right] - total[top, right] - total[bottom, left]
    return bool(inside / (h * w) >= 0.5)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(boxes, st.lists(halves, min_size=1, max_size=6))
def test_half_covered_is_what_a_map_says(regions, asked) -> None:
    asked = np.array(asked, float)
    truth = truth_of(regions)
    with_regions, without = half_covered(truth, (np.ones(len(asked), int), asked), (np.zeros(len(asked), int), asked))
    assert with_regions.tolist() == [covered_on_a_map(regions, box) for box in asked]
    assert not without.any()


@settings(max_examples=80, deadline=None)
@given(boxes, st.lists(halves, min_size=1, max_size=6))
def test_strictly_inside(regions, asked) -> None:
    asked = np.array(asked, float)
    image = np.arange(len(asked)) % 2
    results = Results(image, np.zeros(len(asked), int), asked, np.ones(len(asked)))
    expected = [
        bool(picture) and any(x > X and y > Y and x + w < X + W and y + h < Y + H for X, Y, W, H in regions)
        for picture, (x, y, w, h) in zip(image, asked)
    ]
    assert strictly_inside(truth_of(regions), results).tolist() == expected


def test_exactly_half_is_deleted() -> None:
    # A region from pixel 1 to 11 covers 10 of the 20 columns that the window of the second box has.
    truth = truth_of([(0, 0, 10, 40)])
    image, asked = np.ones(2, int), np.array([[1, 1, 21, 10], [1, 1, 20, 10]], float)
    assert half_covered(truth, (image, asked))[0].tolist() == [False, True]
