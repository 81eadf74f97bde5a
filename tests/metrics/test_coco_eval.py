"""The evaluation in the shape of pycocotools: official numbers, every parameter, records, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.metrics import AreaRange, Protocol, Results, Row, Truth, evaluate, judged
from finespot.metrics.coco_eval import COCO, COCOeval, Params
from finespot.structures import Classes

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "expected.json").read_text())

LINES = """\
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.171
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.372
 Average Precision  (AP) @[ IoU=0.75      | area=   all | maxDets=100 ] = 0.111
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.186
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.231
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.083
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.133
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets= 10 ] = 0.253
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.281
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = 0.291
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=medium | maxDets=100 ] = 0.334
 Average Recall     (AR) @[ IoU=0.50:0.95 | area= large | maxDets=100 ] = 0.120
"""


def opened(folder: str = "coco") -> tuple[COCO, COCO]:
    truth = COCO(DATA / folder / "gt.json")
    return truth, truth.loadRes(DATA / folder / "dt.json")


def run(truth: COCO, found: COCO, **params) -> COCOeval:
    one = COCOeval(truth, found, "bbox")
    for name, value in params.items():
        assert hasattr(one.params, name)
        setattr(one.params, name, value)
    one.evaluate()
    one.accumulate()
    return one


def lowest_ten() -> list[int]:
    return sorted(one["id"] for one in json.loads((DATA / "coco/gt.json").read_text())["images"])[:10]


OFFICIAL = {
    "coco_default": {},
    "coco_useCats0": {"useCats": 0},
    "coco_maxDets_1_10_500": {"maxDets": [1, 10, 500]},
    "coco_maxDets_10_100_500": {"maxDets": [10, 100, 500]},
    "coco_subset_cats_1_3_4_first10_sorted_images": {"catIds": [1, 4, 3], "imgIds": lowest_ten()[::-1]},
    "coco_id0": {},
}


@pytest.mark.parametrize("key", OFFICIAL)
def test_official_numbers(key, capsys) -> None:
    one = run(*opened("coco_id0" if key == "coco_id0" else "coco"), **OFFICIAL[key])
    one.summarize()
    np.testing.assert_allclose(one.stats, EXPECTED[key]["stats"], rtol=0, atol=1e-12)
    assert len(capsys.readouterr().out.splitlines()) == 12


def test_official_lines_and_nothing_else(capsys) -> None:
    run(*opened()).summarize()
    assert capsys.readouterr().out == LINES


def test_official_arrays() -> None:
    one, expected = run(*opened()), EXPECTED["coco_default"]
    precision, recall, scores = (one.eval[key] for key in ("precision", "recall", "scores"))
    assert precision.shape == scores.shape == tuple(one.eval["counts"]) == (10, 101, 6, 4, 3)
    assert recall.shape == (10, 6, 4, 3)
    assert one.eval["params"] is one.params
    assert len(one.eval["date"]) == 19
    k = one.params.catIds.index(1)
    close = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(precision[0, :, k, 0, 2], expected["precision_curve_class1_iou50_all_100"], **close)
    np.testing.assert_allclose(precision[4, :, k, 0, 2], expected["precision_curve_class1_iou70_all_100"], **close)
    np.testing.assert_allclose(scores[0, :, k, 0, 2], expected["score_curve_class1_iou50_all_100"], **close)
    for k, category in enumerate(one.params.catIds):
        row = expected["per_class"][str(category)]
        for a, size in enumerate(("", "_small", "_medium", "_large")):
            for kind, table in (("AP", precision[:, :, k, a, 2]), ("AR", recall[:, k, a, 2])):
                np.testing.assert_allclose(table.mean(), row[kind + size], **close)


def small_case() -> tuple[COCO, COCO]:
    """One picture, one category: a crowd, a small and a large object, two detections each of the latter."""
    objects = [([60, 60, 40, 40], 1), ([0, 0, 8, 8], 0), ([20, 20, 20, 20], 0)]
    truth = COCO(
        {
            "images": [{"id": 7}],
            "categories": [{"id": 3, "name": "a", "supercategory": "s"}, {"id": 5, "name": "b", "supercategory": "t"}],
            "annotations": [
                {"id": k, "image_id": 7, "category_id": 3, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
                for k, (box, crowd) in enumerate(objects, start=1)
            ],
        }
    )
    found = [([0, 0, 8, 8], 0.9), ([0, 0, 8, 7], 0.8), ([20, 20, 20, 12], 0.7), ([70, 70, 10, 10], 0.6)]
    return truth, truth.loadRes(
        [{"image_id": 7, "category_id": 3, "bbox": box, "score": score} for box, score in found]
    )


def test_size_ranges_and_their_names(capsys) -> None:
    ranges = [[0, 1e10], [0, 64], [65, 1e10]]
    one = run(*small_case(), areaRng=ranges, areaRngLbl=["all", "small", "large"])
    one.summarize()
    # Of the two counted objects, the small one is found at all overlaps, the large one (0.6) at three of ten.
    assert one.eval["recall"][:, 0, 0, 2].mean() == pytest.approx((1 + 0.3) / 2)
    assert one.stats[9] == 1
    assert one.stats[10] == -1  # no range of the name "medium"
    assert one.stats[11] == pytest.approx(0.3)
    assert "area=medium | maxDets=100 ] = -1.000" in capsys.readouterr().out


def test_thresholds_and_recall_points(capsys) -> None:
    one = run(*small_case(), iouThrs=[0.5, 0.6, 0.61], recThrs=[0.0, 0.5, 0.51, 1.0])
    assert one.eval["counts"] == [3, 4, 2, 4, 3]
    assert one.eval["recall"][:, 0, 0, 2].tolist() == [1, 1, 0.5]
    # Right, wrong, right (at 0.5 and 0.6): precision 1 up to half of the objects, then 2 of 3.
    np.testing.assert_allclose(one.eval["precision"][1, :, 0, 0, 2], [1, 1, 2 / 3, 2 / 3])
    np.testing.assert_allclose(one.eval["precision"][2, :, 0, 0, 2], [1, 1, 0, 0])
    np.testing.assert_allclose(one.eval["scores"][0, :, 0, 0, 2], [0.9, 0.9, 0.7, 0.7])
    one.summarize()
    assert "IoU=0.50:0.61 |" in capsys.readouterr().out
    assert one.stats[2] == -1  # 0.75 is not among the thresholds


def test_limits() -> None:
    one = run(*small_case(), maxDets=[3, 1, 2])
    assert one.params.maxDets == [1, 2, 3]
    assert one.eval["recall"][0, 0, 0].tolist() == [0.5, 0.5, 1]
    one.params.maxDets = [2]
    one.params.recThrs = [0.4]
    one.accumulate()
    assert one.eval["counts"] == [10, 1, 2, 4, 1]
    with pytest.raises(FineSpotError, match="maxDets: expected three limits of detections"):
        one.summarize()


def test_pictures_and_categories() -> None:
    truth, found = small_case()
    assert run(truth, found, catIds=[5]).eval["counts"][2] == 1
    assert (run(truth, found, catIds=[5]).eval["precision"] == -1).all()
    both = run(truth, found)
    both.params.catIds = [5]
    with pytest.raises(FineSpotError, match=r"accumulate: expected the params that evaluate\(\) saw"):
        both.accumulate()
    pooled = run(truth, found, useCats=0)
    assert pooled.eval["counts"][2] == 1
    assert pooled.evalImgs[0]["category_id"] == -1


def test_records_of_pictures() -> None:
    one = run(*small_case(), areaRng=[[0, 1e10], [0, 64]], iouThrs=[0.5, 0.61])
    assert len(one.evalImgs) == 4
    assert [entry is None for entry in one.evalImgs] == [False, False, True, True]
    every, small = one.evalImgs[:2]
    assert every["image_id"] == 7
    assert every["category_id"] == 3
    assert every["maxDet"] == 100
    assert every["aRng"] == [0, 1e10]
    assert every["dtIds"] == [1, 2, 3, 4]
    assert every["dtScores"] == [0.9, 0.8, 0.7, 0.6]
    # Objects that count come first, in file order.
    assert every["gtIds"] == [2, 3, 1]
    assert every["gtIgnore"].tolist() == [0, 0, 1]
    assert every["dtMatches"].tolist() == [[2, 0, 3, 1], [2, 0, 0, 1]]
    assert every["gtMatches"].tolist() == [[1, 3, 4], [1, 0, 4]]
    assert every["dtIgnore"].tolist() == [[False, False, False, True]] * 2
    assert small["gtIds"] == [2, 1, 3]
    assert small["dtIgnore"].tolist() == [[False, False, True, True], [False, False, True, True]]
    np.testing.assert_allclose(one.ious[7, 3][:, 1], [1, 7 / 8, 0, 0])
    np.testing.assert_allclose(one.ious[7, 3][:, 0], [0, 0, 0, 1])
    assert one.ious[7, 5] == []
    assert list(one.ious) == [(7, 3), (7, 5)]
    with pytest.raises(IndexError):
        one.evalImgs[4]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    thresholds=st.lists(st.floats(0.05, 1), min_size=1, max_size=3, unique=True),
    limits=st.lists(st.integers(1, 60), min_size=3, max_size=3, unique=True),
    edges=st.lists(st.floats(0, 20_000), min_size=2, max_size=4).map(sorted),
    categories=st.lists(st.sampled_from([1, 3, 4, 7, 11, 12]), min_size=1, unique=True),
    pooled=st.booleans(),
)
def test_equals_evaluate_with_any_parameters(thresholds, limits, edges, categories, pooled) -> None:
    truth, found = opened()
    areas = [[0, 1e10], *([low, high] for low, high in pairwise(edges))]
    one = run(
        truth, found, iouThrs=thresholds, maxDets=limits, areaRng=areas, catIds=categories, useCats=int(not pooled)
    )
    rules = Protocol(
        "own",
        tuple(thresholds),
        tuple(AreaRange(str(a), low, high) for a, (low, high) in enumerate(areas)),
        tuple(limits),
        tuple(
            Row(f"{kind} {a} {m}", kind, area=str(a), place=m)
            for kind in ("AP", "AR")
            for a in range(len(areas))
            for m in range(3)
        ),
        pooled=pooled,
    )
    table = Truth.read(DATA / "coco/gt.json")
    results = Results.read(DATA / "coco/dt.json", table)
    ids = np.array(table.classes.original_ids)
    # The same categories in the same order, by way of the tables.
    order = categories if pooled else sorted(categories)
    place = np.array([order.index(key) if key in order else -1 for key in ids])
    table = replace(table, classes=Classes(tuple(map(str, order)), tuple(order)), label=place[table.label])
    results = replace(results, label=place[results.label])
    report = evaluate(table.select(table.label >= 0), results.select(results.label >= 0), rules)
    for a in range(len(areas)):
        for m in range(3):
            for kind, key in (("AP", "precision"), ("AR", "recall")):
                values = one.eval[key][..., a, m]
                values = values[values > -1]
                expected = report.values[f"{kind} {a} {m}"]
                assert (values.mean() if values.size else None) == (
                    expected if expected is None else pytest.approx(expected, abs=1e-12)
                )


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(iou=st.floats(0.05, 1), low=st.floats(0, 2000), limit=st.integers(1, 60))
def test_records_say_what_judged_says(iou, low, limit) -> None:
    truth, found = opened()
    one = run(truth, found, iouThrs=[iou], areaRng=[[low, 1e10]], maxDets=[limit])
    table = Truth.read(DATA / "coco/gt.json")
    fate = judged(
        table,
        Results.read(DATA / "coco/dt.json", table),
        Protocol("own", (0.5,), (AreaRange("all", 0, 1e10),), (limit,), ()),
        iou=iou,
        area=AreaRange("own", low, 1e10),
    )
    entries = [entry for entry in one.evalImgs if entry is not None]
    right = sum(int(((entry["dtMatches"] > 0) & ~entry["dtIgnore"]).sum()) for entry in entries)
    wrong = sum(int(((entry["dtMatches"] == 0) & ~entry["dtIgnore"]).sum()) for entry in entries)
    assert (right, wrong) == (fate.right.sum(), fate.wrong.sum())
    assert sum(len(entry["dtIds"]) for entry in entries) == fate.kept.sum()
    assert sum(int((entry["gtIgnore"] == 0).sum()) for entry in entries) == fate.counts.sum()
    met = {key for entry in entries for key, by in zip(entry["gtIds"], entry["gtMatches"][0]) if by}
    assert set(table.ids[fate.found].tolist()) <= met


class TestCOCO:
    def test_answers(self) -> None:
        truth, found = small_case()
        assert truth.getImgIds() == [7]
        assert truth.getImgIds(catIds=[3]) == [7]
        assert truth.getImgIds(catIds=[3, 5]) == []
        assert truth.getImgIds(imgIds=[7, 7]) == [7]
        assert truth.getCatIds() == [3, 5]
        assert truth.getCatIds(catNms="b") == truth.getCatIds(supNms=["t"]) == truth.getCatIds(catIds=5) == [5]
        assert truth.getAnnIds() == truth.getAnnIds(imgIds=7) == truth.getAnnIds(catIds=3) == [1, 2, 3]
        assert truth.getAnnIds(imgIds=[8]) == truth.getAnnIds(catIds=[5]) == []
        assert truth.getAnnIds(areaRng=[64, 401]) == [3]
        assert truth.getAnnIds(iscrowd=True) == [1]
        assert truth.loadAnns(2)[0]["bbox"] == [0, 0, 8, 8]
        assert [one["id"] for one in truth.loadAnns([3, 1])] == [3, 1]
        assert truth.loadCats(5)[0]["name"] == truth.cats[5]["name"] == "b"
        assert truth.loadImgs(7) == [truth.imgs[7]] == [{"id": 7}]
        assert len(truth.imgToAnns[7]) == len(truth.catToImgs[3]) == 3
        assert found.anns[3]["area"] == 240
        assert found.dataset["categories"] == truth.dataset["categories"]

    def test_results_of_all_kinds_are_the_same(self) -> None:
        truth, found = opened()
        records = json.loads((DATA / "coco/dt.json").read_text())
        before = json.dumps(records)
        rows = np.array([[one["image_id"], *one["bbox"], one["score"], one["category_id"]] for one in records])
        whole = run(truth, found).eval["precision"]
        for other in (truth.loadRes(records), truth.loadRes(rows), truth.loadRes(str(DATA / "coco/dt.json"))):
            np.testing.assert_array_equal(run(truth, other).eval["precision"], whole)
        assert json.dumps(records) == before

    def test_records_of_a_file_count_once_they_are_asked_for(self) -> None:
        truth, found = opened()
        whole = run(truth, found).eval["precision"]
        assert truth.dataset == json.loads((DATA / "coco/gt.json").read_text())
        records = json.loads((DATA / "coco/dt.json").read_text())
        for number, (one, record) in enumerate(zip(found.dataset["annotations"], records), start=1):
            area = record["bbox"][2] * record["bbox"][3]
            assert one == {**record, "id": number, "iscrowd": 0, "area": area}
        np.testing.assert_array_equal(run(truth, found).eval["precision"], whole)
        for one in found.dataset["annotations"]:
            one["score"] = 1.0
        assert (run(truth, found).eval["precision"] != whole).any()

    def test_a_file_of_other_annotations_can_be_looked_at(self, tmp_path) -> None:
        captions = {"images": [{"id": 1}], "annotations": [{"id": 5, "image_id": 1, "caption": "a car"}]}
        (tmp_path / "captions.json").write_text(json.dumps(captions))
        truth = COCO(tmp_path / "captions.json")
        assert truth.loadAnns(truth.getAnnIds(imgIds=1))[0]["caption"] == "a car"
        assert truth.getCatIds() == []

    def test_numbers_of_numpy_are_numbers(self) -> None:
        truth, _ = small_case()
        record = {"image_id": np.int64(7), "category_id": np.int32(3), "bbox": np.float32([0, 0, 8, 8])}
        found = truth.loadRes([{**record, "score": np.float32(0.5)}])
        assert run(truth, found, imgIds=np.array([7])).eval["recall"][0, 0, 0, 2] == 0.5

    def test_no_detection_at_all(self, capsys) -> None:
        truth, _ = opened()
        one = run(truth, truth.loadRes([]))
        one.summarize()
        assert one.stats.tolist() == [0.0] * 12
        assert "= 0.000" in capsys.readouterr().out

    def test_a_data_set_made_in_memory(self) -> None:
        truth, found = small_case()
        other = COCO()
        other.dataset = truth.dataset
        other.createIndex()
        assert other.getAnnIds(imgIds=7) == [1, 2, 3]
        other.dataset = {**truth.dataset, "annotations": truth.dataset["annotations"][:2]}
        assert other.getAnnIds(imgIds=7) == [1, 2, 3]
        other.createIndex()
        assert other.getAnnIds(imgIds=7) == [1, 2]
        assert run(other, found).eval["recall"][0, 0, 0, 2] == 1

    def test_any_object_with_a_dataset(self) -> None:
        class Foreign:
            def __init__(self, dataset) -> None:
                self.dataset = dataset

        truth, found = opened()
        one = run(Foreign(truth.dataset), Foreign(found.dataset))
        np.testing.assert_array_equal(one.eval["precision"], run(truth, found).eval["precision"])


def changed(which: str, **values):
    """The small case with values in the first record of one side; None takes the value away."""
    truth, found = small_case()
    record = (truth if which == "truth" else found).dataset["annotations"][0]
    for key, value in values.items():
        record.pop(key) if value is None else record.update({key: value})
    return run(truth, found)


FOUND = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 8, 8], "score": 0.5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: COCOeval(*small_case(), "segm"), "iouType: expected boxes, 'bbox', but got 'segm'"),
        (lambda: Params("keypoints"), "iouType: expected boxes"),
        (lambda: run(*small_case(), iouType="segm"), "iouType: expected boxes"),
        (lambda: COCO("no/such.json"), "cannot be read"),
        (lambda: COCO(DATA / "coco/dt.json"), "expected a COCO dictionary but got a list"),
        (lambda: small_case()[0].loadRes("no/such.json"), "no/such.json: cannot be read"),
        (lambda: small_case()[0].loadRes(DATA / "coco/gt.json"), "expected a list of records but got a dict"),
        (lambda: COCOeval(None, None), "expected a data set with images but got NoneType"),
        (lambda: COCOeval(*small_case()).accumulate(), r"call evaluate\(\) first"),
        (lambda: COCOeval(*small_case()).evalImgs, r"call evaluate\(\) first"),
        (lambda: COCOeval(*small_case()).ious, r"call evaluate\(\) first"),
        (lambda: COCOeval(*small_case()).summarize(), r"summarize: .* call accumulate\(\)"),
        (lambda: run(small_case()[0], small_case()[0]), "results: record 0: expected a record with 'score'"),
        (lambda: run(small_case()[0], None), r"results: expected a data set with annotations .* loadRes\(path\)"),
        (lambda: run(*small_case(), maxDets=[]), "maxDets: expected at least one but got none"),
        (lambda: run(*small_case(), imgIds=[]), "imgIds: expected at least one"),
        (lambda: run(*small_case(), catIds=[]), "catIds: expected at least one"),
        (lambda: run(*small_case(), maxDets=[0, 1]), "expected limits of 1 or more"),
        (lambda: run(*small_case(), iouThrs=[0.0]), "expected IoU thresholds above 0 to 1"),
        (lambda: run(*small_case(), recThrs=[0.5, 0.1]), "recThrs: expected recall points that rise"),
        (lambda: run(*small_case(), imgIds=[7, "7"]), "imgIds: expected a list of ids"),
        (lambda: run(*small_case(), imgIds=7), "imgIds: expected a list of ids"),
        (lambda: run(*small_case(), useCats=0, catIds=[3, 3]), "catIds: expected different categories"),
        (lambda: small_case()[0].loadRes({"a": 1}), "results: expected a list of records but got a dict"),
        (lambda: small_case()[0].loadRes(np.zeros((2, 6))), r"expected an array \(N, 7\) but got \(2, 6\)"),
        (
            lambda: small_case()[0].loadRes([{**FOUND, "image_id": 8}]),
            "record 0: image_id 8 is no picture of the truth",
        ),
        (
            lambda: small_case()[0].loadRes([{"image_id": 7, "category_id": 3}]),
            "record 0: expected a record with 'bbox'",
        ),
        (lambda: small_case()[0].loadRes([{**FOUND, "bbox": [1, 2, 3]}]), r"expected boxes \[x, y"),
        (lambda: small_case()[0].loadRes([{**FOUND, "bbox": "abcd"}]), r"expected boxes \[x, y"),
        (lambda: changed("truth", id=2), "truth: expected annotations of different ids"),
        (lambda: changed("truth", id="a"), "truth: expected one number of each record as 'id'"),
        (lambda: changed("truth", area=None), "truth: record 0: expected a record with 'area'"),
        (lambda: changed("truth", area=float("nan")), "truth: record 0: expected a finite area"),
        (lambda: changed("truth", bbox=[0, 0, -1, 1]), "truth: record 0: a bbox of negative size"),
        (lambda: changed("truth", bbox=[0, float("inf"), 1, 1]), "truth: record 0: expected a finite bbox"),
        (lambda: changed("results", score=float("nan")), "results: record 0: expected a finite score"),
        (lambda: changed("results", score=[0.5]), "results: expected one number of each record as 'score'"),
        (lambda: changed("results", area=5), "results: record 0: expected the area of the box, 64.0, but got 5.0"),
    ],
)
def test_errors_are_one_line(call, message) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_name_without_a_range_is_an_error() -> None:
    one = run(*small_case(), areaRng=[[0, 1e10]])
    with pytest.raises(FineSpotError, match="areaRngLbl: expected a size range of the name 'small'"):
        one.summarize()
