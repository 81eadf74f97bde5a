"""What holds under every protocol, whatever its rules: order, ignored objects, perfect and missing detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import marked_tables, random_tables

from finespot.metrics import PROTOCOLS, Protocol, Regions, Results, Truth, evaluate, tide
from finespot.metrics.subset import by_rules
from finespot.structures import Classes

every = pytest.mark.parametrize("name", sorted(PROTOCOLS))
few = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 10**6)
COLUMNS = ("image", "label", "boxes", "scores")


def reordered(truth: Truth, results: Results, order) -> tuple[Truth, Results]:
    """The same pictures, listed in another order."""
    place = np.argsort(order)
    moved = replace(
        truth,
        image_ids=tuple(truth.image_ids[k] for k in order),
        image=place[truth.image],
        regions=Regions(place[truth.regions.image], truth.regions.boxes),
        sizes=truth.sizes[list(order)],
    )
    return moved, replace(results, image=place[results.image])


@pytest.mark.slow
@every
@few
@given(seed=seeds, order=st.permutations(range(4)))
def test_order_of_pictures_does_not_matter(name, seed, order) -> None:
    truth, results = marked_tables(seed)
    assert evaluate(*reordered(truth, results, order), name).values == evaluate(truth, results, name).values


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - {"visdrone"}))
@few
@given(seed=seeds)
def test_order_of_detections_of_different_scores_does_not_matter(name, seed) -> None:
    truth, results = marked_tables(seed)
    # Rows of different pictures or scores change places; a stable sort keeps the rest in order.
    sorted_ = results.select(np.argsort(-results.scores, kind="stable"))
    assert evaluate(truth, sorted_, name).values == evaluate(truth, results, name).values


def test_visdrone_takes_the_first_rows_and_its_clean_variant_the_best() -> None:
    truth, results = marked_tables(3)
    order = np.argsort(-results.scores, kind="stable")
    rules = PROTOCOLS["visdrone"]
    first, sorted_ = evaluate(truth, results, rules).values, evaluate(truth, results.select(order), rules).values
    assert first["AR1"] != sorted_["AR1"]
    assert first["AP"] == sorted_["AP"]  # all rows are within the largest limit
    clean = rules.clean()
    assert evaluate(truth, results, clean).values == evaluate(truth, results.select(order), clean).values


def extended(truth: Truth, flag: str | None, box) -> Truth:
    """The truth with an object of class 0 in picture 1 that has a flag (None: an ordinary one)."""
    marks = {name: np.append(flags, name == flag) for name, flags in truth.marks.items()}
    row = {"image": 1, "label": 0, "boxes": [box], "area": box[2] * box[3], "crowd": flag == "crowd", "ids": 999}
    columns = {name: np.concatenate([getattr(truth, name), np.atleast_1d(value)]) for name, value in row.items()}
    return replace(truth, **columns, marks=marks, sizes=np.full((4, 2), 1000))


def with_detection(results: Results, box, score: float) -> Results:
    row = {"image": 1, "label": 0, "boxes": [box], "scores": score}
    return Results(**{key: np.concatenate([getattr(results, key), np.atleast_1d(row[key])]) for key in COLUMNS})


def unlimited(rules: Protocol, values: dict) -> dict:
    """Precisions and miss rates: recalls at a small limit may fall, because each detection takes a place."""
    return {rules.label(row): values[rules.label(row)] for row in rules.rows if row.kind in ("AP", "MR")}


@pytest.mark.slow
@every
@few
@given(seed=seeds, score=st.floats(0, 1))
def test_a_detection_on_an_ignored_object_changes_no_precision(name, seed, score) -> None:
    truth, results = marked_tables(seed, found=40)
    # TinyPerson's miss rate reads its last entry where the first one is wrong, so there an ignored first one counts.
    rules = PROTOCOLS[name].clean() if PROTOCOLS[name].wrap_index else PROTOCOLS[name]
    box = [400.0, 400.0, 20.0, 20.0]
    for flag in rules.ignored:
        with_object = extended(truth, flag, box)
        before = evaluate(with_object, results, rules).values
        after = evaluate(with_object, with_detection(results, box, score), rules).values
        assert unlimited(rules, after) == unlimited(rules, before), flag


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(key for key, rules in PROTOCOLS.items() if rules.regions != "unused"))
@few
@given(seed=seeds, score=st.floats(0, 1))
def test_a_detection_in_a_region_changes_no_precision(name, seed, score) -> None:
    truth, results = marked_tables(seed, found=40)
    rules = PROTOCOLS[name]
    with_region = replace(
        truth,
        regions=Regions(np.append(truth.regions.image, 1), np.vstack([truth.regions.boxes, [200, 200, 90, 90]])),
        sizes=np.full((4, 2), 1000),
    )
    before = evaluate(with_region, results, rules).values
    after = evaluate(with_region, with_detection(results, [210.0, 210.0, 20.0, 20.0], score), rules).values
    assert unlimited(rules, after) == unlimited(rules, before)


@every
@few
@given(seed=seeds)
def test_perfect_detections(name, seed) -> None:
    rules = PROTOCOLS[name]
    truth, _ = random_tables(seed)
    boxes = truth.boxes.copy()
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 4)
    # Truths apart from each other, so that none can take another's detection.
    boxes[:, 0] += 100 * np.arange(len(boxes))
    truth = replace(
        truth,
        classes=Classes(("c0", "c1", "c2")),
        label=np.arange(len(truth)) % 3,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        # VisDrone's recall is a share of ignored objects, too, which nothing can find.
        crowd=truth.crowd & (rules.recall_of == "counted"),
        ids=np.arange(1, len(truth) + 1),
    )
    values = evaluate(truth, Results(truth.image, truth.label, boxes, np.linspace(1, 0.1, len(truth))), rules).values
    seen = 0
    for row in rules.rows:
        limit = rules.limit(row)
        value = values.get(rules.label(row))
        if value is not None and (row.kind != "AR" or limit is None or limit >= len(truth)):
            best = 100.0 if rules.percent and not row.fraction else 1.0
            assert value == pytest.approx(best if row.kind in ("AP", "AR") else 0), rules.label(row)
            seen += 1
    assert seen


def nothing_of(table, *columns: str):
    return {name: getattr(table, name)[:0] for name in columns}


@every
def test_empty_sides(name) -> None:
    rules = PROTOCOLS[name]
    truth, results = marked_tables(1)
    nothing = Results(**nothing_of(results, *COLUMNS))
    report = evaluate(truth, nothing, rules)
    for row in rules.rows:
        value = report.values.get(rules.label(row))
        if row.kind in ("AP", "AR") and rules.covers(row) and row.area in ("all", "Small"):
            assert value == 0
        elif row.kind in ("MR", "oLRP", "oLRP_FN"):
            assert value in (1, None)
        elif row.kind in ("oLRP_Loc", "oLRP_FP"):
            assert value is None
    assert "no detection at all: the numbers of classes with objects are 0" in report.notes
    empty = replace(
        truth, **nothing_of(truth, "image", "label", "boxes", "area", "crowd", "ids"), marks={}, regions=Regions()
    )
    report = evaluate(empty, results, rules)
    assert set(report.values.values()) == {None}
    assert (report.truths, report.images) == (0, 4)
    assert set(evaluate(empty, nothing, rules).values.values()) == {None}
    no_pictures = replace(empty, image_ids=(), sizes=np.zeros((0, 2), np.int64))
    assert evaluate(no_pictures, nothing, rules).images == 0


@pytest.mark.parametrize("name", sorted(key for key, rules in PROTOCOLS.items() if not rules.pooled))
def test_detections_of_a_class_without_truth(name) -> None:
    rules = PROTOCOLS[name]
    truth, results = marked_tables(2)
    more = replace(
        results, **{key: np.concatenate([getattr(results, key), getattr(results, key)[:9]]) for key in COLUMNS}
    )
    more = replace(more, label=np.append(results.label, np.full(9, 3)))
    before, after = evaluate(truth, results, rules), evaluate(truth, more, rules)
    assert set(after.per_class["c3"].values()) == {None}
    assert "c3" not in after.curves
    assert unlimited(rules, after.values) == pytest.approx(unlimited(rules, before.values), nan_ok=True)
    row = rules.rows[0]
    if row.kind == "AP":
        label = rules.label(row)
        used = [values[label] for values in after.per_class.values() if values[label] is not None]
        if rules.class_mean == "present":
            assert after.values[label] == pytest.approx(np.mean(used))
        elif rules.class_mean == "names":
            assert after.values[label] == pytest.approx(sum(used) / 4)


@every
def test_a_class_that_the_truth_has_not_is_dropped(name) -> None:
    truth, results = marked_tables(5)
    unknown = replace(results, label=np.where(np.arange(len(results)) % 3, results.label, -1))
    kept, without = evaluate(truth, unknown, name), evaluate(truth, unknown.select(unknown.label >= 0), name)
    if PROTOCOLS[name].scope == "rows":
        assert kept.values["AR10"] < without.values["AR10"]  # they take places
        assert kept.values["AP"] == without.values["AP"]
    else:
        assert kept.values == without.values


@pytest.mark.slow
@every
@few
@given(seed=seeds)
def test_clean_has_nothing_left_to_mend(name, seed) -> None:
    clean = PROTOCOLS[name].clean()
    assert clean.clean() is clean
    truth, results = marked_tables(seed)
    renumbered = replace(truth, ids=truth.ids + 1)
    assert evaluate(truth, results, clean).values == evaluate(renumbered, results, clean).values


@pytest.mark.parametrize("name", PROTOCOLS)
def test_tables_by_the_rules_hold_what_the_report_counts(name) -> None:
    truth, results = marked_tables(3)
    truth = replace(truth, classes=Classes(("c0", "c1", "others", "ignore")))
    rules = PROTOCOLS[name]
    report = evaluate(truth, results, rules)
    own, found = by_rules(truth, results, rules)
    assert own.classes.names == report.classes
    if rules.regions != "half covered":
        assert int((~own.crowd).sum()) == report.truths
    if rules.pooled:
        assert set(found.label.tolist()) == {0}
    with_flags = tide(own, found)
    assert with_flags.objects == int((~own.crowd).sum())
