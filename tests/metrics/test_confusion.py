"""The confusion matrix: right, confused, missed, invented, ignored."""

from __future__ import annotations

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth, confusion_matrix
from finespot.structures import Annotations, Classes, Detections

CLASSES = Classes(("car", "ship"))
SIZE = (500, 500)


def box(x: float, width: float = 10) -> list[float]:
    return [x, 0, x + width, 10]


def matrix(objects, found, **options) -> list[list[int]]:
    """From (box, label, ignore) objects and (box, score, label) detections of one picture."""
    boxes, labels, ignore = zip(*objects) if objects else ((), (), ())
    truth = Truth.from_annotations(
        [Annotations(np.array(boxes, np.float32), np.array(labels, int), SIZE, ignore=np.array(ignore, bool))],
        CLASSES,
        [1],
    )
    boxes, scores, labels = zip(*found) if found else ((), (), ())
    one = Detections(np.array(boxes), np.array(scores), np.array(labels, int), SIZE, CLASSES)
    return confusion_matrix(truth, Results.from_detections([one], truth), **options).tolist()


def test_every_kind_once() -> None:
    objects = [(box(0), 0, False), (box(50), 1, False), (box(100), 0, False), (box(200, 80), -1, True)]
    found = [
        (box(0), 0.9, 0),  # right
        (box(50), 0.8, 0),  # a ship taken for a car
        (box(300), 0.7, 1),  # nothing there
        (box(210), 0.9, 1),  # on the ignore region
        (box(100), 0.1, 0),  # below the confidence: the third object is missed
    ]
    assert matrix(objects, found) == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_confidence_has_an_effect() -> None:
    objects, found = [(box(0), 0, False)], [(box(0), 0.2, 0)]
    assert matrix(objects, found) == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert matrix(objects, found, conf=0.2) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_overlap_has_an_effect() -> None:
    objects, found = [(box(0), 0, False)], [(box(4), 0.9, 0)]
    assert matrix(objects, found) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert matrix(objects, found, iou=0.4) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(FineSpotError, match="iou: expected an overlap"):
        matrix(objects, found, iou=0.0)


def test_own_class_comes_first() -> None:
    # The ship detection has the better score, but the car is taken by the car detection.
    objects, found = [(box(0), 0, False)], [(box(0), 0.9, 1), (box(1), 0.8, 0)]
    assert matrix(objects, found) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_empty_sides() -> None:
    assert matrix([], []) == [[0, 0, 0]] * 3
    assert matrix([(box(0), 1, False)], []) == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert matrix([], [(box(0), 0.9, 1)]) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_rows_hold_all_objects_and_columns_all_detections() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 100, (3000, 2))
    boxes = np.concatenate([corner, corner + 8], axis=1)
    objects = [(one, label, False) for one, label in zip(boxes.tolist(), random.integers(0, 2, 3000).tolist())]
    found = [(one, 0.5, label) for one, label in zip((boxes + 1).tolist(), random.integers(0, 2, 3000).tolist())]
    counts = np.array(matrix(objects, found))
    assert counts[:2].sum() == 3000
    assert counts[:, :2].sum() == 3000
