"""COCO files: every bad record is one line with file and record."""

from __future__ import annotations

import json

import pytest

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth, evaluate
from finespot.metrics.reading import read_results

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 90, "iscrowd": 0}
FOUND = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}


def without(record, key):
    return {name: value for name, value in record.items() if name != key}


def truth_file(folder, *annotations, **rest):
    path = folder / "truth.json"
    file = {"images": [{"id": 1}, {"id": 2}], "categories": [{"id": 1, "name": "car"}], "annotations": annotations}
    path.write_text(json.dumps({**file, **rest}))
    return path


def results_file(folder, content):
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**BOX, "image_id": 3}, "record 1: image_id 3 is not the id of any image"),
        ({**BOX, "category_id": 9}, "record 1: category_id 9 is not the id of any category"),
        ({**BOX, "id": 1}, "record 1: id 1 occurs twice"),
        (without({**BOX, "id": 2}, "bbox"), "record 1 of annotations: .*bbox"),
        ({**BOX, "id": 2, "bbox": [0, 0, 1]}, "record 1 of annotations, bbox: .*length 4"),
        ({**BOX, "id": 2, "bbox": [0, 0, -1, 4]}, "record 1: .*no negative size"),
        ({**BOX, "id": 2, "bbox": [0, 0, float("nan"), 4]}, "record 1: expected a finite bbox"),
        ({**BOX, "id": 2, "area": -1}, "record 1: expected an area of 0 or more"),
        ({**BOX, "id": 2, "area": float("inf")}, "record 1: expected a finite area"),
        ({**BOX, "id": 2**70}, "record 1 of annotations, id: expected `int`"),
        ({**BOX, "id": "x"}, "record 1 of annotations, id: expected `int`, got `str`"),
    ],
)
def test_bad_truth_record(tmp_path, record, message) -> None:
    path = truth_file(tmp_path, BOX, record)
    with pytest.raises(FineSpotError, match=message) as caught:
        Truth.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"images": [{"id": 1}, {"id": "b"}]}, "all of one type"),
        ({"categories": []}, "at least one class"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "category id 1 occurs twice"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "class names must differ"),
        ({"categories": [{"id": 1}]}, "record 0 of categories: .*name"),
        ({"images": 3}, "at images; expected COCO truth: images, categories, annotations"),
    ],
)
def test_bad_truth_file(tmp_path, rest, message) -> None:
    with pytest.raises(FineSpotError, match=message):
        Truth.read(truth_file(tmp_path, BOX, **rest))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([FOUND, {**FOUND, "image_id": 7}], "record 1: image_id 7 is not the id of any image"),
        ([FOUND, {**FOUND, "score": float("nan")}], "record 1: expected a finite score but got nan"),
        ([{**FOUND, "score": "high"}], "record 0, score: expected `float`, got `str`"),
        ([FOUND, {**FOUND, "bbox": [0, 0, 5, -2]}], "record 1: .*no negative size"),
        ([FOUND, without(FOUND, "score")], "record 1: .*missing required field `score`"),
        ({"annotations": [FOUND, without(FOUND, "image_id")]}, "record 1 of annotations: .*image_id"),
        ("[{]", "expected JSON"),
        ("", "expected JSON"),
        ("3", "at the top level; expected COCO results: a list of records"),
        ("{}", "missing required field `annotations`"),
        ('"\\ud800"', "top level|expected JSON"),
    ],
)
def test_bad_results(tmp_path, content, message) -> None:
    truth = Truth.read(truth_file(tmp_path, BOX))
    path = results_file(tmp_path, content)
    with pytest.raises(FineSpotError, match=message) as caught:
        Results.read(path, truth)
    assert str(path) in str(caught.value)


def test_counts_further_bad_records(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, BOX))
    path = results_file(tmp_path, [{**FOUND, "image_id": 7}] * 3)
    with pytest.raises(FineSpotError, match="and 2 more records"):
        Results.read(path, truth)


def test_absent_file(tmp_path) -> None:
    with pytest.raises(FineSpotError, match="No such file"):
        Truth.read(tmp_path / "none.json")


def test_list_and_full_file_read_alike(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, BOX))
    plain = Results.read(results_file(tmp_path, [FOUND]), truth)
    whole = Results.read(results_file(tmp_path, {"images": [], "annotations": [{**FOUND, "id": 4}]}), truth)
    assert plain.boxes.tolist() == whole.boxes.tolist() == [[0, 0, 10, 10]]


def test_unknown_categories_are_refused_or_dropped_and_counted(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, BOX))
    path = results_file(tmp_path, [FOUND, {**FOUND, "category_id": 5}])
    with pytest.raises(FineSpotError, match=r"record 1: category_id 5 is not the id of any category.*drop-unknown"):
        Results.read(path, truth)
    results = read_results(path, truth, drop_unknown=True)
    assert len(results) == 1
    report = evaluate(truth, results)
    assert "1 detections of classes that the truth does not have were dropped" in report.notes
    assert report.values["AP"] == pytest.approx(1)


def test_area_and_ignore_are_reported(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, without(BOX, "area"), {**BOX, "id": 2, "ignore": 1}))
    assert truth.area.tolist() == [100, 90]
    assert truth.crowd.tolist() == [False, False]
    assert any("no area" in note for note in truth.notes)
    assert any("flagged ignore" in note for note in truth.notes)


def test_text_ids(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, {**BOX, "image_id": "b"}, images=[{"id": "b"}, {"id": "a"}]))
    assert truth.image_ids == ("b", "a")
    assert truth.image.tolist() == [0]


def test_pictures_listed_twice(tmp_path) -> None:
    path = truth_file(tmp_path, {**BOX, "image_id": "b"}, images=[{"id": "b"}, {"id": "a"}, {"id": "b"}])
    with pytest.raises(FineSpotError, match="image id 'b' occurs twice among the images"):
        Truth.read(path)


def test_boxes_beyond_numbers(tmp_path) -> None:
    truth = Truth.read(truth_file(tmp_path, BOX))
    path = results_file(tmp_path, [{**FOUND, "bbox": [0, 0, 1e300, 1e300]}])
    with pytest.raises(FineSpotError, match="record 0: expected a bbox of finite area"):
        Results.read(path, truth)


def test_id0(tmp_path) -> None:
    path = truth_file(tmp_path, {**BOX, "id": 0})
    truth, fixed = Truth.read(path), Truth.read(path, fix_id0=True)
    found = results_file(tmp_path, [FOUND])
    official, mended = evaluate(truth, Results.read(found, truth)), evaluate(fixed, Results.read(found, fixed))
    assert official.values["AP50"] == 0
    assert any("id 0" in note for note in official.notes)
    assert mended.values["AP50"] == pytest.approx(1)
    assert mended.notes == ()
