"""Joining windows: an oracle's detections come back as the truth, and suppression is that of one plain pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.boxes import clip, nms, suppressor
from finespot.structures import Classes, Placement, Tiling
from finespot.tiling import Part, merge, windows

CLASSES = Classes(("person", "car", "boat"))


def part(boxes, scores=None, labels=None, origin=(0.0, 0.0), size=(100, 200), scale=(1.0, 1.0), offset=(0.0, 0.0)):
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    scores = np.full(len(boxes), 0.5, np.float32) if scores is None else np.asarray(scores, np.float32)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels, np.int64)
    return Part(Placement(scale, offset, size, origin), boxes, scores, labels)


def test_nothing_found() -> None:
    found = merge([part([]), part([])], size=(100, 200), classes=CLASSES, source="a.jpg")
    assert len(found) == 0
    assert found.size == (100, 200)
    assert found.source == "a.jpg"


def test_moved_scaled_and_clipped() -> None:
    one = part([[20, 14, 40, 34]], origin=(100.0, 50.0), scale=(2.0, 2.0), offset=(4.0, 0.0))
    found = merge([one], size=(100, 200), classes=CLASSES)
    assert found.boxes.tolist() == [[110, 55, 120, 65]]
    edge = part([[90, 40, 130, 70]], origin=(100.0, 50.0))
    assert merge([edge], size=(100, 200), classes=CLASSES).boxes.tolist() == [[190, 90, 200, 100]]


def test_boxes_in_the_padding_go() -> None:
    assert len(merge([part([[-20, 10, -5, 20]])], size=(100, 200), classes=CLASSES)) == 0


def test_doubles_of_two_windows_become_one_and_the_better_stays() -> None:
    parts = [part([[50, 10, 60, 20]], [0.6]), part([[10, 10, 20, 20]], [0.8], origin=(40.0, 0.0))]
    found = merge(parts, size=(100, 200), classes=CLASSES)
    assert len(found) == 1
    assert found.scores[0] == np.float32(0.8)


def test_other_classes_stay() -> None:
    parts = [part([[50, 10, 60, 20]], labels=[0]), part([[10, 10, 20, 20]], labels=[1], origin=(40.0, 0.0))]
    assert len(merge(parts, size=(100, 200), classes=CLASSES)) == 2


def test_options_have_effects() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]]
    one = part(boxes, [0.9, 0.8, 0.7])
    count = lambda **options: len(merge([one], size=(100, 200), classes=CLASSES, **options))  # noqa: E731
    assert count(iou=0.7) == 2
    assert count(iou=0.9) == 3
    assert count(iou=0.7, suppress=False) == 3
    assert count(iou=0.7, max_det=1) == 1
    assert count(suppress=False, max_det=2) == 2


def test_the_choice_of_suppression_reaches_boxes_scores_and_the_least_score() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]]
    parts = [part(boxes[:1], [0.9]), part(boxes[1:], [0.8, 0.7])]
    found = lambda nms, **more: merge(parts, size=(100, 200), classes=CLASSES, nms=suppressor(nms), iou=0.7, **more)  # noqa: E731
    assert len(found("greedy")) == 2
    soft = found("soft")
    assert soft.scores.tolist() == pytest.approx([0.9, 0.7, 0.8 * np.exp(-(0.8**2) / 0.5)])
    # Scores that suppression lowers count anew; without suppression none is looked at.
    assert len(found("soft", conf=0.5)) == 2
    assert len(found("soft", conf=0.5, suppress=False)) == 3
    assert found("weighted").boxes[0].tolist() == pytest.approx([0, 0, 10, (9 + 6.4) / 1.7])
    assert len(merge([part(boxes, [-1, -2, -3])], size=(100, 200), classes=CLASSES)) == 2


def test_without_suppression_the_order_is_by_score() -> None:
    found = merge([part([[0, 0, 1, 1]] * 3, [0.2, 0.9, 0.5])], size=(100, 200), classes=CLASSES, suppress=False)
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.5), np.float32(0.2)]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(200, 900), st.integers(200, 900), st.sampled_from([64, 160, 320]))
def test_an_oracle_gives_the_truth_back(seed, height, width, tile) -> None:
    """A detector that finds exactly what lies whole in a window: merged, every object is there once."""
    rng = np.random.default_rng(seed)
    tiling = Tiling(tile, 0.25)
    side = tiling.overlap_pixels
    # On a lattice wider than the objects, so that no two of them overlap.
    xs, ys = np.arange(0, width - side, side + 1), np.arange(0, height - side, side + 1)
    corners = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2).astype(np.float32)
    wh = rng.uniform(2, side, corners.shape).astype(np.float32)
    truth = np.concatenate([corners, corners + wh], 1)
    labels, scores = rng.integers(0, 3, len(truth)), rng.uniform(0.3, 1, len(truth)).astype(np.float32)
    parts = []
    for window in windows((height, width), tiling):
        x1, y1, x2, y2 = window.window
        whole = (truth[:, :2] >= [x1, y1]).all(1) & (truth[:, 2:] <= [x2, y2]).all(1)
        placement = Placement((0.5, 0.5), (3.0, 7.0), (height, width), (float(x1), float(y1)))
        parts.append(Part(placement, placement.to_input(truth[whole]), scores[whole], labels[whole]))
    found = merge(parts, size=(height, width), classes=CLASSES)
    assert len(found) == len(truth)
    order = np.argsort(-scores, kind="stable")
    np.testing.assert_allclose(found.boxes, truth[order], atol=1e-3)
    assert found.labels.tolist() == labels[order].tolist()


@pytest.mark.parametrize("count", [1, 3000])
def test_equals_one_plain_pass_over_all_boxes(count) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 180, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 30, (count, 2))], 1).astype(np.float32)
    scores, labels = rng.random(count, np.float32), rng.integers(0, 3, count)
    cuts = np.array_split(np.arange(count), 4)
    parts = [
        part(boxes[rows] - [k, 2 * k, k, 2 * k], scores[rows], labels[rows], origin=(k, 2 * k))
        for k, rows in enumerate(cuts)
    ]
    found = merge(parts, size=(100, 200), classes=CLASSES, iou=0.5)
    shifted = np.concatenate([clip(p.placement.to_picture(p.boxes), (100, 200)) for p in parts])
    solid = (shifted[:, 2:] > shifted[:, :2]).all(1)
    keep = nms(shifted[solid], scores[solid], labels[solid], 0.5)
    np.testing.assert_array_equal(found.boxes, shifted[solid][keep])
