"""A perfect detector in tiles: merged, no object is lost and none is doubled, whatever the tiles and the operator.

In each window the oracle returns the truth cut to the window, with scores of its own. Objects are smaller than the
overlap and dense, but no two of a class overlap by more than the threshold: an operator cannot tell such a pair from
doubles. In the last pixels below the overlap, where an object may count as cut off in every tile, very few of a crowd
are lost to their neighbors; there the AP is tested. `soft` deletes nothing, so with it objects are doubled
by boxes of low scores, and only the AP holds. By IoS a box that lies in another one is its double, so those operators
are tried where objects do not overlap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import metrics
from finespot.boxes import suppressor
from finespot.structures import Annotations, Classes, Placement, Tiling
from finespot.tiling import Part, merge, windows
from finespot.tiling.cut_off import EDGE_PX

CLASSES = Classes(("person", "car"))
RULES = metrics.protocol("coco").with_max_dets((1, 10, 100_000))
RULES = replace(RULES, rows=(replace(RULES.rows[0], exactly=None), *RULES.rows[1:]))
IOU = 0.5
# So much smaller than the overlap, an object ends in some tile before all strips in which it would count as cut off.
MARGIN = 2 * EDGE_PX + 0.1
BY_IOU = ("greedy", "cluster", "nmm", "nmm(transitive=true)", "weighted", "weighted(conf_type=max)")
BY_IOS = ("greedy(metric=ios)", "nmm(metric=ios)", "nmm(metric=ios, transitive=true)", "weighted(metric=ios)")


def scene(rng: np.random.Generator, size, largest: float, most: float) -> Annotations:
    """As many objects of 2 px to `largest` as find a place, where those of a class overlap by no more than `most`."""
    height, width = size
    count = int(3 * height * width / (largest / 2) ** 2)
    wh = np.exp(rng.uniform(np.log(2), np.log(largest), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array([width, height]) - wh)
    boxes = np.concatenate([corner, corner + wh], 1).astype(np.float32)
    labels = rng.integers(0, 2, count)
    # What greedy suppression keeps overlaps by no more than its threshold; 0 leaves what does not overlap at all.
    kept = suppressor("greedy")(boxes, rng.random(count), labels, threshold=most)
    return Annotations(kept.boxes, kept.labels, size)


def oracle(rng: np.random.Generator, truth: Annotations, tiling: Tiling) -> list[Part]:
    parts = []
    for tile in windows(truth.size, tiling):
        x1, y1, x2, y2 = tile.window
        shown = np.concatenate([np.maximum(truth.boxes[:, :2], (x1, y1)), np.minimum(truth.boxes[:, 2:], (x2, y2))], 1)
        seen = (shown[:, 2:] > shown[:, :2]).all(1)
        scale = 0.5 if tile.whole else 1.0
        placement = Placement((scale, scale), (3.0, 5.0), truth.size, (float(x1), float(y1)))
        scores = rng.uniform(0.3, 1, int(seen.sum())).astype(np.float32)
        boxes = placement.to_input(shown[seen].astype(np.float32))
        parts.append(Part(placement, boxes, scores, truth.labels[seen], tile.window))
    return parts


def ap(truth: Annotations, found) -> float:
    table = metrics.Truth.from_annotations([truth], CLASSES, [0])
    value = metrics.evaluate(table, metrics.Results.from_detections([found], table), RULES).values["AP"]
    return 1.0 if value is None else value


def tilings(draw) -> Tiling:
    side = draw(st.integers(80, 200))
    return Tiling(side, draw(st.integers(32, side // 2)), whole=draw(st.booleans()))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(100, 500), st.integers(100, 500), st.sampled_from(BY_IOU))
def test_no_object_is_lost_or_doubled(data, seed, height, width, operator) -> None:
    rng, tiling = np.random.default_rng(seed), tilings(data.draw)
    truth = scene(rng, (height, width), tiling.overlap - MARGIN, IOU - 0.01)
    found = merge(oracle(rng, truth, tiling), size=truth.size, classes=CLASSES, iou=IOU, nms=suppressor(operator))
    assert len(found) == len(truth)
    assert ap(truth, found) >= 0.995


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(100, 500), st.integers(100, 500), st.sampled_from(BY_IOS))
def test_by_ios_none_is_lost_that_overlaps_no_other(data, seed, height, width, operator) -> None:
    rng, tiling = np.random.default_rng(seed), tilings(data.draw)
    truth = scene(rng, (height, width), tiling.overlap - MARGIN, 0.0)
    found = merge(oracle(rng, truth, tiling), size=truth.size, classes=CLASSES, iou=IOU, nms=suppressor(operator))
    assert len(found) == len(truth)
    assert ap(truth, found) >= 0.995


def test_by_ios_a_small_object_on_a_large_one_is_lost() -> None:
    truth = Annotations([[10, 10, 40, 40], [20, 20, 26, 26]], [0, 0], (100, 100))
    parts = oracle(np.random.default_rng(0), truth, Tiling(None))
    left = {
        operator: len(merge(parts, size=truth.size, classes=CLASSES, iou=IOU, nms=suppressor(operator)))
        for operator in (*BY_IOU, *BY_IOS)
    }
    assert left == dict.fromkeys(BY_IOU, 2) | dict.fromkeys(BY_IOS, 1)


@pytest.mark.slow
@pytest.mark.parametrize("operator", [*BY_IOU, "soft", "soft(method=linear)"])
@pytest.mark.parametrize("whole", [False, True])
def test_ap_of_objects_as_large_as_the_overlap(operator, whole) -> None:
    """In the last pixels below the overlap a box may be whole in one tile and short of some pixels in the other."""
    rng, tiling = np.random.default_rng(1), Tiling(160, 64, whole=whole)
    truth = scene(rng, (900, 900), 64, IOU - 0.01)
    parts = oracle(rng, truth, tiling)
    if operator.startswith("soft"):  # of equal boxes the better one lowers the others: equal scores tell them apart
        parts = [replace(part, scores=np.full(len(part.boxes), 0.9, np.float32)) for part in parts]
    found = merge(parts, size=truth.size, classes=CLASSES, iou=IOU, nms=suppressor(operator), conf=0.3)
    assert len(truth) > 500
    assert ap(truth, found) >= 0.995
    if not operator.startswith("soft"):
        assert len(found) == len(truth)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**32 - 1), st.integers(400, 600), st.integers(400, 600), st.sampled_from(BY_IOU))
def test_ap_in_the_last_pixels_below_the_overlap(data, seed, height, width, operator) -> None:
    """There an object may count as cut off in every tile that shows it, and be short of some pixels in one.

    What lies to 70 % on a larger one may be taken for a part of it: 0.9945 was the least found in 420 crowds.
    """
    side = data.draw(st.integers(80, 200))
    tiling = Tiling(side, data.draw(st.integers(24, side // 2)), whole=data.draw(st.booleans()))
    rng = np.random.default_rng(seed)
    truth = scene(rng, (height, width), tiling.overlap, IOU - 0.01)
    found = merge(oracle(rng, truth, tiling), size=truth.size, classes=CLASSES, iou=IOU, nms=suppressor(operator))
    assert 0 <= len(truth) - len(found) <= 2
    assert ap(truth, found) >= 0.99


def test_larger_objects_need_the_whole_picture() -> None:
    rng = np.random.default_rng(2)
    truth = Annotations([[20, 30, 380, 300], [50, 310, 62, 322], [200, 100, 208, 110]], [0, 0, 0], (400, 400))
    for whole, count in ((False, 9), (True, 3)):
        parts = oracle(rng, truth, Tiling(160, 40, whole=whole))
        found = merge(parts, size=truth.size, classes=CLASSES)
        assert (len(found) == count) == whole
        assert (ap(truth, found) >= 0.995) == whole
