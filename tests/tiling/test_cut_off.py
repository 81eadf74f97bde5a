"""Boxes cut off at a window's edge: which they are, which of them go, and that nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import nms, suppressor
from finespot.structures import Classes, Placement, Tiling
from finespot.tiling import Part, merge, windows
from finespot.tiling.cut_off import COVERED, EDGE_PX, SAME_PX, Sight, shown_better

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
        (WEST, [100, 50, 120, 70], {2: 120}),
        (WEST, [100, 50, 120 - EDGE_PX, 70], {2: 120}),
        (WEST, [100, 50, 119 - EDGE_PX, 70], {}),
        (WEST, [100, 50, 140, 70], {2: 120}),  # reaches over the edge
        (WEST, [0, 0, 20, 200], {}),  # touches edges of the picture only
        (EAST, [80, 50, 100, 70], {0: -80}),
        (EAST, [280, 50, 300, 70], {}),
        ((0, 40, 300, 160), [10, 42, 20, 60], {1: -40}),
        ((0, 40, 300, 160), [10, 60, 20, 158], {3: 160}),
        ((0, 40, 300, 160), [10, 60, 20, 150], {}),
        ((50, 40, 250, 160), [50, 40, 250, 160], {0: -50, 1: -40, 2: 250, 3: 160}),
        ((50, 40, 250, 160), [50, 90, 250, 100], {0: -50, 2: 250}),
    ],
)
def test_how_far_an_object_is_seen(window, box, cut) -> None:
    found = Sight.of(np.array([box], np.float32), window, SIZE, (1.0, 1.0))
    assert found.limits.tolist() == [[cut.get(side, np.inf) for side in range(4)]]
    assert found.zones.tolist() == [[cut[side] - EDGE_PX if side in cut else -np.inf for side in range(4)]]


def test_near_means_pixels_of_the_network_input() -> None:
    box = np.array([[100, 50, 117, 70]], np.float32)
    cut = lambda scale: bool(np.isfinite(Sight.of(box, WEST, SIZE, scale).limits).any())  # noqa: E731
    assert [cut((1.0, 1.0)), cut((1.0, 2.0)), cut((2.0, 1.0))] == [True, False, True]


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


def test_who_sees_as_far_on_all_sides_and_farther_on_one_wins() -> None:
    corner = part((0, 0, 120, 60), [[90, 45, 119, 59]], [0.9])
    longer = [90, 45, 119, 70]
    assert found(corner, part(WEST, [longer])) == [longer]  # not cut below
    assert found(corner, part((0, 0, 120, 65), [[90, 45, 119, 64]])) == [[90, 45, 119, 64]]  # cut there, but later
    assert len(found(corner, part((20, 0, 123, 58), [[90, 45, 121, 56]]), iou=0.9)) == 2  # farther here, less far there
    assert len(found(corner, part(EAST, [[80, 45, 119, 75]]), iou=0.9)) == 2  # cut where the other one is not
    assert len(found(corner, part((10, 0, 120, 60), [[90, 46, 119, 55]]), iou=0.9)) == 2  # no farther anywhere


A = [82, 50, 118, 70]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("west", "east", "left"),
    [
        (A, [84, 50, 118, 70], ["west"]),  # the west shows 2 px more, and where it may be cut it is not
        (A, [84, 50, 118 + SAME_PX, 70], ["west"]),
        (A, [84, 50, 118.1 + SAME_PX, 70], ["west", "east"]),  # the east shows more there
        (A, [84, 50, 117.9 - SAME_PX, 70], ["west", "east"]),  # and here less, though it sees on
        (A, [80, 50, 117, 70], ["west", "east"]),
        ([82, 50, 116.5, 70], A, ["east"]),
        (A, A, ["west", "east"]),  # equal: suppression may choose
        (A, [82 + SAME_PX, 50, 118, 70], ["west", "east"]),
        ([78, 50, 118, 70], [84, 50, 124, 70], ["west", "east"]),  # too large for both
        ([82, 50, 130, 70], [84, 50, 118, 70], ["west", "east"]),  # reaches over the edge, where the east says no
        (A, [84, 55, 117, 65], ["west", "east"]),  # another object lies on it
        (A, [84, 55, 118, 73], ["west", "east"]),  # beside it
        ([40, 50, 118, 70], [84, 50, 118, 70], ["west"]),
    ],
)
def test_of_two_cut_on_different_sides_the_whole_one_wins(west, east, left, turned) -> None:
    turn = [1, 0, 3, 2] if turned else [0, 1, 2, 3]
    boxes = {"west": np.array(west)[turn], "east": np.array(east)[turn]}
    windows = [(0, 0, 120, 120), (80, 0, 300, 120)] if not turned else [(0, 0, 120, 120), (0, 80, 120, 200)]
    for scores in ((0.9, 0.4), (0.4, 0.9)):
        parts = (part(one, [box], scores[n : n + 1]) for n, (one, box) in enumerate(zip(windows, boxes.values())))
        merged = found(*parts, iou=1.0)
        np.testing.assert_allclose(sorted(merged), sorted(boxes[name].tolist() for name in left), atol=1e-4)


def test_where_four_windows_meet_the_whole_one_wins() -> None:
    whole = [78, 78, 117, 117]
    shown = {(0, 0, 120, 120): whole, (80, 0, 300, 120): [80, 78, 117, 117]}
    shown |= {(0, 80, 120, 200): [78, 80, 117, 117], (80, 80, 300, 200): [80, 80, 117, 117]}
    for best in shown:
        parts = [part(window, [box], [0.9 if window == best else 0.4]) for window, box in shown.items()]
        np.testing.assert_allclose(found(*parts, iou=1.0), [whole], atol=1e-4)


def test_views_are_compared_by_their_best_boxes() -> None:
    """A network finds every object often; a box that is larger by chance is no better view."""
    west = part(WEST, [A, [80.5, 50, 118, 70]], [0.9, 0.1])
    east = part(EAST, [[81, 50, 118, 70], [81, 50, 119.5, 70]], [0.8, 0.1])
    assert len(found(west, east, iou=1.0)) == 4
    assert found(west, east) == [A]
    west = part(WEST, [A, [81, 48.5, 118.5, 71]], [0.9, 0.26])
    east = part(EAST, [[83, 50, 118, 70], [81.5, 49, 118.5, 71]], [0.85, 0.27])
    assert found(west, east) == [A]


def test_two_of_a_crowd_that_both_may_be_cut_stay() -> None:
    both = [A, [82, 55, 118, 73.5]]
    assert len(found(part(WEST, both, [0.9, 0.8]), part(EAST, both, [0.7, 0.95]))) == 2


def test_where_they_end_is_compared_in_pixels_of_the_network_input() -> None:
    west, east = [80.2, 50, 118.5, 70], [81.5, 50, 118.5 + SAME_PX, 70]
    left = [len(found(part(WEST, [west], scale=one), part(EAST, [east], scale=one), iou=1.0)) for one in (1.0, 2.0)]
    assert left == [1, 2]
    boxes = np.array([[100, 50, 118, 70], [10, 30, 20, 118], [10, 30, 20, 40]], np.float32)
    assert Sight.of(boxes, (0, 0, 120, 120), SIZE, (1.0, 2.0)).edge_px(np.arange(3)).tolist() == [2, 4, 0]


def test_another_object_that_ends_before_the_cut_is_no_better_view() -> None:
    """Of two objects that overlap, one reaches the edge of the tile and one does not: both stay."""
    longer, shorter = [90, 50, 118, 60], [88, 49, 112, 61]
    both = part(WEST, [longer]), part(EAST, [shorter], [0.9])
    assert len(found(*both, iou=0.9)) == 2
    assert found(both[0], part(EAST, [[88, 49, 120, 61]], [0.9]), iou=0.9) == [[88, 49, 120, 61]]


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


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_a_slow_loop(seed) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 120))
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (count, 2))], 1)[
        rng.integers(0, count // 4 + 1, count)
    ]
    boxes = (boxes + rng.choice([0, 0, 3, -7], (count, 4))).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
    scores = rng.random(count).astype(np.float32)
    labels, window = rng.integers(0, 2, count), rng.integers(0, 3, count)
    seen = rng.choice(np.array([np.inf, np.inf, 1, 2], np.float32), (count, 4))
    strip = rng.choice(np.array([20, 40], np.float32), count)
    zones = np.where(np.isfinite(seen), seen - strip[:, None], -np.inf).astype(np.float32)
    sight = Sight(seen, zones)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    reach = np.concatenate([-boxes[:, :2], boxes[:, 2:]], 1)
    cut = np.isfinite(seen).any(1)

    def covers(other: int, one: int) -> bool:
        wide = min(boxes[one, 2], boxes[other, 2]) - max(boxes[one, 0], boxes[other, 0])
        high = min(boxes[one, 3], boxes[other, 3]) - max(boxes[one, 1], boxes[other, 1])
        shares = max(wide, 0) * max(high, 0) >= COVERED * area[one]
        return area[one] > 0 and shares and all(reach[other] >= zones[one])

    def sees_farther(other: int, one: int) -> bool:
        return all(seen[other] >= seen[one]) and any(seen[other] > seen[one])

    def is_whole(other: int, one: int) -> bool:
        farther, same = seen[other] > seen[one], strip[other] * np.float32(SAME_PX / EDGE_PX)
        more = reach[other] - reach[one]
        return all(farther | (abs(more) <= same)) and any(farther & (more > same)) and area[other] > area[one]

    expected = np.zeros(count, bool)
    for better in (sees_farther, is_whole):
        left = np.flatnonzero(cut & ~expected)
        judges = (
            np.arange(count)
            if better is sees_farther
            else left[nms(boxes[left], scores[left], 2 * window[left] + labels[left], 0.5)]
        )
        for one in left:
            for other in judges[(labels[judges] == labels[one]) & (window[judges] != window[one])]:
                expected[one] |= covers(other, one) and better(other, one)
    shown = shown_better(boxes, scores, labels, window, sight)
    np.testing.assert_array_equal(shown[area > 0], expected[area > 0])
    order = rng.permutation(count)
    np.testing.assert_array_equal(
        shown_better(boxes[order], scores[order], labels[order], window[order], Sight(seen[order], zones[order])),
        shown[order],
    )


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


@pytest.mark.slow
def test_fifty_thousand_boxes_in_one_pile() -> None:
    """All pairs would be 600 million."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 5, (50_000, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 30, (50_000, 2))], 1).astype(np.float32)
    cut = rng.random(50_000) < 0.5
    seen = np.where(cut[:, None], 7, np.inf).repeat(4, 1).astype(np.float32)
    sight = Sight(seen, np.full_like(seen, -np.inf))
    zeros = np.zeros(50_000, np.int64)
    shown = shown_better(boxes, np.ones(50_000, np.float32), zeros, rng.integers(0, 2, 50_000), sight)
    assert 0.9 * cut.sum() < shown.sum() <= cut.sum()


def test_nothing_is_cut_or_all_is() -> None:
    boxes = np.array([PIECE, WHOLE], np.float32)
    everything = Sight.everything(2)
    for seen in (everything, everything._replace(limits=np.full((2, 4), 7, np.float32))):
        assert not shown_better(boxes, np.ones(2, np.float32), np.zeros(2, np.int64), np.arange(2), seen).any()
