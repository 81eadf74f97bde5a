"""Two result sets on one truth: against drawing the tables one by one, and known answers."""

from __future__ import annotations

import io
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from test_bootstrap import drawn, untied
from test_evaluation import random_tables

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, Difference, PictureChange, Results, Truth, compare, evaluate, judged
from finespot.metrics.bootstrap import draws
from finespot.metrics.comparison import mcnemar
from finespot.metrics.curves import reaches_best_f1

COCO = PROTOCOLS["coco"]
PICTURES = 12


@pytest.fixture
def tables() -> tuple[Truth, Results, Results]:
    """B finds what A finds, with more false positives among the first class and fewer among the second."""
    truth, results = random_tables(11, pictures=PICTURES, truths=120, found=300)
    results = untied(results)
    fate = judged(truth, results, COCO)
    better = np.where(fate.wrong & (results.label == 1), results.scores / 100, results.scores)
    other = np.where(fate.right & (results.label == 0), results.scores / 100, better)
    return truth, results, replace(results, scores=other)


def printed(comparison) -> str:
    console = Console(width=150, file=io.StringIO())
    console.print(comparison.table())
    return console.file.getvalue()


def test_nothing_differs_from_itself(tables) -> None:
    truth, results, _ = tables
    one = compare(truth, results, results, resamples=50)
    for label, change in one.values.items():
        if change.a is None:
            assert change == Difference(None, None, None, None, None, None), label
        else:
            assert (change.value, change.low, change.high, change.better) == (0, 0, 0, 0), label
            assert change.a == change.b == evaluate(truth, results).values[label]
    assert all(found.only_a == found.only_b == 0 and found.p == 1 for found in one.found.values())
    assert one.pictures == ()
    assert one.verdict == "no difference shown: B minus A is 0.0 AP (95 %: 0.0 to 0.0)"
    assert one.where(0) == one.where(1) == []


@pytest.mark.slow
def test_intervals_equal_evaluating_drawn_tables(tables) -> None:
    truth, a, b = tables
    one = compare(truth, a, b, resamples=25, seed=6)
    changes: dict[str, list[float]] = {"AP": [], "AP_small": [], "c0": []}
    for counts in next(draws(PICTURES, 25, 6, 25)):
        first, second = (evaluate(*drawn(truth, results, counts)) for results in (a, b))
        for label in ("AP", "AP_small"):
            changes[label].append(second.values[label] - first.values[label])
        changes["c0"].append(second.per_class["c0"]["AP"] - first.per_class["c0"]["AP"])
    found = {"AP": one.values["AP"], "AP_small": one.values["AP_small"], "c0": one.per_class["c0"]["AP"]}
    for label, values in changes.items():
        bounds = [found[label].low, found[label].high]
        np.testing.assert_allclose(bounds, np.quantile(values, [0.025, 0.975]), atol=1e-12)
        assert found[label].better == np.mean(np.array(values) > 1e-12)


def test_sides_turned_around(tables) -> None:
    truth, a, b = tables
    one, turned = compare(truth, a, b, resamples=40), compare(truth, b, a, resamples=40)
    for label, change in one.values.items():
        if change.value is not None:
            assert turned.values[label].value == -change.value
            assert turned.values[label].low == pytest.approx(-change.high)
    assert [found.only_a for found in one.found.values()] == [found.only_b for found in turned.found.values()]
    assert sorted(change.gain for change in one.pictures) == sorted(-change.gain for change in turned.pictures)


@pytest.mark.slow
def test_verdict_and_places(tables) -> None:
    truth, a, b = tables
    one = compare(truth, a, b, resamples=100, names=("old", "new"))
    assert one.per_class["c0"]["AP"].winner == 0
    assert one.per_class["c1"]["AP"].winner == 1
    assert one.per_class["c2"]["AP"].winner is None
    assert any(place.startswith("c0 -") for place in one.where(0))
    assert any(place.startswith("c1 +") for place in one.where(1))
    text = printed(one)
    assert text.splitlines()[0].startswith(one.verdict)
    assert "old is better in: " in text
    assert "found at IoU 0.5" in text
    assert "(seed 0); 5 % of rows" in text

    nothing = a.select(np.zeros(0, int))
    points = 100 * evaluate(truth, a).values["AP"]
    assert compare(truth, nothing, a, resamples=50).verdict.startswith(f"B is better by {points:.1f} AP (95 %: ")
    worse = compare(truth, a, nothing, resamples=50, level=0.8)
    assert worse.verdict.startswith(f"A is better by {points:.1f} AP (80 %: ")
    low, high = -100 * worse.values["AP"].high, -100 * worse.values["AP"].low
    assert worse.verdict.endswith(f"{low:.1f} to {high:.1f})")
    none = compare(truth.select(np.zeros(0, int)), a, b, resamples=5)
    assert none.verdict == "no difference can be shown: AP has no value"
    assert "-" in printed(none)


def test_a_small_difference_does_not_read_as_none(tables) -> None:
    truth, a, b = tables
    one = compare(truth, a, b, resamples=5)
    tiny = replace(one, values={"AP": Difference(0.5, 0.501, 0.001, 0.0001, 0.0021, 0.99)})
    assert tiny.verdict == "B is better by 0.100 AP (95 %: 0.010 to 0.210)"
    wide = replace(one, values={"AP": Difference(0.5, 0.488, -0.012, -0.031, -0.006, 0.0)})
    assert wide.verdict == "A is better by 1.2 AP (95 %: 0.6 to 3.1)"


def test_found_objects_by_size(tables) -> None:
    truth, a, b = tables
    one = compare(truth, a, b, resamples=30, seed=2, iou=0.6)
    fates = []
    for results in (a, b):
        shown = results.select(reaches_best_f1(truth, results, COCO, iou=0.6))
        fates.append(judged(truth, shown, COCO, iou=0.6))
    assert list(one.found) == ["all", "small", "medium", "large"]
    for label, low, high in (("all", 0, 1e10), ("small", 0, 1024), ("medium", 1024, 9216)):
        rows = [g for g in range(len(truth)) if fates[0].counts[g] and low <= truth.area[g] <= high]
        pairs = [(bool(fates[0].found[g]), bool(fates[1].found[g])) for g in rows]
        found = one.found[label]
        assert (found.both, found.only_a) == (pairs.count((True, True)), pairs.count((True, False)))
        assert (found.only_b, found.none) == (pairs.count((False, True)), pairs.count((False, False)))
        if not rows:
            continue
        samples = []
        for counts in next(draws(PICTURES, 30, 2, 30)):
            times = [counts[truth.image[g]] for g in rows]
            gained = sum(n * (second - first) for n, (first, second) in zip(times, pairs))
            samples.append(gained / sum(times) if sum(times) else np.nan)
        np.testing.assert_allclose(
            [found.recall.low, found.recall.high], np.nanquantile(samples, [0.025, 0.975]), atol=1e-12
        )
        assert found.recall.value == pytest.approx((found.only_b - found.only_a) / len(rows))
    assert one.found["large"].recall.value is None
    assert one.found["all"].only_a > 0


def test_pictures(tables) -> None:
    truth, a, b = tables
    one = compare(truth, a, b, resamples=2)
    shown = [results.select(reaches_best_f1(truth, results, COCO)) for results in (a, b)]
    fates = [judged(truth, results, COCO) for results in shown]
    by_id = {change.image_id: change for change in one.pictures}
    for k, image_id in enumerate(truth.image_ids):
        errors = []
        for results, fate in zip(shown, fates):
            missed = (fate.counts & ~fate.found & (truth.image == k)).sum()
            errors.append(missed + (fate.wrong & (results.image == k)).sum())
        gain = by_id[image_id].gain if image_id in by_id else 0
        assert gain == errors[0] - errors[1]
    gains = [change.gain for change in one.pictures]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) < 0 < max(gains)
    assert one.gains(1) == one.pictures[:1]
    assert one.losses(2) == one.pictures[:-3:-1]
    assert all(change.gain < 0 for change in one.losses(99))
    assert PictureChange(1, 5, (2, 4), (3, 1)).gain == 4
    text = printed(one)
    assert "B gains most in" in text
    assert "B loses most in" in text


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_counting(only_a, only_b) -> None:
    total = only_a + only_b
    tail = sum(comb(total, k) for k in range(min(only_a, only_b) + 1))
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, 2 * tail / 2**total))


def test_mcnemar_known() -> None:
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1
    assert mcnemar(0, 5) == pytest.approx(0.0625)
    assert mcnemar(20000, 20600) == pytest.approx(0.0029, abs=1e-4)
    with pytest.raises(FineSpotError, match="expected counts of 0 or more but got -1 and 2"):
        mcnemar(-1, 2)


def test_errors(tables) -> None:
    truth, a, b = tables
    with pytest.raises(FineSpotError, match="names: expected two different names but got 'x' twice"):
        compare(truth, a, b, names=("x", "x"))
    with pytest.raises(FineSpotError, match="has no AP or AR that pictures could be drawn for"):
        compare(truth, a, b, replace(COCO, rows=()))
    with pytest.raises(FineSpotError, match="resamples: expected 1"):
        compare(truth, a, b, resamples=0)
    with pytest.raises(FineSpotError, match="iou: expected an overlap"):
        compare(truth, a, b, resamples=1, iou=0)
