"""The LRP error and the miss rate of one class, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from finespot.metrics.lrp import optimal_lrp
from finespot.metrics.miss_rate import FPPI, log_mean, miss_rates

SCORES = np.array([0.9, 0.8, 0.7])


def flags(*values: int) -> np.ndarray:
    return np.array(values, bool)


def test_the_best_score_is_before_the_false_positive() -> None:
    one = optimal_lrp(flags(1, 0, 0), flags(0, 1, 0), np.array([0.8, 0, 0]), SCORES, 2, 0.5)
    # One found with an IoU of 0.8, one missed: (0.2 / 0.5 + 1) / 2.
    assert one.error == pytest.approx(0.7)
    assert (one.loc, one.false, one.missed) == (pytest.approx(0.2), 0, 0.5)
    assert one.threshold == 0.9


def test_a_later_object_is_worth_a_false_positive() -> None:
    one = optimal_lrp(flags(1, 0, 1), flags(0, 1, 0), np.array([1.0, 0, 1.0]), SCORES, 2, 0.5)
    assert (one.error, one.threshold) == (pytest.approx(1 / 3), 0.7)
    assert one.false == pytest.approx(1 / 3)


def test_the_first_of_equal_errors_counts() -> None:
    # A detection whose IoU is the threshold changes nothing, and an ignored one neither.
    one = optimal_lrp(flags(1, 1, 0), flags(0, 0, 0), np.array([1.0, 0.5, 0]), SCORES, 3, 0.5)
    assert (one.error, one.threshold, one.missed) == (pytest.approx(2 / 3), 0.9, pytest.approx(2 / 3))


def test_nothing_found() -> None:
    one = optimal_lrp(flags(0, 0, 0), flags(1, 1, 0), np.zeros(3), SCORES, 3, 0.5)
    assert (one.error, one.missed) == (1, 1)
    assert np.isnan([one.loc, one.false, one.threshold]).all()


def test_found_at_the_threshold_only() -> None:
    one = optimal_lrp(flags(0, 1), flags(1, 0), np.array([0, 0.5]), SCORES[:2], 1, 0.5)
    # The first prefix is as good and has found nothing.
    assert (one.error, one.threshold) == (1, 0.9)
    assert np.isnan(one.loc)
    assert one.false == 1


def test_miss_rates_at_false_positives_per_image() -> None:
    # In 10 pictures: found, wrong, found. A false positive in 10 pictures is 0.1 per image.
    missed = miss_rates(flags(1, 0, 1), flags(0, 1, 0), 4, 10, wrap=False)
    assert missed[FPPI < 0.09].tolist() == [0.75] * 4
    assert missed[FPPI > 0.09].tolist() == [0.5] * 5


def test_where_the_first_is_wrong() -> None:
    right, wrong = flags(0, 1), flags(1, 0)
    assert miss_rates(right, wrong, 2, 1, wrap=False).tolist() == [1.0] * 8 + [0.5]
    assert miss_rates(right, wrong, 2, 1, wrap=True).tolist() == [0.5] * 9


def test_log_mean() -> None:
    assert log_mean(np.array([0.1, 0.001])) == pytest.approx(0.01)
    assert log_mean(np.array([0.5, 0.0])) == 0
    assert miss_rates(flags(), flags(), 3, 2, wrap=True).tolist() == [1.0] * 9
