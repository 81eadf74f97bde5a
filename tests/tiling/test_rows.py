"""Merging row by row gives what merging at once gives, and hands out what no later window can change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import suppressor
from finespot.structures import Classes, Detections, Placement, Tile, Tiling
from finespot.tiling import Part, RowMerge, grid, merge, rows_of

CLASSES = Classes(("person", "car"))
OPERATORS = ["greedy", "greedy(agnostic=true)", "cluster", "diou", "ios", "soft", "matrix", "nmm", "weighted", "nwd"]
SIZE = (700, 230)
TILES = Tiling(100, 0.3)


def parts_of(tiles: list[Tile], count: int, seed: int, scale: float = 1.0, largest: float = 40) -> Iterator[Part]:
    """Random boxes about each tile, in pixels of an input at `scale`; some reach over its edges."""
    random = np.random.default_rng(seed)
    for tile in tiles:
        x1, y1, x2, y2 = tile.window
        low = random.uniform((x1 - 10, y1 - 10), (x2, y2), (count, 2))
        boxes = np.concatenate([low, low + random.uniform(2, largest, (count, 2))], 1).astype(np.float32)
        placement = Placement((scale, scale), (3.0, 2.0), SIZE, (float(x1), float(y1)))
        # Few different scores: ties are settled as in one merge.
        scores = random.integers(1, 6, count).astype(np.float32) / 8
        yield Part(placement, placement.to_input(boxes), scores, random.integers(0, 2, count), tile.window)


def row_by_row(parts: list[Part], **options) -> list[Detections]:
    rows = rows_of(grid(SIZE, TILES))
    merging, waiting = RowMerge(size=SIZE, classes=CLASSES, reach=100, **options), iter(parts)
    found = []
    for number, row in enumerate(rows):
        following = rows[number + 1][0] if number + 1 < len(rows) else None
        found.append(merging.add([next(waiting) for _ in row], following))
    assert merging.waiting == 0
    return found


def sorted_rows(found: list[Detections]) -> np.ndarray:
    table = np.concatenate([np.column_stack([one.boxes, one.scores, one.labels]) for one in found])
    return table[np.lexsort(table.T)]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATORS)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 12), scale=st.sampled_from([1.0, 2.5, 0.7]))
@settings(max_examples=12, deadline=None)
def test_as_at_once(name: str, seed: int, count: int, scale: float) -> None:
    parts = list(parts_of(grid(SIZE, TILES), count, seed, scale))
    options = {"iou": 0.5, "nms": suppressor(name), "suppress": True, "conf": 0.2}
    whole = merge(parts, size=SIZE, classes=CLASSES, **options)
    assert np.array_equal(sorted_rows(row_by_row(parts, **options)), sorted_rows([whole]))


def test_without_suppression() -> None:
    parts = list(parts_of(grid(SIZE, TILES), 5, 0))
    options = {"iou": 0.5, "nms": suppressor("greedy"), "suppress": False, "conf": 0.0}
    whole = merge(parts, size=SIZE, classes=CLASSES, **options)
    assert np.array_equal(sorted_rows(row_by_row(parts, **options)), sorted_rows([whole]))


def test_boxes_are_handed_out_early_and_few_wait() -> None:
    parts = list(parts_of(grid(SIZE, TILES), 3, 1, largest=12))
    found = row_by_row(parts, iou=0.5, nms=suppressor("greedy"), suppress=True, conf=0.0)
    assert all(len(one) for one in found[2:])
    assert max(map(len, found)) < 0.4 * sum(map(len, found))
    # Rows begin 70 px apart; what is final by row k ends a window's side above the top of row k + 1.
    for number, one in enumerate(found[:-1]):
        assert not len(one) or one.boxes[:, 3].max() <= min(70 * (number + 1), 600) - 100


@pytest.mark.parametrize("name", ["nmm", "weighted", "nwd"])
def test_operators_that_reach_farther_wait_for_the_end(name: str) -> None:
    parts = list(parts_of(grid(SIZE, TILES), 3, 1, largest=12))
    found = row_by_row(parts, iou=0.5, nms=suppressor(name), suppress=True, conf=0.0)
    assert [len(one) > 0 for one in found] == [False] * (len(found) - 1) + [True]


def test_a_chain_of_boxes_waits_for_its_last_one() -> None:
    tiles = grid(SIZE, TILES)
    # A staircase of boxes from row to row, in one column: each overlaps the next one.
    parts = []
    for tile in tiles:
        x1, y1, _, y2 = tile.window
        boxes = [[20, y - y1, 40, y + 30 - y1] for y in range(y1, y2, 20)] if x1 == 0 else []
        placement = Placement((1.0, 1.0), (0.0, 0.0), SIZE, (float(x1), float(y1)))
        count = len(boxes)
        parts.append(
            Part(
                placement,
                np.array(boxes, np.float32).reshape(-1, 4),
                np.full(count, 0.5, np.float32),
                np.zeros(count, np.int64),
                tile.window,
            )
        )
    found = row_by_row(parts, iou=0.9, nms=suppressor("greedy"), suppress=True, conf=0.0)
    assert sum(map(len, found[:-1])) == 0
    assert len(found[-1])


def test_no_box_reaches_farther() -> None:
    tile = Tile((100, 200, 200, 300))
    placement = Placement((2.0, 2.0), (4.0, 0.0), SIZE, (100.0, 200.0))
    boxes = placement.to_input(np.array([[0, 0, 230, 700], [120, 210, 150, 240]], np.float32))
    part = Part(placement, boxes, np.full(2, 0.5, np.float32), np.zeros(2, np.int64), tile.window)
    merging = RowMerge(
        size=SIZE, classes=CLASSES, iou=0.5, nms=suppressor("greedy"), suppress=False, conf=0.0, reach=100
    )
    found = merging.add([part], None)
    assert sorted(found.boxes.tolist()) == [[0, 100, 230, 400], [120, 210, 150, 240]]


def test_rows_of_a_grid() -> None:
    tiles = grid(SIZE, TILES)
    rows = rows_of(tiles)
    assert [tile for row in rows for tile in row] == tiles
    assert [row[0].window[1] for row in rows] == sorted({tile.window[1] for tile in tiles})
