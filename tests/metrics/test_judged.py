"""Every detection and object on its own: who took what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.metrics import AreaRange, Results, Truth, evaluate, judged, protocol
from finespot.structures import Annotations, Classes, Detections

CLASSES = Classes(("car", "person"))
SIZE = (200, 200)


@pytest.fixture
def tables() -> tuple[Truth, Results]:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 90, 90], [100, 100, 140, 140], [0, 100, 50, 150]], np.float32)
    one = Annotations(boxes, np.array([0, 1, 1, -1]), SIZE, ignore=np.array([False, False, True, True]))
    truth = Truth.from_annotations([one], CLASSES, [1])
    found = np.array(
        [[0, 0, 10, 9], [0, 0, 10, 10], [100, 100, 140, 139], [10, 110, 20, 120], [50, 50, 90, 70]], np.float32
    )
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    results = Detections(found, scores, np.array([0, 0, 1, 0, 1]), SIZE, CLASSES)
    return truth, Results.from_detections([results], truth)


def test_each_detection_is_right_wrong_or_spared(tables) -> None:
    one = judged(*tables, protocol("coco"), iou=0.5)
    assert one.right.tolist() == [True, False, False, False, True]
    assert one.wrong.tolist() == [False, True, False, False, False]
    # The third is on an ignored object, the fourth in a region without a class, which is no row of the truth.
    assert one.partner.tolist() == [0, -1, 2, -1, 1]
    assert one.counts.tolist() == [True, True, False]
    assert one.found.tolist() == [True, True, False]


def test_overlap_and_size_decide(tables) -> None:
    assert judged(*tables, protocol("coco"), iou=0.6).wrong.tolist() == [False, True, False, False, True]
    large = judged(*tables, protocol("coco"), area=AreaRange("large", 1000, 1e5))
    assert large.counts.tolist() == [False, True, False]
    assert large.right.tolist() == [False, False, False, False, True]
    assert not large.wrong.any()


def test_what_is_beyond_the_limit_is_neither(tables) -> None:
    one = judged(*tables, replace(protocol("coco"), max_dets=(1,), rows=()))
    assert one.kept.tolist() == [True, False, True, False, False]
    assert not (one.right | one.wrong)[~one.kept].any()


def test_recall_is_that_of_the_evaluation(tables) -> None:
    one, report = judged(*tables, protocol("coco"), iou=0.5), evaluate(*tables)
    for k, name in enumerate(CLASSES):
        label = tables[0].label == k
        recall = one.found[label].sum() / one.counts[label].sum()
        assert recall == report.averages.recall[0, 100][k, 0], name


def test_an_impossible_overlap_is_an_error(tables) -> None:
    with pytest.raises(FineSpotError, match="above 0 to 1 but got 0"):
        judged(*tables, protocol("coco"), iou=0)
