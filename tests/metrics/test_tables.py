"""Truth and results from memory: order, ignore regions, classes by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth, evaluate
from finespot.structures import Annotations, Classes, Detections

CLASSES = Classes(("car", "ship"), (3, 7))
SIZE = (100, 200)


def annotations(boxes, labels, **rest) -> Annotations:
    return Annotations(np.array(boxes, np.float32), np.array(labels), SIZE, **rest)


def detections(boxes, scores, labels, classes=CLASSES) -> Detections:
    return Detections(np.array(boxes), np.array(scores), np.array(labels), SIZE, classes)


def test_columns_of_annotations() -> None:
    first = annotations([[1, 2, 11, 22]], [1], area=np.array([77.0]))
    second = annotations([[0, 0, 4, 4], [5, 5, 9, 9]], [0, -1], ignore=[False, True])
    truth = Truth.from_annotations([first, Annotations.empty(SIZE), second], CLASSES, [9, 4, 6])
    assert truth.image_ids == (9, 4, 6)
    np.testing.assert_array_equal(truth.boxes[0], [1, 2, 10, 20])
    assert truth.boxes.dtype == np.float64
    assert truth.area[0] == 77
    assert truth.image.tolist() == [0, 2]
    assert (truth.regions.image.tolist(), truth.regions.boxes.tolist()) == ([2], [[5, 5, 4, 4]])
    assert truth.sizes.tolist() == [list(SIZE)] * 3
    # Where a protocol knows no regions, each is one crowd of every class; ids count from 1.
    truth = truth.spread()
    assert truth.image.tolist() == [0, 2, 2, 2]
    assert truth.label.tolist() == [1, 0, 0, 1]
    assert truth.crowd.tolist() == [False, False, True, True]
    assert truth.ids.tolist() == [1, 2, 3, 4]


def test_two_class_free_regions_each_get_all_classes() -> None:
    truth = Truth.from_annotations(
        [annotations([[0, 0, 4, 4], [5, 5, 9, 9]], [-1, -1], ignore=[True, True])], CLASSES, ["a"]
    )
    truth = truth.spread()
    assert truth.label.tolist() == [0, 1, 0, 1]
    assert truth.boxes[:, 0].tolist() == [0, 0, 5, 5]


def test_class_free_region_spares_every_class() -> None:
    region = annotations(
        [[0, 0, 50, 50], [100, 0, 110, 10], [120, 0, 130, 10]], [-1, 0, 1], ignore=[True, False, False]
    )
    truth = Truth.from_annotations([region], CLASSES, [1])
    found = detections(
        [[100, 0, 110, 10], [120, 0, 130, 10], [10, 10, 20, 20], [30, 30, 40, 40]], [0.5, 0.5, 0.9, 0.9], [0, 1, 0, 1]
    )
    assert evaluate(truth, Results.from_detections([found], truth)).values["AP"] == pytest.approx(1)


def test_attributes_that_are_flags_become_marks() -> None:
    hard = annotations([[0, 0, 4, 4], [5, 5, 9, 9]], [0, 1], attributes={"difficult": np.array([False, True])})
    other = annotations([[0, 0, 4, 4]], [0], attributes={"occlusion": np.array([2])})
    truth = Truth.from_annotations([other, hard], CLASSES, [1, 2])
    assert {name: flags.tolist() for name, flags in truth.marks.items()} == {"difficult": [False, False, True]}
    assert truth.select([2, 0]).marks["difficult"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("boxes", "labels", "regions"),
    [
        ([], [], 0),
        ([[0, 0, 4, 4]], [-1], 1),
        ([[0, 0, 4, 4], [5, 5, 9, 9]], [-1, -1], 2),
        ([[0, 0, 4, 4], [0, 0, 4, 4]], [-1, -1], 2),
        ([[0, 0, 4, 4], [5, 5, 9, 9], [5, 5, 9, 9]], [-1, 1, 1], 3),
        ([[0, 0, 4, 4], [0, 0, 4, 4]], [-1, 0], 2),
        ([[0, 0, 4, 4], [5, 5, 9, 9]], [0, 1], 2),
    ],
)
def test_regions_are_counted_as_the_data_set_has_them(boxes, labels, regions) -> None:
    one = annotations(np.reshape(boxes, (-1, 4)), np.array(labels, np.int64), ignore=[True] * len(labels))
    truth = Truth.from_annotations([one, Annotations.empty(SIZE), one], CLASSES, [1, 2, 3])
    assert truth.count_regions() == 2 * regions
    assert (
        evaluate(truth, Results.from_detections([Detections.empty(SIZE, CLASSES)] * 3, truth)).ignored
        == truth.count_regions()
    )


def test_classes_are_matched_by_name() -> None:
    truth = Truth.from_annotations([annotations([[0, 0, 10, 10]], [1])], CLASSES, [1])
    other = Classes(("ship", "boat"))
    found = detections([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8], [0, 1], other)
    results = Results.from_detections([found], truth)
    assert results.label.tolist() == [1]
    assert results.notes == ("1 detections of classes that the truth does not have were dropped",)


def test_order_of_detections_by_image_ids() -> None:
    truth = Truth.from_annotations([Annotations.empty(SIZE)] * 2, CLASSES, ["a", "b"])
    found = [detections([[0, 0, 1, 1]], [0.9], [0]), Detections.empty(SIZE, CLASSES)]
    assert Results.from_detections(found, truth).image.tolist() == [0]
    assert Results.from_detections(found, truth, ["b", "a"]).image.tolist() == [1]
    with pytest.raises(FineSpotError, match="no picture 'c'"):
        Results.from_detections(found, truth, ["b", "c"])
    with pytest.raises(FineSpotError, match="2 pictures but got 1"):
        Results.from_detections(found[:1], truth)


def test_memory_equals_file(tmp_path) -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 80, (30, 2))
    boxes = np.concatenate([corner, corner + random.uniform(3, 20, (30, 2))], axis=1).astype(np.float32)
    labels = random.integers(0, 2, 30)
    truth = Truth.from_annotations([annotations(boxes, labels)], CLASSES, [5])
    found = detections(boxes + random.normal(0, 1, (30, 1)).astype(np.float32), random.uniform(0, 1, 30), labels)
    records = [
        {
            "id": k + 1,
            "image_id": 5,
            "category_id": CLASSES.original_ids[label],
            "bbox": box,
            "area": area,
            "iscrowd": 0,
        }
        for k, (label, box, area) in enumerate(zip(labels, truth.boxes.tolist(), truth.area.tolist()))
    ]
    categories = [{"id": key, "name": name} for key, name in zip(CLASSES.original_ids, CLASSES)]
    file = {"images": [{"id": 5}], "categories": categories, "annotations": records}
    (tmp_path / "truth.json").write_text(json.dumps(file))
    (tmp_path / "results.json").write_text(json.dumps(found.to_coco(5)))
    read = Truth.read(tmp_path / "truth.json")
    in_memory = evaluate(truth, Results.from_detections([found], truth))
    from_file = evaluate(read, Results.read(tmp_path / "results.json", read))
    assert in_memory.values == from_file.values
    assert in_memory.per_class == from_file.per_class


def test_refuses() -> None:
    one = annotations([[0, 0, 1, 1]], [2])
    with pytest.raises(FineSpotError, match="labels below 2"):
        Truth.from_annotations([one], CLASSES, [1])
    with pytest.raises(FineSpotError, match="one of them twice"):
        Truth.from_annotations([Annotations.empty(SIZE)] * 2, CLASSES, [1, 1])
    with pytest.raises(FineSpotError, match="one image id a picture"):
        Truth.from_annotations([one], CLASSES, [])
