"""The check of anchors: recall, the search for better ones, what is left alone, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from finespot.data.stats.anchor_check import check_anchors
from finespot.data.stats.anchors import YOLOV5, recall
from finespot.errors import FineSpotError

USUAL = [[(float(w), float(h)) for w, h in level] for level in YOLOV5.reshape(3, 3, 2)]
SIZES = hnp.arrays(np.float64, st.tuples(st.integers(0, 30), st.just(2)), elements=st.floats(0, 600))


def tiny(count: int = 2000, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.exp(draw.normal(1.5, 0.6, (count, 1))) * np.exp(draw.normal(0, 0.3, (count, 2)))


def test_anchors_that_fit_are_left_alone() -> None:
    sizes = np.random.default_rng(0).uniform(12, 300, (500, 1)) * [[1.0, 1.2]]
    check = check_anchors(sizes, USUAL)
    assert (check.recall, check.recall_after, check.anchors, check.changed) == (1.0, 1.0, USUAL, False)


def test_tiny_objects_get_anchors_of_their_own() -> None:
    check = check_anchors(tiny(), USUAL, generations=100)
    assert check.changed
    assert check.recall < 0.7
    assert check.recall_after > 0.99
    flat = np.array(check.anchors).reshape(-1, 2)
    assert recall(tiny(), flat) == pytest.approx(check.recall_after, abs=0.01)
    assert [len(level) for level in check.anchors] == [3, 3, 3]
    assert (np.diff(flat.prod(axis=1)) >= 0).all()
    assert np.allclose(flat, flat.round(1))


def test_the_same_input_gives_the_same_anchors_and_another_seed_others() -> None:
    first, again, other = (check_anchors(tiny(300), USUAL, generations=50, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert other.anchors != first.anchors


def test_random_changes_raise_the_recall() -> None:
    """Two anchors for many small objects and few large ones: k-means leaves the rare ones out."""
    draw = np.random.default_rng(0)
    sizes = np.exp(draw.gamma(2.0, 0.9, (400, 1)) + 0.8 + draw.normal(0, 0.1, (400, 2)))
    reached = [check_anchors(sizes, [[(90, 90), (80, 80)]], generations=count).recall_after for count in (0, 300)]
    assert reached[0] < reached[1]


def test_what_is_enough_is_a_choice() -> None:
    sizes = np.concatenate([np.full((97, 2), 40.0), np.full((3, 2), 2.5)])
    assert check_anchors(sizes, USUAL).changed
    assert not check_anchors(sizes, USUAL, enough=0.95).changed


def test_specks_and_boxes_without_area_shape_no_anchor() -> None:
    specks = np.full((50, 2), 1.0)
    assert not check_anchors(specks, USUAL).changed
    flat = np.array([[0.0, 30], [30, 0], [40, 40]])
    assert check_anchors(flat, USUAL).recall == 1
    mixed = np.concatenate([specks, np.full((50, 2), 2000.0)])
    assert np.array(check_anchors(mixed, USUAL, generations=0).anchors).min() > 9


def test_few_sizes_keep_the_largest_of_the_given_anchors() -> None:
    check = check_anchors([[3.0, 3.0]], USUAL, generations=0)
    assert check.recall_after == 1
    flat = [pair for level in check.anchors for pair in level]
    assert flat[1:] == [pair for level in USUAL for pair in level][1:]
    assert flat[0] == pytest.approx((3, 3), abs=0.4)


def test_no_objects_leave_the_anchors_alone() -> None:
    check = check_anchors(np.zeros((0, 2)), USUAL)
    assert (check.recall, check.anchors) == (1.0, USUAL)


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_anchors_never_get_worse(sizes: np.ndarray) -> None:
    check = check_anchors(sizes, USUAL, generations=5)
    assert 0 <= check.recall <= check.recall_after <= 1
    assert check.changed or check.anchors == USUAL
    assert all(side > 0 for level in check.anchors for pair in level for side in pair)


@pytest.mark.parametrize("sizes", [[1, 2, 3], [[1, 2, 3]], [[1, float("nan")]]])
def test_sizes_are_checked(sizes) -> None:
    with pytest.raises(FineSpotError, match="finite sizes"):
        check_anchors(sizes, USUAL)


@pytest.mark.parametrize("anchors", [[], [[]], [[(1, 2)], [(1, 2), (3, 4)]], [[(1, 0)]], [(1, 2)]])
def test_anchors_of_another_form_are_refused(anchors) -> None:
    with pytest.raises(FineSpotError, match="pairs above 0 for each level"):
        check_anchors([[5.0, 5.0]], anchors)
