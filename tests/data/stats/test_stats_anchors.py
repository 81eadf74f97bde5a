"""Anchors: the matching rule, k-means, and what is said of both."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from finespot.data.stats.anchors import YOLOV5, k_means, recall, study

SIZES = hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(0.5, 500))


def matches(wh: tuple[float, float], anchor: tuple[float, float]) -> bool:
    return max(wh[0] / anchor[0], anchor[0] / wh[0], wh[1] / anchor[1], anchor[1] / wh[1]) < 4


@given(SIZES)
@settings(max_examples=50, deadline=None)
def test_recall_is_the_share_that_matches_an_anchor(wh: np.ndarray) -> None:
    expected = [any(matches(one, anchor) for anchor in YOLOV5.tolist()) for one in wh.tolist()]
    assert recall(wh, YOLOV5) == pytest.approx(sum(expected) / len(expected))


@pytest.mark.parametrize(
    ("wh", "found"),
    [((10, 3.25), 0), ((10, 3.26), 1), ((2.5, 13), 0), ((2.51, 13), 1), ((3.25, 3.25), 0), ((3.3, 3.3), 1)],
)
def test_blind_spot_of_the_usual_anchors(wh: tuple[float, float], found: int) -> None:
    studied = study(np.array([wh], np.float64), 8)
    assert studied is not None
    assert (studied.usual_recall, studied.too_small) == (found, 1 - found)


def test_too_small_is_not_what_fails_for_its_shape() -> None:
    """A long low object matches no anchor either, though none is too large for it."""
    studied = study(np.array([[300.0, 4.0]]), 8)
    assert studied is not None
    assert (studied.usual_recall, studied.too_small, studied.recall) == (0, 0, 1)


@given(SIZES, st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_centers_are_the_means_of_what_is_nearest(wh: np.ndarray, count: int) -> None:
    centers = k_means(wh, count)
    assert len(centers) == min(count, len(np.unique(np.log(wh), axis=0)))
    own: dict[int, list[tuple[float, float]]] = {}
    for w, h in wh.tolist():
        distances = [math.log(w / cw) ** 2 + math.log(h / ch) ** 2 for cw, ch in centers.tolist()]
        own.setdefault(int(np.argmin(distances)), []).append((w, h))
    for number, members in own.items():
        for axis in (0, 1):
            mean = math.exp(sum(math.log(member[axis]) for member in members) / len(members))
            assert centers[number, axis] == pytest.approx(mean, rel=0.01)


def test_the_same_sizes_give_the_same_anchors() -> None:
    wh = np.exp(np.random.default_rng(3).normal(2, 0.7, (500, 2)))
    assert np.array_equal(k_means(wh, 9), k_means(wh, 9))
    assert not np.array_equal(k_means(wh, 9), k_means(wh, 9, seed=1))


def test_clear_groups_are_found() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([[4, 4], [20, 10], [90, 200]], np.float64)
    wh = np.concatenate([group * np.exp(rng.normal(0, 0.05, (50, 2))) for group in groups])
    found = k_means(wh, 3)
    assert found[np.argsort(found.prod(axis=1))] == pytest.approx(groups, rel=0.05)


def test_anchors_of_small_objects_beat_the_usual_ones() -> None:
    wh = np.exp(np.random.default_rng(1).normal(1.2, 0.4, (2000, 2)))
    studied = study(wh, 4)
    assert studied is not None
    assert studied.sizes.shape == (12, 2)
    assert (np.diff(studied.sizes.prod(axis=1)) >= 0).all()
    assert np.array_equal(studied.sizes, studied.sizes.round(1))
    assert studied.recall == recall(wh, studied.sizes) > 0.999
    assert studied.usual_recall == recall(wh, YOLOV5) < 0.6
    assert study(wh, 8).sizes.shape == (9, 2)  # type: ignore[union-attr]


def test_fewer_sizes_than_anchors() -> None:
    studied = study(np.array([[5.0, 6.0]] * 30 + [[7.0, 8.0]]), 8)
    assert studied is not None
    assert studied.sizes.tolist() == [[5.0, 6.0], [7.0, 8.0]]
    assert study(np.zeros((0, 2)), 8) is None


def test_many_objects_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finespot.data.stats.anchors.SAMPLE", 50)
    wh = np.exp(np.random.default_rng(2).normal(2, 0.5, (400, 2)))
    studied = study(wh, 8)
    assert studied is not None
    assert studied.sample == 50
    assert studied.recall == recall(wh, studied.sizes)
    assert np.array_equal(studied.sizes, study(wh, 8).sizes)  # type: ignore[union-attr]
