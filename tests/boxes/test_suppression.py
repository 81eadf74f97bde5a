"""Suppression against the textbook loop, on random, tied, piled and degenerate boxes."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import nms, suppression
from finespot.errors import FineSpotError


def literal(boxes, scores, labels, iou):
    """The textbook loop: float32 overlaps, compared as float64 with the threshold."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.asarray(labels)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), bool)
    kept = []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if not alive[i]:
            continue
        kept.append(i)
        width = np.maximum(np.minimum(boxes[i, 2], boxes[:, 2]) - np.maximum(boxes[i, 0], boxes[:, 0]), 0)
        height = np.maximum(np.minimum(boxes[i, 3], boxes[:, 3]) - np.maximum(boxes[i, 1], boxes[:, 1]), 0)
        inter = width * height
        with np.errstate(invalid="ignore"):
            overlap = inter / (area[i] + area - inter)
        alive &= ~((overlap.astype(np.float64) > iou) & (labels == labels[i]))
    return np.array(kept, np.int64)


def clustered(count, seed, *, side=1000.0, classes=10, copies=10, jitter=0.1):
    """Objects with jittered copies, in random order: boxes, scores, labels."""
    random = np.random.default_rng(seed)
    objects = -(-count // copies)
    center = np.repeat(random.uniform(0, side, (objects, 2)), copies, axis=0)[:count]
    size = np.repeat(np.exp(random.normal(3.2, 0.5, (objects, 2))), copies, axis=0)[:count]
    labels = np.repeat(random.integers(0, classes, objects), copies)[:count]
    center = center + random.normal(0, jitter, (count, 2)) * size
    size = size * np.exp(random.normal(0, jitter, (count, 2)))
    order = random.permutation(count)
    boxes = np.concatenate([center - size / 2, center + size / 2], axis=1).astype(np.float32)
    return boxes[order], random.uniform(0, 1, count).astype(np.float32)[order], labels[order]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_equals_the_loop_on_a_grid_of_ties(data) -> None:
    # Whole coordinates and few score values: equal boxes, equal scores, IoU exactly on the threshold, zero sides.
    count = data.draw(st.integers(0, 40))
    number = st.integers(0, 12)
    rows = data.draw(st.lists(st.tuples(number, number, number, number), min_size=count, max_size=count))
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), np.float32) / 4
    labels = np.array(data.draw(st.lists(st.sampled_from([-1, 0, 7]), min_size=count, max_size=count)), np.int64)
    iou = data.draw(st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.6, 0.7, 0.75, 1.0]))
    expected = literal(boxes, scores, labels, iou)
    np.testing.assert_array_equal(nms(boxes, scores, labels, iou), expected)


@pytest.mark.parametrize("dense", [0, 96, 10**9], ids=["sweep", "default", "matrix"])
@pytest.mark.parametrize("iou", [0.0, 0.05, 0.3, 0.5, 0.6, 0.7, 0.95, 1.0])
def test_equals_the_loop_on_clusters(monkeypatch, dense, iou) -> None:
    monkeypatch.setattr(suppression, "_DENSE", dense)
    for seed, count in enumerate((1, 2, 50, 97, 700)):
        boxes, scores, labels = clustered(count, seed, side=300.0, classes=3)
        scores = np.round(scores, 2)
        np.testing.assert_array_equal(nms(boxes, scores, labels, iou), literal(boxes, scores, labels, iou))


@pytest.mark.slow
@pytest.mark.parametrize("budget", [300, 3000, 2_000_000])
@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.3])
def test_piles_settled_from_the_top_equal_the_loop(monkeypatch, budget, jitter) -> None:
    monkeypatch.setattr(suppression, "PAIR_BUDGET", budget)
    monkeypatch.setattr(suppression, "_CHUNK", 500)
    boxes, scores, labels = clustered(1500, 3, side=40.0, classes=2, copies=500, jitter=jitter)
    for iou in (0.1, 0.7, 0.9):
        np.testing.assert_array_equal(nms(boxes, scores, labels, iou), literal(boxes, scores, labels, iou))


def test_long_chain_equals_the_loop() -> None:
    # Every box overlaps the next one only: each decision waits for the one before.
    x = np.arange(3000, dtype=np.float32) * 3
    boxes = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], axis=1)
    scores = np.linspace(1, 0.1, 3000)
    kept = nms(boxes, scores, np.zeros(3000, int), 0.5)
    np.testing.assert_array_equal(kept, np.arange(0, 3000, 2))


def test_3000_objects_of_very_different_sizes() -> None:
    random = np.random.default_rng(8)
    corner = random.uniform(0, 3000, (3000, 2))
    size = np.exp(random.uniform(0, 8, (3000, 2)))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    scores, labels = random.uniform(0, 1, 3000), random.integers(0, 2, 3000)
    for iou in (0.0, 0.2, 0.7):
        np.testing.assert_array_equal(nms(boxes, scores, labels, iou), literal(boxes, scores, labels, iou))


def test_far_coordinates_do_not_confuse_classes() -> None:
    # An offset per class in float32 would lose the pixels here.
    boxes, scores, labels = clustered(600, 5, classes=80)
    boxes += 3e5
    np.testing.assert_array_equal(nms(boxes, scores, labels, 0.5), literal(boxes, scores, labels, 0.5))
    spread = labels * 10**12
    np.testing.assert_array_equal(nms(boxes, scores, spread, 0.5), literal(boxes, scores, labels, 0.5))


def test_no_boxes() -> None:
    kept = nms(np.zeros((0, 4)), [], [], 0.5)
    assert kept.dtype == np.int64
    assert kept.shape == (0,)


def test_boxes_without_area_stay() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [5, 5, 5, 9], [0, 0, 9, 9]], np.float32)
    for iou in (0.0, 0.5):
        assert sorted(nms(boxes, [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0], iou)) == [0, 1, 2, 3]


def test_threshold_is_exclusive_and_in_double() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert len(nms(boxes, [0.9, 0.8], [0, 0], 0.5)) == 2
    assert len(nms(boxes, [0.9, 0.8], [0, 0], 0.4999)) == 1
    # 3/5 in float32 is above 0.6, and so it is for a float64 threshold.
    boxes = np.array([[0, 0, 5, 1], [0, 0, 3, 1]], np.float32)
    assert len(nms(boxes, [0.9, 0.8], [0, 0], 0.6)) == 1


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 2, np.float32)
    assert len(nms(boxes, [0.9, 0.8], [0, 1], 0.5)) == 2


@pytest.mark.parametrize("limit", [0, 1, 7, 300, 5000])
def test_max_det_keeps_the_best(limit) -> None:
    boxes, scores, labels = clustered(5000, 2)
    full = nms(boxes, scores, labels, 0.7)
    np.testing.assert_array_equal(nms(boxes, scores, labels, 0.7, limit), full[:limit])
    assert (np.diff(scores[full]) <= 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0, 1, np.nan]], [1.0], [0], 0.5), "NaN"),
        (([[0, 0, 1, 1]], [np.inf], [0], 0.5), "infinity"),
        (([[0, 0, 1, 1]], [1.0, 2.0], [0], 0.5), "as many boxes"),
        (([[0, 0, 1, 1]], [1.0], [0], 1.5), "iou: expected a threshold"),
        (([[0, 0, 1, 1]], [1.0], [0], 0.5, -1), "max_det: expected a limit"),
    ],
)
def test_says_what_is_wrong(arguments, message) -> None:
    with pytest.raises(FineSpotError, match=message):
        nms(*arguments)


def test_time_and_memory_of_50000_boxes() -> None:
    # Five times the measured time, so that a busy machine does not fail it; a quadratic method would take minutes.
    boxes, scores, labels = clustered(50_000, 1, side=2000.0)
    pile = clustered(50_000, 1, copies=50_000, jitter=0.02)[0]
    started = time.process_time()
    nms(boxes, scores, labels, 0.7)
    nms(pile, scores, np.zeros(50_000, int), 0.7)
    assert time.process_time() - started < 0.5
    tracemalloc.start()
    nms(pile, scores, np.zeros(50_000, int), 0.7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
