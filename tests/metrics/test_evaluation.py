"""The evaluator against the official tools' numbers, against a slow twin, and its properties."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tables import random_tables
from slow_evaluator import evaluate_slowly

from finespot.metrics import PROTOCOLS, AreaRange, Protocol, Results, Row, Truth, evaluate, matching
from finespot.structures import Classes

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text())
COCO, AI_TOD = PROTOCOLS["coco"], PROTOCOLS["ai-tod"]
WITH_25 = replace(AI_TOD, thresholds=(0.25, *AI_TOD.thresholds))


def read(folder: Path, **options) -> tuple[Truth, Results]:
    truth = Truth.read(folder / "gt.json", **options)
    return truth, Results.read(folder / "dt.json", truth)


def same(value, official) -> bool:
    """Whether a value is the official one, where both -1 and NaN (written as null) are none."""
    return abs((-1 if value is None else value) - (-1 if official is None else official)) < 1e-9


OFFICIAL = [
    ("coco", "coco_default", COCO),
    ("coco", "coco_useCats0", COCO.class_agnostic()),
    ("coco", "coco_maxDets_1_10_500", COCO.with_max_dets((1, 10, 500))),
    ("coco", "coco_maxDets_10_100_500", COCO.with_max_dets((10, 100, 500))),
    ("coco_id0", "coco_id0", COCO),
    ("aitod", "aitod19", AI_TOD),
    ("aitod", "aitod19_mmdet", AI_TOD.with_max_dets((100, 300, 1500))),
    ("aitod", "aitod19_with_iou25", WITH_25),
]


@pytest.mark.parametrize(("folder", "key", "rules"), OFFICIAL, ids=[key for _, key, _ in OFFICIAL])
def test_official_numbers(folder, key, rules) -> None:
    truth, results = read(DATA / folder)
    report, expected = evaluate(truth, results, rules), EXPECTED[key]
    stats = expected["stats"]
    assert len(stats) == len(report.values) == {"coco": 12, "aitod": 19}[folder.split("_")[0]]
    for (label, value), official in zip(report.values.items(), stats):
        assert same(value, official), label
    for category, row in expected.get("per_class", {}).items():
        name = truth.classes.names[truth.classes.original_ids.index(int(category))]
        full_recall = next(label for label in reversed(report.values) if label.startswith("AR@"))
        for label, official in row.items():
            value = report.per_class[name][full_recall if label == "AR" else label]
            assert same(value, official), (name, label)
    if "labels" in expected:
        assert list(report.values) == expected["labels"]


def test_official_curves() -> None:
    report, expected = evaluate(*read(DATA / "coco"), COCO), EXPECTED["coco_default"]
    precision, scores = report.averages.precision[0, 100], report.averages.scores[0, 100]
    recall = report.averages.recall[0, 100]
    np.testing.assert_allclose(np.nanmean(precision, axis=(0, 2)), expected["AP_per_iou"], atol=1e-9)
    np.testing.assert_allclose(np.nanmean(recall, axis=0), expected["AR_per_iou"], atol=1e-9)
    np.testing.assert_allclose(precision[0, 0], expected["precision_curve_class1_iou50_all_100"], atol=1e-9)
    np.testing.assert_allclose(precision[0, 4], expected["precision_curve_class1_iou70_all_100"], atol=1e-9)
    np.testing.assert_allclose(scores[0, 0], expected["score_curve_class1_iou50_all_100"], atol=1e-9)
    first = report.classes[0]
    np.testing.assert_array_equal(report.curves[first].precision, precision[0, 0])


def test_official_subset(tmp_path) -> None:
    truth = json.loads((DATA / "coco/gt.json").read_text())
    pictures = sorted(one["id"] for one in truth["images"])[:10]
    truth["images"] = [one for one in truth["images"] if one["id"] in pictures]
    truth["categories"] = [one for one in truth["categories"] if one["id"] in (1, 3, 4)]

    def kept(records):
        return [one for one in records if one["image_id"] in pictures and one["category_id"] in (1, 3, 4)]

    truth["annotations"] = kept(truth["annotations"])
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "dt.json").write_text(json.dumps(kept(json.loads((DATA / "coco/dt.json").read_text()))))
    values = evaluate(*read(tmp_path), COCO).values
    official = EXPECTED["coco_subset_cats_1_3_4_first10_sorted_images"]["stats"]
    assert all(same(value, number) for value, number in zip(values.values(), official))


def test_fix_id0_changes_the_numbers() -> None:
    official, fixed = evaluate(*read(DATA / "coco_id0")), evaluate(*read(DATA / "coco_id0", fix_id0=True))
    assert fixed.values["AP"] > official.values["AP"]


OWN = Protocol(
    "own",
    (0.25, 0.5, 0.75, 1.0),
    (AreaRange("all", 1, 1e10), AreaRange("small", 0, 256), AreaRange("other", 256, 900)),
    (1, 5, 12),
    (
        Row("AP", "AP"),
        Row("AP75", "AP", iou=0.75, place=1),
        Row("APs", "AP", area="small", place=0),
        Row("APo", "AP", area="other"),
        Row("AR", "AR", area="other"),
        Row("AR1", "AR", place=0),
    ),
    id_zero_lost=True,
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rules", [OWN, COCO], ids=["own", "coco"])
def test_equals_the_slow_twin(seed, rules) -> None:
    truth, results = random_tables(seed)
    fast, slow = evaluate(truth, results, rules).values, evaluate_slowly(truth, results, rules)
    assert fast.keys() == slow.keys()
    for label, value in slow.items():
        assert fast[label] == (value if value is None else pytest.approx(value, abs=1e-12)), label


def test_chunks_do_not_change_pairs(monkeypatch) -> None:
    truth, results = random_tables(3)
    before = evaluate(truth, results).values
    monkeypatch.setattr(matching, "_CHUNK", 7)
    assert evaluate(truth, results).values == before


def reordered(truth: Truth, results: Results, order) -> tuple[Truth, Results]:
    """The same pictures, listed in another order."""
    place = np.argsort(order)
    ids = tuple(truth.image_ids[k] for k in order)
    return replace(truth, image_ids=ids, image=place[truth.image]), replace(results, image=place[results.image])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_order_of_pictures_and_rows_does_not_matter(seed, order) -> None:
    truth, results = random_tables(seed)
    values = evaluate(truth, results).values
    assert evaluate(*reordered(truth, results, order)).values == values
    # Rows of different pictures, classes or scores may change places; stable sorting keeps the rest in order.
    rows = np.argsort(-results.scores, kind="stable")
    columns = {name: getattr(results, name)[rows] for name in ("image", "label", "boxes", "scores")}
    assert evaluate(truth, Results(**columns)).values == values


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_detection_inside_a_crowd_changes_nothing(seed, score) -> None:
    truth, results = random_tables(seed, found=40)
    region = {"image": 1, "label": 0, "boxes": [200.0, 200.0, 90.0, 90.0], "area": 8100.0, "crowd": True, "ids": 999}
    with_region = replace(
        truth, **{name: np.concatenate([getattr(truth, name), [value]]) for name, value in region.items()}
    )
    ignored = {"image": 1, "label": 0, "boxes": [210.0, 210.0, 20.0, 20.0], "scores": score}
    more = Results(**{name: np.concatenate([getattr(results, name), [value]]) for name, value in ignored.items()})
    before, after = evaluate(with_region, results).values, evaluate(with_region, more).values
    # It does take one of the places of a limit, so the recalls at 1 and 10 may fall.
    unlimited = [label for label in before if label not in ("AR@1", "AR@10")]
    assert [after[label] for label in unlimited] == [before[label] for label in unlimited]


def test_class_without_truth_is_left_out() -> None:
    truth, results = random_tables(2)
    before = evaluate(truth, results)
    extra = replace(results, label=np.where(np.arange(len(results)) % 2 == 0, results.label, 3))
    after = evaluate(truth, extra)
    assert before.per_class["c3"]["AP"] is after.per_class["c3"]["AP"] is None
    assert "c3" not in after.curves
    used = [values["AP"] for values in after.per_class.values() if values["AP"] is not None]
    assert after.values["AP"] == pytest.approx(np.mean(used))


def test_best_f1() -> None:
    classes = Classes(("a",))
    boxes = np.array([[0, 0, 10, 10], [50, 0, 10, 10], [90, 0, 10, 10]], float)
    zeros = np.zeros(3, int)
    truth = Truth((1,), classes, zeros, zeros, boxes, np.full(3, 100.0), np.zeros(3, bool), np.arange(1, 4))
    found = np.concatenate([boxes[:2], [[0, 50, 10, 10], [0, 80, 10, 10]]])
    results = Results(np.zeros(4, int), np.zeros(4, int), found, np.array([0.9, 0.6, 0.6, 0.3]))
    curve = evaluate(truth, results).curves["a"]
    # At 0.6 two of three are right: F1 = 4 / 6; a cut between equal scores does not exist.
    assert curve.confidence == 0.6
    assert curve.best_f1 == pytest.approx(4 / 6)
    assert curve.best_precision == curve.best_recall == pytest.approx(2 / 3)


def large_tables(pictures: int, found: int) -> tuple[Truth, Results]:
    """Ten classes, sizes about 25 pixels, `found` jittered detections a picture."""
    random = np.random.default_rng(0)
    counts = np.clip(np.exp(random.normal(4, 0.7, pictures)), 4, 300).astype(int)
    image, total = np.repeat(np.arange(pictures), counts), int(counts.sum())
    size = np.exp(random.normal(3.2, 0.7, (total, 2)))
    boxes = np.concatenate([random.uniform(0, 1500, (total, 2)), size], axis=1)
    label = random.choice(10, total, p=random.dirichlet(np.ones(10)))
    first = np.cumsum(counts) - counts
    source = (first[:, None] + random.integers(0, counts[:, None], (pictures, found))).ravel()
    jitter = random.normal(0, 0.15, (len(source), 4)) * np.tile(size[source], 2)
    crowd = random.uniform(size=total) < 0.02
    results = Results(image[source], label[source], np.abs(boxes[source] + jitter), random.uniform(size=len(source)))
    names = Classes(tuple(f"c{k}" for k in range(10)))
    ids = np.arange(1, total + 1)
    return Truth(tuple(range(pictures)), names, image, label, boxes, size.prod(axis=1), crowd, ids), results


def test_time_of_a_validation_in_training() -> None:
    # 290 pictures of 300 detections take 0.2 s on one core; four times that leaves room for a busy machine.
    truth, results = large_tables(290, 300)
    started = time.process_time()
    evaluate(truth, results)
    assert time.process_time() - started < 1.0


@pytest.mark.slow
def test_time_of_a_large_validation() -> None:
    truth, results = large_tables(548, 500)
    started = time.process_time()
    evaluate(truth, results)
    assert time.process_time() - started < 4.0
