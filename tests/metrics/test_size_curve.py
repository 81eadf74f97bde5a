"""AP and recall by bins of sides against evaluations of each bin, and the bins themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_bootstrap import untied
from test_evaluation import random_tables

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, AreaRange, Results, Row, Truth, confidence_curves, evaluate, judged, size_curve
from finespot.metrics.bootstrap import draws

COCO = PROTOCOLS["coco"]


@pytest.fixture
def tables() -> tuple[Truth, Results]:
    truth, results = random_tables(8, pictures=10, truths=150, found=400)
    sides = np.random.default_rng(1).uniform(2, 60, len(truth))
    return replace(truth, area=sides**2), untied(results)


def test_each_bin_is_an_evaluation_of_its_size_range(tables) -> None:
    truth, results = tables
    curve = size_curve(truth, results, edges=(5, 10, 25, 50), resamples=5)
    assert curve.edges.tolist() == [5, 10, 25, 50]
    for b, (low, high) in enumerate([(5, 10), (10, 25), (25, 50)]):
        rules = replace(COCO, areas=(AreaRange("bin", low**2, high**2),), rows=(Row("AP", "AP", area="bin"),))
        report = evaluate(truth, results, rules)
        assert curve.ap[b].value == report.values["AP"]
        assert curve.objects[b] == report.averages.objects[:, 0].sum()


def test_one_overlap(tables) -> None:
    truth, results = tables
    everything = size_curve(truth, results, edges=(0, 1000), resamples=2, iou=0.75)
    assert everything.ap[0].value == pytest.approx(evaluate(truth, results).values["AP75"])
    assert everything.recall_iou == 0.75
    assert size_curve(truth, results, edges=(0, 1000), resamples=2).recall_iou == 0.5


def test_recall_is_at_the_best_thresholds(tables) -> None:
    truth, results = tables
    curve = size_curve(truth, results, bins=3, resamples=30, seed=4)
    best = confidence_curves(truth, results).best_thresholds()
    rows = [d for d, k in enumerate(results.label) if k < 3 and results.scores[d] >= best[f"c{k}"].confidence]
    fate = judged(truth, results.select(np.array(rows)), COCO)
    side = np.sqrt(truth.area)
    for b, interval in enumerate(curve.recall):
        inside = fate.counts & (side <= curve.edges[b + 1]) & ((side > curve.edges[b]) | (b == 0))
        assert interval.value == fate.found[inside].sum() / inside.sum()
        samples = []
        for counts in next(draws(10, 30, 4, 30)):
            times = counts[truth.image] * inside
            samples.append((times * fate.found).sum() / times.sum())
        np.testing.assert_allclose([interval.low, interval.high], np.quantile(samples, [0.025, 0.975]))


def test_bins_hold_equally_many_objects(tables) -> None:
    truth, results = tables
    curve = size_curve(truth, results, bins=5, resamples=2)
    assert len(curve.ap) == len(curve.recall) == len(curve.objects) == len(curve.middles) == 5
    assert curve.objects.max() - curve.objects.min() <= 1
    assert curve.objects.sum() == (~truth.crowd).sum()
    assert (curve.middles > curve.edges[:-1]).all()
    assert (curve.middles < curve.edges[1:]).all()


def test_objects_on_an_edge_count_once(tables) -> None:
    truth, results = tables
    truth = replace(truth, area=np.random.default_rng(0).choice([64.0, 256.0, 1024.0], len(truth)))
    curve = size_curve(truth, results, edges=(8, 16, 32), resamples=2)
    assert curve.objects.tolist() == [
        (~truth.crowd & (truth.area < 1000)).sum(),
        (~truth.crowd & (truth.area > 1000)).sum(),
    ]
    many = size_curve(truth, results, bins=9, resamples=2)
    assert many.edges.tolist() == [8, 16, 32]
    same = size_curve(replace(truth, area=np.full(len(truth), 64.0)), results, bins=4, resamples=2)
    assert same.edges.tolist() == [8, 8]
    assert same.objects.tolist() == [(~truth.crowd).sum()]


def test_seed_and_level(tables) -> None:
    one, other = (size_curve(*tables, bins=2, resamples=50, seed=7) for _ in range(2))
    assert (one.ap, one.recall) == (other.ap, other.recall)
    assert size_curve(*tables, bins=2, resamples=50, seed=8).recall != one.recall
    narrow = size_curve(*tables, bins=2, resamples=50, seed=7, level=0.5)
    assert narrow.ap[0].high - narrow.ap[0].low < one.ap[0].high - one.ap[0].low


def test_an_empty_bin_has_no_value(tables) -> None:
    curve = size_curve(*tables, edges=(0, 60, 100), resamples=3)
    assert curve.objects[1] == 0
    assert (curve.ap[1].value, curve.recall[1].value, curve.recall[1].low) == (None, None, None)


def test_errors(tables) -> None:
    truth, results = tables
    for edges, message in (
        ((8,), "edges: expected two sides or more"),
        ((-1, 8), "edges: expected two sides or more"),
        ((8, float("nan")), "edges: expected two sides or more"),
        ((8, 8), "edges: expected rising sides"),
    ):
        with pytest.raises(FineSpotError, match=message):
            size_curve(truth, results, edges=edges)
    with pytest.raises(FineSpotError, match="bins: expected 1 bin or more but got 0"):
        size_curve(truth, results, bins=0)
    with pytest.raises(FineSpotError, match="one object or more"):
        size_curve(truth.select(np.zeros(0, int)), results)
    with pytest.raises(FineSpotError, match="resamples"):
        size_curve(truth, results, resamples=0)
