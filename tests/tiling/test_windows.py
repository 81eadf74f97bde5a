"""Windows cover the picture, have one shape, and hold every object no larger than the overlap whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.structures import Tile, Tiling
from finespot.tiling import grid, windows, worth

SIZES = st.tuples(st.integers(1, 900), st.integers(1, 900))
TILINGS = st.builds(Tiling, size=st.integers(32, 400), overlap=st.floats(0, 0.6))


@pytest.mark.parametrize(
    ("size", "tiling", "count", "last"),
    [
        ((512, 640), None, 1, (0, 0, 640, 512)),
        ((512, 640), Tiling(None), 1, (0, 0, 640, 512)),
        ((512, 640), Tiling(640, 0.2), 1, (0, 0, 640, 512)),  # the picture is smaller than the tile
        ((2250, 4000), Tiling(640, 0.2), 5 * 8, (3360, 1610, 4000, 2250)),  # the last ones move inwards
        ((640, 1280), Tiling(640, 0.0), 2, (640, 0, 1280, 640)),  # exact fit
        ((640, 1281), Tiling(640, 0.0), 3, (641, 0, 1281, 640)),
        ((300, 1000), Tiling(400, 0.5), 4, (600, 0, 1000, 300)),  # lower than the tile
    ],
)
def test_counts_and_last_window(size, tiling, count, last) -> None:
    found = windows(size, tiling)
    assert len(found) == count
    assert found[-1].window == last


@settings(deadline=None)
@given(SIZES, TILINGS)
def test_one_shape_inside_and_covering(size, tiling) -> None:
    height, width = size
    covered = np.zeros(size, bool)
    shapes = set()
    for tile in windows(size, tiling):
        x1, y1, x2, y2 = tile.window
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        shapes.add((y2 - y1, x2 - x1))
        covered[y1:y2, x1:x2] = True
    assert shapes == {(min(height, tiling.size), min(width, tiling.size))}
    assert covered.all()


@settings(deadline=None)
@given(SIZES, TILINGS, st.data())
def test_an_object_no_larger_than_the_overlap_lies_whole_in_a_window(size, tiling, data) -> None:
    height, width = size
    side = tiling.overlap_pixels
    w, h = (data.draw(st.integers(0, min(side, limit))) for limit in (width, height))
    x, y = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    inside = [
        tile
        for tile in windows(size, tiling)
        if tile.window[0] <= x and tile.window[1] <= y and x + w <= tile.window[2] and y + h <= tile.window[3]
    ]
    assert inside


def test_overlap_has_an_effect() -> None:
    counts = [len(windows((2000, 2000), Tiling(640, overlap))) for overlap in (0.0, 0.4, 0.6)]
    assert counts == sorted(set(counts))


def test_overlap_is_not_rounded_up_by_floating_point() -> None:
    assert Tiling(640, 0.2).overlap_pixels == 128
    assert Tiling(100, 0.07).overlap_pixels == 7


def test_overlap_in_pixels_is_that_of_the_share() -> None:
    assert windows((2250, 4000), Tiling(640, 128)) == windows((2250, 4000), Tiling(640, 0.2))


@pytest.mark.slow
@settings(deadline=None)
@given(SIZES, TILINGS)
def test_the_whole_picture_is_one_window_more_where_it_is_cut(size, tiling) -> None:
    plain, seen = windows(size, tiling), windows(size, replace(tiling, whole=True))
    assert grid(size, replace(tiling, whole=True)) == plain
    assert seen[: len(plain)] == plain
    cut = max(size) > tiling.size
    assert seen[len(plain) :] == ([Tile((0, 0, size[1], size[0]), whole=True)] if cut else [])


def test_worth_is_by_area() -> None:
    size, tiling = (500, 2000), Tiling(640)
    assert all(worth(tile, size, tiling) == 1 for tile in windows(size, Tiling(640, whole=True)))
    assert worth(Tile((0, 0, 320, 250)), size, tiling) == 0.25
    assert worth(Tile((0, 0, 2000, 500)), size, None) == 1
