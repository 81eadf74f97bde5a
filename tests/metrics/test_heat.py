"""Measures of a seeker's map: against loops over cells, worked examples, edges, and what cannot be measured."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from finespot.errors import FineSpotError
from finespot.metrics import Truth, heat_quality
from finespot.structures import Annotations, Classes

CLASSES = Classes(("car", "person"))
SIZE = (48, 64)
CELL = 8


def truth_of(*pictures, labels=None, ignore=()) -> Truth:
    """Pictures given as lists of boxes; `labels` and `ignore` (rows) are those of the first one."""
    marked = []
    for number, boxes in enumerate(pictures):
        own = labels if number == 0 and labels is not None else [0] * len(boxes)
        flags = np.isin(np.arange(len(boxes)), ignore if number == 0 else [])
        marked.append(Annotations(np.array(boxes, np.float32).reshape(-1, 4), np.array(own, np.int64), SIZE, flags))
    return Truth.from_annotations(marked, CLASSES, list(range(len(pictures))))


def hot_at(*cells: tuple[int, int], value: float = 0.9) -> np.ndarray:
    heat = np.zeros((SIZE[0] // CELL, SIZE[1] // CELL), np.float32)
    for x, y in cells:
        heat[y, x] = value
    return heat


def in_ellipse(box, x: int, y: int) -> bool:
    """Whether the middle of a cell lies in a box's ellipse, half a cell wide at least, or the box's center in it."""
    x1, y1, x2, y2 = (side / CELL for side in box)
    half = max((x2 - x1) / 2, 0.5), max((y2 - y1) / 2, 0.5)
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    touched = math.floor(x1) <= x < math.ceil(x2) and math.floor(y1) <= y < math.ceil(y2)
    distance = ((x + 0.5 - middle[0]) / half[0]) ** 2 + ((y + 0.5 - middle[1]) / half[1]) ** 2
    return touched and (distance <= 1 or (math.floor(middle[0]), math.floor(middle[1])) == (x, y))


def slow(boxes, heat, threshold) -> tuple[float | None, list[float], list[float]]:
    rows, columns = heat.shape
    every = [(x, y) for y in range(rows) for x in range(columns)]
    inside = {cell for cell in every if any(in_ellipse(box, *cell) for box in boxes)}
    hot = {(x, y) for x, y in every if heat[y, x] >= threshold}
    around = lambda x, y: [(i, j) for i, j in every if abs(i - x) <= 1 and abs(j - y) <= 1]  # noqa: E731
    tops = {(x, y) for x, y in hot if heat[y, x] == max(heat[j, i] for i, j in around(x, y))}
    masks, peaks = [], []
    for box in boxes:
        x1, y1, x2, y2 = (side / CELL for side in box)
        own = [(x, y) for x, y in every if x1 - 1 < x < x2 and y1 - 1 < y < y2 and (x, y) in inside]
        masks.append(sum(cell in hot for cell in own) / len(own))
        center = math.floor((x1 + x2) / 2), math.floor((y1 + y2) / 2)
        peaks.append(float(any(cell in tops for cell in around(*center))))
    return (len(hot & inside) / len(hot) if hot else None), masks, peaks


@st.composite
def scenes(draw):
    numbers = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 5))
    corner = numbers.integers(0, [SIZE[1] - 9, SIZE[0] - 9], (count, 2))
    boxes = np.concatenate([corner, np.minimum(corner + numbers.integers(1, 30, (count, 2)), SIZE[::-1])], 1)
    heat = numbers.integers(0, 5, (SIZE[0] // CELL, SIZE[1] // CELL)) / 4
    return boxes.tolist(), heat.astype(np.float32)


@pytest.mark.slow
@settings(deadline=None)
@given(scenes(), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_against_loops(scene, threshold: float) -> None:
    boxes, heat = scene
    precision, masks, peaks = slow(boxes, heat, threshold)
    found = heat_quality(truth_of(boxes), [heat], threshold=threshold)
    assert found.mask_precision == (None if precision is None else pytest.approx(precision))
    assert found.hot == pytest.approx((heat >= threshold).mean())
    assert found.all.mask_recall == (pytest.approx(np.mean(masks)) if boxes else None)
    assert found.all.peak_recall == (pytest.approx(np.mean(peaks)) if boxes else None)


def test_objects_by_size_and_class() -> None:
    """Of a picture of 64 x 48: sides of 2, 4 and 16 px are 52, 104 and 416 of one of 1920 x 1080."""
    boxes, labels = [[0, 0, 0.5, 0.5], [20, 4, 21, 5], [36, 4, 37.2, 5.2], [32, 24, 48, 40]], [0, 0, 1, 1]
    found = heat_quality(truth_of(boxes, labels=labels), [hot_at((0, 0), (4, 3), (5, 3))])
    assert [(one.label, one.objects) for one in found.sizes] == [
        ("below 16", 1),
        ("16 to 32", 2),
        ("32 to 64", 0),
        ("64 and more", 1),
    ]
    assert [(one.label, one.objects, one.mask_recall, one.peak_recall) for one in found.classes] == [
        ("car", 2, 0.5, 0.5),
        ("person", 2, 0.25, 0.5),
    ]
    assert found.sizes[3].mask_recall == 0.5
    assert found.mask_precision == 1
    assert (found.hot_images, found.images) == (1, 1)


def test_a_peak_next_to_the_center_is_enough_and_a_slope_is_not() -> None:
    box = [[24, 16, 32, 24]]  # the cell (3, 2)
    assert heat_quality(truth_of(box), [hot_at((4, 3))]).all.peak_recall == 1
    assert heat_quality(truth_of(box), [hot_at((5, 3))]).all.peak_recall == 0
    slope = hot_at((3, 2), value=0.6) + hot_at((4, 2), value=0.7) + hot_at((5, 2))
    found = heat_quality(truth_of(box), [slope])
    assert (found.all.peak_recall, found.all.mask_recall) == (0, 1)


def test_what_lies_in_ignore_regions_does_not_count() -> None:
    boxes = [[0, 0, 8, 8], [32, 0, 64, 32]]
    heat = hot_at((0, 0), (5, 1), (6, 2), (1, 5))
    assert heat_quality(truth_of(boxes, ignore=[1]), [heat]).mask_precision == 0.5
    assert heat_quality(truth_of(boxes[:1]), [heat]).mask_precision == 0.25
    assert heat_quality(truth_of(boxes, ignore=[1]), [heat]).all.objects == 1


def test_cells_that_do_not_count_are_as_if_they_were_not_there() -> None:
    """The left half is looked at. Outside: hot cells, a higher one beside a maximum, a part of an object's ellipse."""
    boxes, left = [[0, 0, 8, 8], [24, 16, 40, 32]], np.zeros((6, 8), bool)
    left[:, :4] = True
    heat = hot_at((0, 0), (3, 2), (2, 5), (6, 5)) + hot_at((4, 2), value=1.0)
    found = heat_quality(truth_of(boxes), [heat], cells=[left])
    assert found.mask_precision == pytest.approx(2 / 3)
    assert found.hot == 3 / 24
    assert (found.all.mask_recall, found.all.peak_recall) == ((1 + 1 / 2) / 2, 1)
    every = heat_quality(truth_of(boxes), [heat])
    assert every.mask_precision == 3 / 5
    assert every == heat_quality(truth_of(boxes), [heat], cells=[np.ones((6, 8), bool)])


def test_a_picture_without_cells_that_count_says_nothing() -> None:
    heat, nothing = hot_at((0, 0)), np.zeros((6, 8), bool)
    found = heat_quality(truth_of([], [[0, 0, 8, 8]]), [heat, heat], cells=[nothing, ~nothing])
    assert (found.hot, found.hot_images, found.mask_precision) == (1 / 48, 1, 1)


def test_every_picture_counts_once_for_precision_where_it_has_a_hot_cell() -> None:
    pictures = [[[0, 0, 8, 8]], [[0, 0, 8, 8]], [[0, 0, 8, 8]]]
    maps = [hot_at((0, 0)), hot_at((0, 0), (5, 5), (2, 5), (5, 2)), hot_at()]
    found = heat_quality(truth_of(*pictures), maps)
    assert (found.mask_precision, found.hot_images, found.images) == (0.625, 2, 3)
    assert found.all.mask_recall == pytest.approx(2 / 3)


def test_maps_of_other_shapes_are_shares_of_the_picture() -> None:
    heat = np.zeros((3, 4), np.float32)
    heat[1, 2] = 1
    found = heat_quality(truth_of([[34, 18, 46, 30]]), [heat])
    assert (found.mask_precision, found.all.mask_recall) == (1, 1)


def test_table_and_file() -> None:
    found = heat_quality(truth_of([[0, 0, 8, 8]], []), [hot_at((0, 0)), hot_at()])
    with Console(width=110) as console, console.capture() as said:
        console.print(found.table())
    assert "mask precision 1.000" in said.get()
    assert "1 of 2 pictures have hot cells" in said.get()
    told = json.loads(json.dumps(found.to_json()))
    assert (told["all"]["mask recall"], told["classes"]["car"]["objects"]) == (1.0, 1)
    assert told["classes"]["person"] == {"objects": 0, "mask recall": None, "peak recall": None}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"maps": []}, "expected the maps and sizes of 1 pictures but got 0 and 1"),
        ({"maps": [np.zeros(4)]}, r"map 0: expected a map \(rows, columns\) but got \(4,\)"),
        ({"maps": [hot_at()], "threshold": 1.5}, "threshold: expected 0 to 1 but got 1.5"),
        ({"maps": [hot_at()], "cells": []}, "cells: expected the cells of 1 maps but got 0"),
        (
            {"maps": [hot_at()], "cells": [np.ones((2, 2), bool)]},
            r"map 0: expected cells of \(6, 8\) but got \(2, 2\)",
        ),
    ],
)
def test_what_cannot_be_measured(keys, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        heat_quality(truth_of([[0, 0, 8, 8]]), **keys)


def test_torch_waits_until_it_is_needed() -> None:
    assert "finespot.metrics.heat" in sys.modules
    module = sys.modules["finespot.metrics.heat"]
    assert not hasattr(module, "torch")
