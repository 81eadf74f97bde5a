"""Precision, recall and F1 at every confidence against plain counting, and the thresholds that are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evaluation import OWN, random_tables

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, AreaRange, ConfidenceCurve, confidence_curves, evaluate, judged
from finespot.metrics.curves import reaches_best_f1

RIGHT = np.array([1, 1, 0, 1, 0, 0, 1, 0], bool)
SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])


@pytest.fixture
def curve() -> ConfidenceCurve:
    return ConfidenceCurve.trace(SCORES, RIGHT, ~RIGHT, 5)


def test_known_curve(curve) -> None:
    assert curve.confidence.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert curve.found.tolist() == [1, 2, 3, 3, 3, 4, 4]
    assert curve.false.tolist() == [0, 1, 1, 2, 3, 3, 4]
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 3 / 4, 3 / 5, 3 / 6, 4 / 7, 4 / 8])
    np.testing.assert_allclose(curve.recall, np.array([1, 2, 3, 3, 3, 4, 4]) / 5)
    np.testing.assert_allclose(curve.f1, 2 * curve.precision * curve.recall / (curve.precision + curve.recall))


def test_thresholds(curve) -> None:
    best = curve.best_threshold()
    # F1 is 6 / 9 both at 0.7 and at 0.4: the higher one is taken.
    assert (best.confidence, best.f1, best.detections) == (0.7, 6 / 9, 4)
    assert curve.best_threshold(precision=0.6).confidence == 0.7
    assert curve.best_threshold(precision=0.55).confidence == 0.4
    assert curve.best_threshold(precision=0.9).confidence == 0.9
    assert curve.best_threshold(recall=0.7).confidence == 0.4
    assert curve.best_threshold(recall=0.2).confidence == 0.9
    assert curve.best_threshold(precision=0.5, recall=0.7).confidence == 0.4
    assert curve.best_threshold(precision=0.9, recall=0.7) is None
    assert curve.best_threshold(recall=0.9) is None


def test_order_does_not_matter(curve) -> None:
    turn = np.random.default_rng(0).permutation(len(SCORES))
    turned = ConfidenceCurve.trace(SCORES[turn], RIGHT[turn], ~RIGHT[turn], 5)
    np.testing.assert_array_equal(turned.found, curve.found)
    np.testing.assert_array_equal(turned.false, curve.false)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.3, 0.5, 0.8]))
def test_points_equal_counting_what_a_threshold_keeps(seed, iou) -> None:
    truth, results = random_tables(seed)
    curves = confidence_curves(truth, results, OWN, iou=iou)
    for confidence in np.unique(results.scores):
        kept = results.select(results.scores >= confidence)
        fate = judged(truth, kept, OWN, iou=iou)
        for k, name in enumerate(truth.classes.names[:3]):
            counts = at(curves.classes[name], confidence)
            assert counts == ((fate.right & (kept.label == k)).sum(), (fate.wrong & (kept.label == k)).sum())
        # Classes without an object still invent objects.
        assert at(curves.together, confidence) == (fate.right.sum(), fate.wrong.sum())
    assert curves.together.objects == sum(curve.objects for curve in curves.classes.values()) == fate.counts.sum()


def at(curve: ConfidenceCurve, confidence: float) -> tuple[int, int]:
    """Found and false at a threshold that need not occur."""
    kept = int((curve.confidence >= confidence).sum())
    return (int(curve.found[kept - 1]), int(curve.false[kept - 1])) if kept else (0, 0)


def test_best_f1_is_that_of_the_report() -> None:
    truth, results = random_tables(4)
    report, curves = evaluate(truth, results), confidence_curves(truth, results)
    assert set(report.curves) == set(curves.classes)
    for name, threshold in curves.best_thresholds().items():
        curve = report.curves[name]
        assert threshold.confidence == curve.confidence
        assert (threshold.f1, threshold.precision, threshold.recall) == (
            curve.best_f1,
            curve.best_precision,
            curve.best_recall,
        )


def test_wishes_hold_for_every_class() -> None:
    truth, results = random_tables(4)
    for one in confidence_curves(truth, results).best_thresholds(precision=0.5).values():
        assert one is None or one.precision >= 0.5
    for one in confidence_curves(truth, results).best_thresholds(recall=0.3).values():
        assert one is None or one.recall >= 0.3


def test_sizes_and_pooled_classes() -> None:
    truth, results = random_tables(4)
    small = confidence_curves(truth, results, area=AreaRange("small", 0, 100)).together
    assert small.objects == (~truth.crowd & (truth.area <= 100)).sum()
    pooled = confidence_curves(truth, results, PROTOCOLS["coco"].class_agnostic())
    assert pooled.classes == {}
    assert pooled.together.found[-1] >= confidence_curves(truth, results).together.found[-1]


def test_which_detections_reach_the_best_thresholds() -> None:
    truth, results = random_tables(4)
    least = {name: one.confidence for name, one in confidence_curves(truth, results).best_thresholds().items()}
    names = [truth.classes.names[k] for k in results.label]
    expected = [score >= least.get(name, 2) for name, score in zip(names, results.scores)]
    assert reaches_best_f1(truth, results, PROTOCOLS["coco"]).tolist() == expected
    strange = np.where(np.arange(len(results)) % 3 == 0, -1, results.label)
    assert not reaches_best_f1(truth, replace(results, label=strange), PROTOCOLS["coco"])[strange < 0].any()
    pooled = PROTOCOLS["coco"].class_agnostic()
    one = confidence_curves(truth, results, pooled).together.best_threshold()
    assert reaches_best_f1(truth, results, pooled).sum() == (results.scores >= one.confidence).sum()


def test_no_detections() -> None:
    truth, results = random_tables(4)
    curves = confidence_curves(truth, results.select(np.zeros(0, int)))
    assert set(curves.best_thresholds().values()) == {None}
    assert curves.together.best_threshold() is None
    none = confidence_curves(truth.select(np.zeros(0, int)), results.select(np.zeros(0, int)))
    assert none.classes == {}
    assert none.together.recall.tolist() == []


def test_errors(curve) -> None:
    with pytest.raises(FineSpotError, match="precision: expected a share above 0 to 1 but got 90"):
        curve.best_threshold(precision=90)
    with pytest.raises(FineSpotError, match="recall: expected a share above 0 to 1 but got 0"):
        curve.best_threshold(recall=0)
    with pytest.raises(FineSpotError, match="unknown protocol 'voco'"):
        confidence_curves(*random_tables(1), "voco")
    with pytest.raises(FineSpotError, match="iou: expected an overlap"):
        confidence_curves(*random_tables(1), iou=2)
