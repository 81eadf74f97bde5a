"""Chosen windows are no larger than what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.structures import Tile, Tiling
from finespot.tiling import cover, grid, needed, worth


def corners(tiles: list[Tile]) -> np.ndarray:
    return np.array([tile.window for tile in tiles], np.int64).reshape(-1, 4)


def spots(*places: tuple[int, int, int, int]) -> np.ndarray:
    """Heat (64, 80) of cells of 20 px, hot from row to row and from column to column."""
    heat = np.zeros((64, 80), np.float32)
    for top, left, bottom, right in places:
        heat[top:bottom, left:right] = 1
    return heat


@pytest.mark.parametrize(
    ("place", "sides"),
    [
        ((30, 40, 31, 41), (224, 224)),  # 20 px and a margin of 64 around
        ((30, 40, 31, 45), (320, 224)),
        ((30, 40, 35, 41), (224, 320)),
        ((30, 40, 39, 49), (320, 320)),
        ((0, 0, 8, 1), (224, 224)),  # no margin outside of the picture
    ],
)
def test_a_window_is_cut_down_to_what_it_is_for(place, sides) -> None:
    size, tiling = (1280, 1600), Tiling(640, 128)
    ((x1, y1, x2, y2),) = corners(cover(spots(place), 0.5, tiling, size)).tolist()
    assert (x2 - x1, y2 - y1) == sides
    assert worth(Tile((x1, y1, x2, y2)), size, tiling) == sides[0] * sides[1] / 640**2


@pytest.mark.parametrize(
    ("places", "sides"),
    [
        # Corners of what one window holds.
        ([(10, 10, 11, 11), (33, 33, 34, 34)], [(224, 224)] * 2),
        ([(10, 10, 11, 11), (10, 33, 11, 34), (33, 10, 34, 11), (33, 33, 34, 34)], [(224, 224)] * 4),
        ([(10, 10, 11, 11), (20, 10, 21, 20)], [(224, 224), (224, 224), (320, 224)]),
        # A line of 328 px with its margins: one end has a window of its own, the rest one of 320.
        ([(30, 40, 40, 41)], [(224, 224), (224, 320)]),
        # Near each other: two would have more area than one.
        ([(30, 40, 31, 41), (30, 45, 31, 46)], [(320, 224)]),
        ([(30, 40, 40, 50)], [(224, 224), (224, 320), (320, 224), (320, 320)]),
        ([(30, 40, 48, 58)], [(640, 640)]),
    ],
)
def test_what_lies_apart_has_windows_of_its_own(places, sides) -> None:
    heat, tiling = spots(*places), Tiling(640, 128)
    tiles, turned = cover(heat, 0.5, tiling, (1280, 1600)), cover(heat.T, 0.5, tiling, (1600, 1280))
    assert sorted((x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners(tiles).tolist()) == sides
    assert sorted((y2 - y1, x2 - x1) for x1, y1, x2, y2 in corners(turned).tolist()) == sides


def test_what_two_windows_hold_belongs_to_the_first() -> None:
    size, tiling = (1280, 1600), Tiling(640, 128)
    # Three lines, of which the middle one fits with either of the others, but not with both.
    tiles = cover(spots((30, 20, 50, 25), (30, 33, 50, 38), (30, 52, 50, 53)), 0.5, tiling, size)
    assert [(x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners(tiles).tolist()] == [(640, 640), (224, 640)]


def test_what_is_followed_is_not_parted() -> None:
    # A long object and half the overlap around it: parted, no window would have all of it.
    box, tiling = [700, 700, 940, 940], Tiling(640, 64)
    (tile,) = cover(None, 0.0, tiling, (2600, 2600), forced=[[668, 668, 972, 972]])
    assert (corners([tile])[0, :2] <= box[:2]).all()
    assert (corners([tile])[0, 2:] >= box[2:]).all()


def test_windows_and_grid_are_compared_by_area() -> None:
    size, tiling = (1280, 1600), Tiling(640, 128)
    every = [tile.window for tile in grid(size, tiling)]
    middles = [((y1 + y2) // 40, (x1 + x2) // 40) for x1, y1, x2, y2 in every]
    tiles = cover(spots(*((row, column, row + 1, column + 1) for row, column in middles)), 0.5, tiling, size)
    assert sum(worth(tile, size, tiling) for tile in tiles) < 2
    # So it is in a picture of one tile.
    (tile,) = cover(spots((3, 3, 4, 4))[:32, :32], 0.5, tiling, (640, 640))
    assert worth(tile, (640, 640), tiling) == pytest.approx(0.35**2)


@pytest.mark.parametrize(("side", "least"), [(200, 200), (224, 224), (225, 224), (896, 224), (897, 256)])
def test_no_window_is_cut_down_to_less_than_the_network_needs(side: int, least: int) -> None:
    (tile,) = cover(spots((30, 40, 31, 41)), 0.5, Tiling(side, 8), (1280, 1600))
    assert tile.window[2] - tile.window[0] == least


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.tuples(st.integers(100, 900), st.integers(100, 900)), st.sampled_from([16, 20, 33])
)
def test_tile_by_tile_each_hot_place_is_in_a_window_with_its_margin(seed, size, cell) -> None:
    rng, tiling = np.random.default_rng(seed), Tiling(320, 0.2)
    spots = rng.uniform(0, 1, (rng.integers(0, 12), 2)) * [size[1], size[0]]
    windows = []
    for tile in grid(size, tiling):
        x1, y1, x2, y2 = tile.window
        heat = np.zeros((-(-(y2 - y1) // cell), -(-(x2 - x1) // cell)), np.float32)
        here = spots[((spots >= [x1, y1]) & (spots < [x2, y2])).all(1)] - [x1, y1]
        rows, columns = (here[:, ::-1] * heat.shape / [y2 - y1, x2 - x1]).astype(int).T
        heat[rows, columns] = 1
        parts = corners(needed(heat, 0.5, tiling, tile, size))
        assert (parts >= 0).all()
        assert (parts <= [x2 - x1, y2 - y1] * 2).all()
        assert len(here) or not len(parts)
        windows.append(parts + [x1, y1] * 2)
    found = np.concatenate(windows)
    around = np.concatenate([spots - 32, spots + 32], 1).clip(0, [size[1], size[0]] * 2)
    held = (around[:, None, :2] >= found[:, :2]) & (around[:, None, 2:] <= found[:, 2:])
    assert held.all(2).any(1).all()
