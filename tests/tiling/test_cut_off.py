"""Boxes cut off at a window's edge: which they are, which of them go, and that nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import suppressor
from finespot.structures import Classes, Placement, Tiling
from finespot.tiling import Part, merge, windows
from finespot.tiling.cut_off import BOTTOM, COVERED, EDGE_PX, LEFT, RIGHT, TOP, cut_sides, shown_whole

CLASSES = Classes(("person", "car"))
SIZE = (200, 300)
# Two windows that share x from 80 to 120.
WEST, EAST = (0, 0, 120, 200), (80, 0, 300, 200)
WHOLE = [90, 50, 140, 70]
PIECE = [90, 50, 119, 70]


def part(window, boxes, scores=None, labels=None, scale=1.0) -> Part:
    """Detections in a window, boxes in pixels of the picture."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes), 0.5, np.float32) if scores is None else np.asarray(scores, np.float32)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels, np.int64)
    placement = Placement((scale, scale), (0.0, 0.0), SIZE, (float(window[0]), float(window[1])))
    return Part(placement, placement.to_input(boxes), scores, labels, window)


def found(*parts: Part, **options) -> list[list[float]]:
    return merge(parts, size=SIZE, classes=CLASSES, **options).boxes.tolist()


@pytest.mark.parametrize(
    ("window", "box", "cut"),
    [
        (WEST, [100, 50, 120, 70], RIGHT),
        (WEST, [100, 50, 120 - EDGE_PX, 70], RIGHT),
        (WEST, [100, 50, 119 - EDGE_PX, 70], 0),
        (WEST, [100, 50, 140, 70], RIGHT),  # reaches over the edge
        (WEST, [0, 0, 20, 200], 0),  # touches edges of the picture only
        (EAST, [80, 50, 100, 70], LEFT),
        (EAST, [280, 50, 300, 70], 0),
        ((0, 40, 300, 160), [10, 42, 20, 60], TOP),
        ((0, 40, 300, 160), [10, 60, 20, 158], BOTTOM),
        ((0, 40, 300, 160), [10, 60, 20, 150], 0),
        ((50, 40, 250, 160), [50, 40, 250, 160], LEFT + TOP + RIGHT + BOTTOM),
        ((50, 40, 250, 160), [50, 90, 250, 100], LEFT + RIGHT),
    ],
)
def test_where_boxes_may_be_cut(window, box, cut) -> None:
    assert cut_sides(np.array([box], np.float32), window, SIZE, (1.0, 1.0)).tolist() == [cut]


def test_near_means_pixels_of_the_network_input() -> None:
    box = np.array([[100, 50, 117, 70]], np.float32)
    assert cut_sides(box, WEST, SIZE, (1.0, 1.0))[0]
    assert not cut_sides(box, WEST, SIZE, (1.0, 2.0))[0]
    assert cut_sides(box, WEST, SIZE, (2.0, 1.0))[0]


@pytest.mark.parametrize("score", [0.1, 0.9])
def test_a_cut_box_loses_to_the_whole_one_whatever_the_scores(score) -> None:
    assert found(part(WEST, [PIECE], [score]), part(EAST, [WHOLE], [0.5])) == [WHOLE]


def test_what_stays() -> None:
    both = 2
    assert len(found(part(WEST, [PIECE]), part(EAST, [WHOLE], labels=[1]))) == both  # another class
    assert len(found(part(WEST, [PIECE, [70, 50, 112, 70]]))) == both  # the same window
    assert len(found(part(WEST, [PIECE]), part(EAST, [[81, 50, 130, 70]], scale=2.0))) == both  # cut itself
    assert len(found(part(WEST, [PIECE]), part(EAST, [[100, 50, 130, 70]]))) == both  # covers 0.66 of it
    assert len(found(part(WEST, [[90, 50, 110, 70]]), part(EAST, [WHOLE]))) == both  # not at the edge
    assert len(found(part(WEST, [PIECE]), part(EAST, [WHOLE]), suppress=False)) == both


def test_a_box_cut_at_fewer_of_its_sides_wins() -> None:
    """At a corner of four windows: cut at the right and below it loses to what is cut at the right only."""
    corner, longer = part((0, 0, 120, 60), [[90, 45, 119, 59]], [0.9]), [90, 45, 119, 70]
    assert found(corner, part(WEST, [longer])) == [longer]
    # One that is cut elsewhere does not see more, and one that goes itself takes nothing along.
    assert len(found(corner, part(EAST, [[80, 45, 119, 70]]))) == 2
    first, last = [62, 45, 119, 59], [86, 30, 160, 90]
    assert found(part((0, 0, 120, 60), [first]), part(WEST, [[75, 40, 119, 80]]), part(EAST, [last])) == [first, last]


@pytest.mark.parametrize("nms", ["greedy", "nmm", "soft", "weighted"])
def test_classes_count_unless_the_operator_says_otherwise(nms) -> None:
    parts = part(WEST, [PIECE]), part(EAST, [WHOLE], labels=[1])
    assert len(found(*parts, nms=suppressor(nms))) == 2
    assert found(*parts, nms=suppressor(f"{nms}(agnostic=true)")) == [WHOLE]


def test_the_picture_as_a_whole_shows_what_no_tile_holds() -> None:
    large = [20, 30, 290, 180]
    parts = [
        part(one.window, [[max(large[0], one.window[0]), 30, min(large[2], one.window[2]), 180]], [0.9])
        for one in windows(SIZE, Tiling(200, 0.2))
    ]
    assert len(found(*parts)) == 2
    whole = part((0, 0, 300, 200), [large], [0.4], scale=0.5)
    assert found(*parts, whole) == [large]


def test_a_box_just_covered_goes() -> None:
    wide = PIECE[2] - PIECE[0]
    for share, left in ((COVERED + 0.01, 1), (COVERED - 0.01, 2)):
        x1 = PIECE[2] - share * wide
        assert len(found(part(WEST, [PIECE]), part(EAST, [[x1, 50, 140, 70]]))) == left


def test_the_whole_one_is_no_victim_of_the_piece() -> None:
    """IoU above the threshold and the better score: suppression alone would keep the piece."""
    piece, whole = part(WEST, [[88, 50, 119, 70]], [0.9]), part(EAST, [[88, 50, 126, 70]], [0.4])
    assert found(piece, whole) == [[88, 50, 126, 70]]


def test_parts_without_a_window_are_joined_as_before() -> None:
    placement = Placement((1.0, 1.0), (0.0, 0.0), SIZE)
    parts = [Part(placement, np.array([box], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
             for box in (PIECE, WHOLE)]  # fmt: skip
    assert len(found(*parts)) == 2


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_a_slow_loop(seed) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 120))
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 30, (count, 2))], 1).astype(np.float32)
    labels, window, cut = (
        rng.integers(0, 2, count),
        rng.integers(0, 3, count),
        rng.choice([0, 0, 1, 2, 3, 5, 7, 15], count).astype(np.uint8),
    )
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    expected, sides = np.zeros(count, bool), [bin(one).count("1") for one in cut]
    for one in sorted(np.flatnonzero(cut), key=lambda one: sides[one]):
        for other in np.flatnonzero((labels == labels[one]) & (window != window[one])):
            wide = min(boxes[one, 2], boxes[other, 2]) - max(boxes[one, 0], boxes[other, 0])
            high = min(boxes[one, 3], boxes[other, 3]) - max(boxes[one, 1], boxes[other, 1])
            covered = area[one] > 0 and max(wide, 0) * max(high, 0) >= COVERED * area[one]
            more = sides[other] < sides[one] and cut[other] | cut[one] == cut[one]
            expected[one] |= covered and more and not expected[other]
    shown = shown_whole(boxes, labels, window, cut)
    np.testing.assert_array_equal(shown[area > 0], expected[area > 0])
    order = rng.permutation(count)
    np.testing.assert_array_equal(shown_whole(boxes[order], labels[order], window[order], cut[order]), shown[order])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(200, 900), st.integers(200, 900), st.sampled_from([160, 320]))
def test_an_oracle_that_sees_pieces_gives_the_truth_back(seed, height, width, tile) -> None:
    """Every window reports what it shows of every object: merged, every object is there once, and whole."""
    rng = np.random.default_rng(seed)
    tiling = Tiling(tile, 0.3)
    side = tiling.overlap_pixels - 2 * EDGE_PX - 2
    xs, ys = np.arange(0, width - side, side + 1), np.arange(0, height - side, side + 1)
    corners = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)
    wh = rng.uniform(2, side, corners.shape).astype(np.float32)
    truth = np.concatenate([corners, corners + wh], 1)
    labels, parts = rng.integers(0, 2, len(truth)), []
    for one in windows((height, width), tiling):
        x1, y1, x2, y2 = one.window
        shown = np.concatenate([np.maximum(truth[:, :2], (x1, y1)), np.minimum(truth[:, 2:], (x2, y2))], 1)
        seen = (shown[:, 2:] > shown[:, :2]).all(1)
        placement = Placement((1.0, 1.0), (0.0, 0.0), (height, width), (float(x1), float(y1)))
        scores = rng.uniform(0.3, 1, len(truth)).astype(np.float32)
        boxes = placement.to_input(shown[seen].astype(np.float32))
        parts.append(Part(placement, boxes, scores[seen], labels[seen], one.window))
    merged = merge(parts, size=(height, width), classes=CLASSES)
    assert len(merged) == len(truth)
    # Corners are whole pixels, all different.
    here, there = (np.lexsort(boxes[:, :2].round().T) for boxes in (merged.boxes, truth))
    np.testing.assert_allclose(merged.boxes[here], truth[there], atol=1e-2)


def test_one_window_is_never_cut() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(-20, 300, (3000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 60, (3000, 2))], 1).astype(np.float32)
    scores, labels = rng.random(3000, np.float32), rng.integers(0, 2, 3000)
    one = part((0, 0, 300, 200), boxes, scores, labels)
    untold = Part(one.placement, one.boxes, one.scores, one.labels)
    assert merge([one], size=SIZE, classes=CLASSES) == merge([untold], size=SIZE, classes=CLASSES)


def test_fifty_thousand_boxes_in_one_pile() -> None:
    """All pairs would be 600 million."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 5, (50_000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 30, (50_000, 2))], 1).astype(np.float32)
    cut = (rng.random(50_000) < 0.5).astype(np.uint8)
    shown = shown_whole(boxes, np.zeros(50_000, np.int64), rng.integers(0, 2, 50_000), cut)
    assert 0.9 * cut.sum() < shown.sum() <= cut.sum()


def test_nothing_is_cut_or_all_is() -> None:
    boxes = np.array([PIECE, WHOLE], np.float32)
    for cut in (np.zeros(2, np.uint8), np.ones(2, np.uint8)):
        assert not shown_whole(boxes, np.zeros(2, np.int64), np.arange(2), cut).any()
