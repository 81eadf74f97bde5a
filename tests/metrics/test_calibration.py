"""Reliability bins against counting bin by bin, and known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evaluation import random_tables

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, Reliability, calibration, judged

COCO = PROTOCOLS["coco"]


def test_perfect_calibration_has_no_error() -> None:
    # Of ten detections of score k / 10, k are right.
    scores = np.repeat(np.arange(11) / 10, 10)
    right = np.tile(np.arange(10), 11) < np.repeat(np.arange(11), 10)
    one = Reliability.of(scores, right, np.linspace(0, 1, 11))
    assert one.ece == pytest.approx(0, abs=1e-12)
    assert one.mce == pytest.approx(0, abs=1e-12)
    assert one.detections == 110
    assert one.count.tolist() == [20, *[10] * 9]


def test_known_errors() -> None:
    scores = np.array([0.95, 0.95, 0.95, 0.95, 0.15])
    one = Reliability.of(scores, np.array([True, True, False, False, True]), np.linspace(0, 1, 11))
    assert one.ece == pytest.approx((4 * 0.45 + 0.85) / 5)
    assert one.mce == pytest.approx(0.85)
    assert one.precision[9] == 0.5
    assert np.isnan(one.precision[5])
    assert np.isnan(one.confidence[5])


def test_edges_belong_to_the_lower_bin() -> None:
    one = Reliability.of(np.array([0.0, 0.5, 1.0]), np.zeros(3, bool), np.array([0, 0.5, 1]))
    assert one.count.tolist() == [2, 1]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 15), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_bins_equal_counting(seed, bins, equal_counts, conf) -> None:
    truth, results = random_tables(seed)
    one = calibration(truth, results, bins=bins, equal_counts=equal_counts, conf=conf)
    fates = {"overall": judged(truth, results, COCO)}
    fates |= {area.label: judged(truth, results, COCO, area=area) for area in COCO.areas[1:]}
    everything = np.ones(len(results), bool)
    cases = [(one.overall, fates["overall"], everything)]
    cases += [(one.classes[name], fates["overall"], results.label == k) for k, name in enumerate(truth.classes.names)]
    cases += [(one.sizes[label], fates[label], everything) for label in ("small", "medium", "large")]
    assert len(one.sizes) == 3
    for found, fate, chosen in cases:
        rows = [d for d in np.flatnonzero(chosen & (fate.right | fate.wrong)) if results.scores[d] >= conf]
        assert found.detections == found.count.sum()
        error, worst = 0.0, 0.0
        for b, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:])):
            first, last = b == 0, b == len(found.edges) - 2
            inside = [d for d in rows if (first or results.scores[d] > low) and (last or results.scores[d] <= high)]
            assert found.count[b] == len(inside)
            if inside:
                share = sum(fate.right[d] for d in inside) / len(inside)
                mean = sum(results.scores[d] for d in inside) / len(inside)
                assert found.precision[b] == pytest.approx(share)
                assert found.confidence[b] == pytest.approx(mean)
                error, worst = error + abs(share - mean) * len(inside), max(worst, abs(share - mean))
        if rows:
            assert found.ece == pytest.approx(error / len(rows))
            assert found.mce == pytest.approx(worst)
        else:
            assert found.ece is found.mce is None


def test_equal_counts_fill_the_bins_evenly() -> None:
    truth, results = random_tables(3)
    results = replace(results, scores=np.linspace(0, 1, len(results)) ** 6)
    even = calibration(truth, results, bins=5, equal_counts=True).overall
    assert even.count.max() - even.count.min() <= 1
    wide = calibration(truth, results, bins=5).overall
    assert wide.count.max() > 2 * wide.count.min()
    same = calibration(truth, replace(results, scores=np.full(len(results), 0.4)), equal_counts=True).overall
    assert same.count.tolist() == [same.detections]


def test_ignored_detections_are_left_out() -> None:
    truth, results = random_tables(3)
    truth = replace(truth, crowd=np.ones(len(truth), bool))
    fate = judged(truth, results, COCO)
    assert calibration(truth, results).overall.detections == fate.wrong.sum() < len(results)


def test_no_detections() -> None:
    truth, results = random_tables(3)
    one = calibration(truth, results.select(np.zeros(0, int)), equal_counts=True)
    assert (one.overall.ece, one.overall.mce, one.overall.detections) == (None, None, 0)


def test_errors() -> None:
    truth, results = random_tables(3)
    with pytest.raises(FineSpotError, match="bins: expected 1 bin or more but got 0"):
        calibration(truth, results, bins=0)
    with pytest.raises(FineSpotError, match="conf: expected a score of 0 or more and below 1 but got 1"):
        calibration(truth, results, conf=1)
    with pytest.raises(FineSpotError, match="expected scores from 0 to 1 but got 0 to 91"):
        calibration(truth, replace(results, scores=results.scores * 100))
    with pytest.raises(FineSpotError, match="iou: expected an overlap"):
        calibration(truth, results, iou=0)
