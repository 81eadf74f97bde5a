"""The windows that are looked at: what is hot lies in one with its margin, and they are never more than the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import suppressor
from finespot.errors import FineSpotError
from finespot.structures import Annotations, Classes, Placement, Tile, Tiling
from finespot.tiling import Part, Polygons, cover, grid, merge
from finespot.tiling.cut_off import EDGE_PX

CLASSES = Classes(("thing",))


@st.composite
def scenes(draw, largest: int = 300, sides: tuple[int, int] = (32, 160)):
    """Heat, a tiling and a picture's size; hot places from single cells to nearly everything."""
    size = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    side = draw(st.integers(*sides))
    tiling = Tiling(side, draw(st.sampled_from([0.0, 0.2, 0.5]) | st.integers(1, side * 3 // 4)))
    shape = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    heat = rng.random(shape).astype(np.float32)
    return heat, draw(st.sampled_from([0.5, 0.8, 0.95, 0.99])), tiling, size


def corners(tiles: list[Tile]) -> np.ndarray:
    return np.array([tile.window for tile in tiles], np.int64).reshape(-1, 4)


def area(tiles: list[Tile]) -> int:
    x1, y1, x2, y2 = corners(tiles).T
    return int(((x2 - x1) * (y2 - y1)).sum())


def points(rng: np.random.Generator, hot: np.ndarray, size: tuple[int, int], count: int = 4) -> np.ndarray:
    """`count` random points (x, y) in each hot cell."""
    cells = np.argwhere(hot).repeat(count, 0)
    place = (cells + rng.uniform(0, 1, cells.shape)) * (np.array(size) / np.array(hot.shape))
    return place[:, ::-1]


def whole(boxes: np.ndarray, tiles: list[Tile]) -> np.ndarray:
    """Which boxes lie as a whole in one of the tiles."""
    own = corners(tiles)
    return ((boxes[:, None, :2] >= own[:, :2]) & (boxes[:, None, 2:] <= own[:, 2:])).all(2).any(1)


def around(centers: np.ndarray, side: float, size: tuple[int, int]) -> np.ndarray:
    """Boxes of `side` px about centers, cut to the picture."""
    boxes = np.concatenate([centers - side / 2, centers + side / 2], 1)
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(scenes() | scenes(1500, (256, 640)), st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0]))
def test_what_is_hot_lies_in_a_window_with_its_margin(scene, seed, above) -> None:
    heat, threshold, tiling, size = scene
    tiles = cover(heat, threshold, tiling, size, uniform_above=above)
    full = grid(size, tiling)
    taken = area(tiles) / area(full)
    assert taken < 1 or tiles == full
    assert len(set(tiles)) == len(tiles)
    x1, y1, x2, y2 = corners(tiles).T
    parts = [tiling.size, *(max(224, -(-tiling.size // (32 * part)) * 32) for part in (2, 3, 4))]
    for sides, length in ((x2 - x1, size[1]), (y2 - y1, size[0])):
        assert set(sides.tolist()) <= {min(part, length) for part in parts}
    assert (corners(tiles) >= 0).all()
    assert (corners(tiles) <= [size[1], size[0], size[1], size[0]]).all()
    centers = points(np.random.default_rng(seed), heat >= threshold, size)
    # Of a tile's last two pixels there is no half.
    reach = min(tiling.overlap_pixels, (tiling.size - 2) // 2 * 2)
    assert whole(around(centers, reach, size), tiles).all()
    assert cover(heat, threshold, tiling, size, uniform_above=above) == tiles
    assert (len(tiles) > 0) == bool((heat >= threshold).any())


def test_a_side_shorter_than_a_tile_keeps_the_whole_margin() -> None:
    """Half of 225 px about the middle of 225 px reaches both ends, which a window cut down to 224 px does not."""
    heat = np.zeros((225, 1), np.float32)
    heat[111] = 1
    assert corners(cover(heat, 0.5, Tiling(300, 225), (225, 1))).tolist() == [[0, 0, 1, 225]]
    assert corners(cover(heat, 0.5, Tiling(300, 200), (225, 1))).tolist() == [[0, 0, 1, 224]]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(scenes())
def test_a_turned_picture_takes_about_as_many(scene) -> None:
    heat, threshold, tiling, size = scene
    turned = cover(np.rot90(heat), threshold, tiling, (size[1], size[0]), uniform_above=1.0)
    straight = cover(heat, threshold, tiling, size, uniform_above=1.0)
    assert abs(len(turned) - len(straight)) <= 1 + 0.15 * len(straight)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(1, 6))
def test_a_budget_keeps_the_most_heat(scene, most) -> None:
    heat, threshold, tiling, size = scene
    every = cover(heat, threshold, tiling, size, uniform_above=1.0)
    few = cover(heat, threshold, tiling, size, max_tiles=most, uniform_above=1.0)
    assert len(few) <= min(most, len(grid(size, tiling)))
    assert len(few) <= len(every)
    if len(every) > most:
        assert len(few) > 0


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 0.95))
def test_no_window_has_more_heat_than_the_first(seed, threshold) -> None:
    rng, tiling, size = np.random.default_rng(seed), Tiling(60, 20), (170, 130)
    heat = (rng.random((17, 13)) ** 2).astype(np.float32)
    held = np.where(heat >= threshold, np.maximum(np.round(heat * 65536.0), 1), 0)

    def holds(cells: int, start: np.ndarray) -> np.ndarray:
        low, high = np.arange(cells) * 10 - 10, np.arange(cells) * 10 + 20
        return (np.maximum(low, 0) >= start[:, None]) & (np.minimum(high, 10 * cells) <= start[:, None] + 60)

    def of(x: int, y: int) -> float:
        return float((holds(17, np.array([y])) @ held @ holds(13, np.array([x])).T).item())

    best = (holds(17, np.arange(111)) @ held @ holds(13, np.arange(71)).T).max()
    tiles = cover(heat, threshold, tiling, size, max_tiles=1)
    if best > 0:
        assert of(*tiles[0].window[:2]) == best
    else:
        assert tiles == []


def test_the_hottest_places_come_first() -> None:
    heat = np.zeros((20, 20), np.float32)
    for row, column, value in ((2, 2, 0.6), (17, 3, 0.9), (9, 16, 0.7)):
        heat[row, column] = value
    tiling = Tiling(200, 0.2)
    found = [cover(heat, 0.5, tiling, (1000, 1000), max_tiles=count) for count in (1, 2, 3, 9)]
    assert [len(one) for one in found] == [1, 2, 3, 3]
    for tiles in found:
        middles = [((tile.window[0] + tile.window[2]) // 2, (tile.window[1] + tile.window[3]) // 2) for tile in tiles]
        # Each window has its cell in its middle, where the picture allows.
        assert middles == [(175, 875), (825, 475), (125, 125)][: len(tiles)]


def test_where_the_grid_is_as_good_it_is_taken() -> None:
    tiling, size = Tiling(200, 0.2), (1000, 1000)
    heat = np.zeros((40, 40), np.float32)
    heat[:18] = 1
    full = grid(size, tiling)
    part = cover(heat, 0.5, tiling, size)
    assert 10 < len(part) < len(full)
    assert cover(heat, 0.5, tiling, size, uniform_above=0.4) == full
    assert cover(np.ones((40, 40), np.float32), 0.5, tiling, size, uniform_above=1.0) == full
    # With a budget below the grid's number, the hottest windows stay.
    assert len(cover(np.ones((40, 40), np.float32), 0.5, tiling, size, max_tiles=7)) == 7


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(0, 2**32 - 1), st.booleans())
def test_forced_boxes_have_a_window_whatever_the_budget(scene, seed, known) -> None:
    heat, threshold, tiling, size = scene
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 1, (rng.integers(1, 6), 2)) * [size[1], size[0]]
    boxes = around(centers, tiling.overlap_pixels / 2, size)
    tiles = cover(heat if known else None, threshold, tiling, size, forced=boxes, max_tiles=1)
    assert 0 < len(tiles) <= len(grid(size, tiling))
    reach = min(tiling.overlap_pixels, (tiling.size - 2) // 2 * 2)
    assert whole(around((boxes[:, :2] + boxes[:, 2:]) / 2, reach, size), tiles).all()
    inner = rng.uniform(boxes[:, :2], boxes[:, 2:])
    assert whole(around(inner, reach, size), tiles).all()


def test_forced_boxes_add_windows_to_those_of_the_heat() -> None:
    heat, tiling, size = np.zeros((20, 20), np.float32), Tiling(200, 0.2), (1000, 1000)
    heat[2, 2] = 1
    assert len(cover(heat, 0.5, tiling, size)) == 1
    far, near = [[900, 900, 910, 910]], [[120, 120, 130, 130]]
    assert len(cover(heat, 0.5, tiling, size, forced=far)) == 2
    assert len(cover(heat, 0.5, tiling, size, forced=near)) == 1
    assert len(cover(heat, 0.5, tiling, size, forced=far, max_tiles=1)) == 1
    # A box without area, and one on the border; none outside of the picture.
    assert len(cover(None, 0.5, tiling, size, forced=[[500, 500, 500, 500], [990, 0, 1000, 5]])) == 2
    assert cover(None, 0.5, tiling, size, forced=[[-30, 5, -20, 9], [1000, 5, 1100, 9]]) == []
    assert cover(None, 0.5, tiling, size) == []


def test_given_tiles_come_first_and_have_what_lies_in_them() -> None:
    heat, tiling, size = np.zeros((20, 20), np.float32), Tiling(200, 0.2), (1000, 1000)
    heat[2, 2] = heat[15, 15] = 1
    first, last = grid(size, tiling)[0], grid(size, tiling)[-1]
    tiles = cover(heat, 0.5, tiling, size, given=[last, first])
    assert tiles[:2] == [last, first]
    assert len(tiles) == 3
    assert len(cover(heat, 0.5, tiling, size, given=[last, first], max_tiles=2)) == 2
    assert cover(heat, 0.5, tiling, size, given=grid(size, tiling)[1:]) == grid(size, tiling)


def test_a_region_limits_windows_and_grid() -> None:
    tiling, size = Tiling(200, 0.2), (1000, 1000)
    corner = Polygons((np.array([[0, 0], [300, 0], [300, 250], [0, 250]], float)[None],))
    heat = np.zeros((20, 20), np.float32)
    heat[1, 1] = heat[15, 15] = 1
    (tile,) = cover(heat, 0.5, tiling, size, region=corner)
    assert corner.touches(tile.window)
    full = cover(np.ones((20, 20), np.float32), 0.5, tiling, size, region=corner)
    assert full == [tile for tile in grid(size, tiling) if corner.touches(tile.window)]
    assert len(full) == 4
    assert cover(heat, 0.5, tiling, size, region=corner, forced=[[800, 800, 810, 810]]) == [tile]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(100, 700), st.integers(100, 700), st.data())
def test_a_perfect_seeker_and_detector_lose_and_double_nothing(seed, height, width, data) -> None:
    rng, size = np.random.default_rng(seed), (height, width)
    side = data.draw(st.integers(80, 200))
    tiling = Tiling(side, data.draw(st.integers(32, side // 2)))
    wh = np.exp(rng.uniform(np.log(2), np.log(tiling.overlap - 2 * EDGE_PX - 0.1), (rng.integers(0, 60), 2)))
    corner = rng.uniform(0, 1, wh.shape) * (np.array([width, height]) - wh)
    boxes = np.concatenate([corner, corner + wh], 1).astype(np.float32)
    kept = suppressor("greedy")(boxes, rng.random(len(boxes)), np.zeros(len(boxes), np.int64), threshold=0.5)
    truth = Annotations(kept.boxes, kept.labels, size)
    heat = np.zeros((-(-height // 16), -(-width // 16)), np.float32)
    centers = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    column, row = (centers * np.array(heat.shape[::-1]) / [width, height]).astype(int).T
    heat[row, column] = 1
    parts = []
    for tile in cover(heat, 0.5, tiling, size):
        x1, y1, x2, y2 = tile.window
        shown = np.concatenate([np.maximum(truth.boxes[:, :2], (x1, y1)), np.minimum(truth.boxes[:, 2:], (x2, y2))], 1)
        seen = (shown[:, 2:] > shown[:, :2]).all(1)
        placement = Placement((1.0, 1.0), (3.0, 5.0), size, (float(x1), float(y1)))
        scores = rng.uniform(0.3, 1, int(seen.sum())).astype(np.float32)
        parts.append(Part(placement, placement.to_input(shown[seen]), scores, truth.labels[seen], tile.window))
    found = merge(parts, size=size, classes=CLASSES, iou=0.5)
    assert len(found) == len(truth)
    apart = np.abs(found.boxes[:, None] - truth.boxes).max(2) if len(truth) else np.zeros((1, 1))
    assert apart.min(0).max() < 0.01


def test_what_cannot_be() -> None:
    heat, tiling = np.ones((4, 4), np.float32), Tiling(64)
    with pytest.raises(FineSpotError, match="cover: chooses tiles, but nothing is cut; give a tile size"):
        cover(heat, 0.5, Tiling(None), (100, 100))
    with pytest.raises(FineSpotError, match="max-tiles: expected 1 or more but got 0"):
        cover(heat, 0.5, tiling, (100, 100), max_tiles=0)
    with pytest.raises(FineSpotError, match="uniform-above: expected a share from 0 to 1 but got 2"):
        cover(heat, 0.5, tiling, (100, 100), uniform_above=2)
    with pytest.raises(FineSpotError, match=r"heat: expected heat of \(rows, columns\) but got shape \(16,\)"):
        cover(heat.ravel(), 0.5, tiling, (100, 100))
    with pytest.raises(FineSpotError, match="heat: expected finite heat but got NaN or infinity"):
        cover(np.full((4, 4), np.nan, np.float32), 0.5, tiling, (100, 100))
