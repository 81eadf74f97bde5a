"""Intervals by drawing pictures: equal to drawing the tables, the same for a seed, honest about what they cover."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import marked_tables
from rich.console import Console
from test_evaluation import OWN, large_tables, random_tables

from finespot.errors import FineSpotError
from finespot.metrics import PROTOCOLS, Regions, Results, Row, Truth, bootstrap, evaluate
from finespot.metrics.bootstrap import Tally, draws, over_classes

DATA = Path(__file__).parent / "data"
COCO = PROTOCOLS["coco"]
# The function of the same name hides the module.
MODULE = sys.modules["finespot.metrics.bootstrap"]


def drawn(truth: Truth, results: Results, counts) -> tuple[Truth, Results]:
    """Tables in which each picture stands as often as it was drawn, its copies one behind the other."""
    sources = [k for k in sorted(range(len(counts)), key=lambda k: truth.image_ids[k]) for _ in range(counts[k])]
    t_rows = [np.flatnonzero(truth.image == k) for k in sources]
    r_rows = [np.flatnonzero(results.image == k) for k in sources]
    new_truth, new_results = truth.select(np.concatenate(t_rows)), results.select(np.concatenate(r_rows))
    t_image = np.repeat(np.arange(len(sources)), [len(one) for one in t_rows])
    g_rows = [np.flatnonzero(truth.regions.image == k) for k in sources]
    g_image = np.repeat(np.arange(len(sources)), [len(one) for one in g_rows])
    regions = Regions(g_image, truth.regions.boxes[np.concatenate(g_rows)])
    r_image = np.repeat(np.arange(len(sources)), [len(one) for one in r_rows])
    return (
        replace(new_truth, image_ids=tuple(range(len(sources))), image=t_image, regions=regions),
        replace(new_results, image=r_image),
    )


def untied(results: Results, seed: int = 0) -> Results:
    """Scores that differ inside a picture; those of different pictures may still be equal."""
    scores = np.zeros(len(results))
    for k in np.unique(results.image):
        rows = np.flatnonzero(results.image == k)
        scores[rows] = np.random.default_rng(seed + k).permutation(len(rows)) / 200
    return replace(results, scores=scores)


def assert_equal_to_drawn_tables(truth, results, rules, counts) -> None:
    values = Tally(truth, results, rules).weigh(np.array([counts], np.int32))[0]
    report = evaluate(*drawn(truth, results, counts), rules)
    for r, row in enumerate(Tally(truth, results, rules).rows):
        label = rules.label(row)
        for k, name in enumerate(report.classes):
            number = report.per_class[name][label]
            assert values[k, r] == pytest.approx(np.nan if number is None else number, abs=1e-12, nan_ok=True), label
        number = report.values[label]
        mean = over_classes(values[None])[0, r]
        assert mean == pytest.approx(np.nan if number is None else number, abs=1e-12, nan_ok=True), label


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=4, max_size=4).filter(any))
def test_weights_equal_drawn_tables(seed, counts) -> None:
    truth, results = random_tables(seed)
    regions = np.random.default_rng(seed).uniform(0, 50, (3, 4))
    truth = replace(truth, regions=Regions(np.array([0, 2, 2]), regions))
    for rules in (OWN, COCO.class_agnostic()):
        assert_equal_to_drawn_tables(truth, untied(results, seed), rules, counts)


# What weighs classes by pictures, takes rows of a file, or counts classes that no picture has.
UNDRAWN = ("visdrone", "dota-hbb", "dota-hbb-1.5")


@pytest.mark.parametrize("name", [*PROTOCOLS, *(f"{name} (clean)" for name in PROTOCOLS)])
def test_protocols_have_intervals_or_say_so(name) -> None:
    truth, results = marked_tables(4, pictures=8)
    rules = PROTOCOLS[name.removesuffix(" (clean)")]
    rules = rules.clean() if name.endswith("(clean)") else rules
    if name in UNDRAWN:
        with pytest.raises(FineSpotError, match="pictures cannot be drawn for"):
            bootstrap(truth, untied(results), rules, resamples=20)
        return
    if name.startswith("tinyperson-mr"):
        with pytest.raises(FineSpotError, match="has no AP or AR that pictures could be drawn for"):
            bootstrap(truth, results, rules, resamples=20)
        return
    made = bootstrap(truth, untied(results), rules, resamples=20)
    rows = [row for row in rules.rows if row.kind in ("AP", "AR") and rules.covers(row)]
    assert made.values.keys() == {rules.label(row) for row in rows}
    for label, one in made.values.items():
        if one.value is not None:
            assert one.low <= one.high <= (100 if rules.percent and label != "final_recall" else 1), label


@pytest.mark.parametrize(("folder", "name"), [("coco", "coco"), ("aitod", "ai-tod"), ("coco_id0", "coco")])
def test_golden_sets_equal_drawn_tables(folder, name) -> None:
    truth = Truth.read(DATA / folder / "gt.json")
    results = untied(Results.read(DATA / folder / "dt.json", truth))
    for counts in next(draws(len(truth.image_ids), 3, 5, 3)):
        assert_equal_to_drawn_tables(truth, results, PROTOCOLS[name], counts)


def test_copies_of_a_picture_with_equal_scores_stand_in_another_order() -> None:
    # A right and a wrong detection of one score in a picture drawn twice: copies give right, wrong, right, wrong, the
    # weights right, right, wrong, wrong.
    truth, results = random_tables(0, pictures=1, classes=1, truths=1, found=2)
    truth = replace(truth, ids=np.array([1]), crowd=np.array([False]))
    boxes = np.array([[0.0, 0, 9, 9], [500, 0, 9, 9]])
    truth = replace(truth, boxes=boxes[:1], area=np.array([100.0]))
    zero = np.zeros(2, int)
    results = Results(zero, zero, boxes, np.array([0.5, 0.5]))
    rules = replace(COCO, rows=(Row("AP50", "AP", iou=0.5),))
    copies = evaluate(*drawn(truth, results, [2]), rules).values["AP50"]
    assert copies == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert Tally(truth, results, rules).weigh(np.array([[2]], np.int32))[0, 0, 0] == 1


@pytest.mark.slow
def test_interval_and_its_seed() -> None:
    truth, results = random_tables(1, pictures=12)
    one = bootstrap(truth, results, resamples=200, seed=3)
    report = evaluate(truth, results)
    for label, interval in one.values.items():
        assert interval.value == report.values[label]
        if interval.value is not None:
            assert 0 <= interval.low <= interval.high <= 1, label
            samples = one.samples[label][~np.isnan(one.samples[label])]
            np.testing.assert_allclose([interval.low, interval.high], np.quantile(samples, [0.025, 0.975]))
    assert one.values["AP"].low < one.values["AP"].value < one.values["AP"].high
    assert one.per_class["c0"]["AP"].value == report.per_class["c0"]["AP"]
    assert one.per_class["c3"]["AP"] == one.values["AP_large"]
    assert one.per_class["c3"]["AP"].low is None
    assert bootstrap(truth, results, resamples=200, seed=3).values == one.values
    assert bootstrap(truth, results, resamples=200, seed=4).values != one.values
    narrow = bootstrap(truth, results, resamples=200, seed=3, level=0.5)
    assert one.values["AP"].low < narrow.values["AP"].low < narrow.values["AP"].high < one.values["AP"].high


def test_chunks_do_not_change_the_draws(monkeypatch) -> None:
    together = next(draws(9, 8, 1, 8))
    assert np.array_equal(np.concatenate(list(draws(9, 8, 1, 3))), together)
    assert (together.sum(axis=1) == 9).all()
    truth, results = random_tables(1)
    before = bootstrap(truth, results, resamples=7).samples
    monkeypatch.setattr(MODULE, "_CHUNK", 1)
    assert Tally(truth, results, COCO).chunk == 1
    for label, samples in bootstrap(truth, results, resamples=7).samples.items():
        np.testing.assert_allclose(samples, before[label], rtol=1e-12)


def test_pictures_that_are_all_alike_leave_no_doubt() -> None:
    truth, results = random_tables(5, pictures=1)
    results = untied(results)
    one = bootstrap(*drawn(truth, results, [6]), resamples=40)
    for label, interval in one.values.items():
        if interval.value is not None:
            assert interval.low == pytest.approx(interval.value, abs=1e-12), label
            assert interval.high == pytest.approx(interval.value, abs=1e-12), label


def test_intervals_cover_as_they_say() -> None:
    # One object a picture, found or not: recall is a share, whose interval is known from the binomial distribution.
    pictures = 100
    zeros, ids = np.zeros(pictures, int), np.arange(pictures)
    truth, _ = random_tables(0, pictures=1)
    boxes = np.tile([0.0, 0, 10, 10], (pictures, 1))
    truth = Truth(
        tuple(range(pictures)), truth.classes, ids, zeros, boxes, np.full(pictures, 100.0), zeros > 0, ids + 1
    )
    found = ids[ids % 10 < 3]
    results = Results(found, zeros[found], boxes[found], np.linspace(0.9, 0.1, len(found)))
    recall = bootstrap(truth, results, resamples=2000).values["AR@100"]
    assert recall.value == pytest.approx(0.3)
    assert recall.low == pytest.approx(0.3 - 1.96 * np.sqrt(0.3 * 0.7 / pictures), abs=0.02)
    assert recall.high == pytest.approx(0.3 + 1.96 * np.sqrt(0.3 * 0.7 / pictures), abs=0.02)


def test_empty_sides() -> None:
    truth, results = random_tables(1)
    nothing = results.select(np.zeros(0, int))
    assert bootstrap(truth, nothing, resamples=3).values["AP"].high == 0
    assert bootstrap(truth.select(np.zeros(0, int)), results, resamples=3).values["AP"].low is None


def test_table() -> None:
    console = Console(width=100, file=io.StringIO())
    console.print(bootstrap(*random_tables(1), resamples=5, seed=2, level=0.9).table())
    text = console.file.getvalue()
    assert "coco: 90 % intervals from 5 resamples of 4 images (seed 2)" in text
    assert [line.split()[1:] for line in text.splitlines() if line.startswith("AP_large")] == [["-", "-", "-"]]


def test_errors() -> None:
    truth, results = random_tables(1)
    with pytest.raises(FineSpotError, match="resamples: expected 1 resample or more but got 0"):
        bootstrap(truth, results, resamples=0)
    with pytest.raises(FineSpotError, match="seed: expected a seed of 0 or more but got -1"):
        bootstrap(truth, results, seed=-1)
    with pytest.raises(FineSpotError, match="level: expected a level above 0 and below 1 but got 95"):
        bootstrap(truth, results, level=95)
    none = replace(truth.select(np.zeros(0, int)), image_ids=())
    with pytest.raises(FineSpotError, match="two pictures or more to draw from but got 0"):
        bootstrap(none, results.select(np.zeros(0, int)))


def test_rows_averaged_in_another_way_are_refused(monkeypatch) -> None:
    truth, results = random_tables(1)
    report = evaluate(truth, results)
    monkeypatch.setattr(
        MODULE,
        "evaluate",
        lambda *tables: replace(report, values={**report.values, "AP50": 0.123}),
    )
    with pytest.raises(FineSpotError, match="pictures cannot be drawn for AP50 as 'coco' averages it"):
        bootstrap(truth, results, resamples=2)


@pytest.mark.full
def test_a_thousand_resamples_of_a_large_set() -> None:
    truth, results = large_tables(548, 500)
    assert bootstrap(truth, results).values["AP"].value == evaluate(truth, results).values["AP"]
