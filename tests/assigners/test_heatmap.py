"""Heat-map truth against a slow drawing of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.assigners.heatmap import RIM, heat_map
from finespot.structures import Targets


def targets(boxes: list[list[float]], image: list[int], ignore: list[bool] | None = None, batch: int = 2) -> Targets:
    count = len(boxes)
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(count, dtype=torch.int64),
        torch.tensor(image, dtype=torch.int64),
        torch.tensor(ignore or [False] * count, dtype=torch.bool),
        batch,
    )


def slow(truth: Targets, size: tuple[int, int], stride: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
    values, weights = np.zeros((truth.batch, rows, columns)), np.ones((truth.batch, rows, columns))
    everything = list(zip(truth.boxes.tolist(), truth.image.tolist(), truth.ignore.tolist()))
    for (x1, y1, x2, y2), image, ignored in everything:
        for row, column in np.ndindex(rows, columns):
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            if ignored and x1 <= x < x2 and y1 <= y < y2:
                weights[image, row, column] = 0
    for (x1, y1, x2, y2), image, ignored in everything:
        if ignored:
            continue
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        a, b = max(x2 - x1, stride) / 2, max(y2 - y1, stride) / 2
        area = (x2 - x1) * (y2 - y1) * 1920 * 1080 / (size[0] * size[1])
        weight = 1 + math.log(max(1600 / area, 1) ** 2)
        for row, column in np.ndindex(rows, columns):
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            home = column == cx // stride and row == cy // stride
            touches = x1 < (column + 1) * stride and x2 > column * stride
            touches = touches and y1 < (row + 1) * stride and y2 > row * stride
            distance = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2
            value = 1.0 if home else RIM**distance if distance <= 1 and touches else 0.0
            if value > 0:
                values[image, row, column] = max(values[image, row, column], value)
                weights[image, row, column] = max(weights[image, row, column], weight)
    return values, weights


BOX = st.tuples(*[st.integers(0, 380)] * 2, *[st.integers(1, 150)] * 2).map(
    lambda box: [box[0] / 4, box[1] / 4, min(box[0] + box[2], 383) / 4, min(box[1] + box[3], 383) / 4]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(BOX, st.integers(0, 1), st.booleans()), max_size=6))
def test_equals_a_slow_drawing(rows: list[tuple[list[float], int, bool]]) -> None:
    rows = [row for row in sorted(rows, key=lambda row: row[1]) if row[0][2] > row[0][0] and row[0][3] > row[0][1]]
    # Cell centers on a box's edge belong to whoever rounds last: kept away from.
    truth = targets([[v + 0.01 for v in box] for box, _, _ in rows], [r[1] for r in rows], [r[2] for r in rows])
    found = heat_map(truth, (96, 96))
    values, weights = slow(truth, (96, 96), 8)
    np.testing.assert_allclose(found.values[:, 0].numpy(), values, atol=1e-5)
    np.testing.assert_allclose(found.weights[:, 0].numpy(), weights, rtol=1e-4)


def test_every_object_has_a_cell_of_value_one_however_small() -> None:
    found = heat_map(targets([[13.2, 40.1, 14.0, 41.0]], [1]), (64, 64))
    assert found.values[1, 0, 5, 1] == 1
    assert found.values.sum() == 1
    scale = 1920 * 1080 / 64**2
    assert found.weights[1, 0, 5, 1] == pytest.approx(max(1, 1 + math.log((1600 / (0.8 * 0.9 * scale)) ** 2)), rel=1e-3)


def test_the_rim_has_half_the_value_of_the_center() -> None:
    values = heat_map(targets([[0, 0, 120, 8]], [0]), (8, 120)).values[0, 0, 0]
    assert values[7] == 1  # the center, 60
    assert values[0] == pytest.approx(RIM ** ((56 / 60) ** 2), rel=1e-4)
    assert bool((values > 0).all())


def test_ignore_regions_and_padding_weigh_nothing_but_objects_in_them_do() -> None:
    truth = targets([[0, 0, 64, 32], [16, 8, 32, 24]], [0, 0], [True, False])
    content = torch.tensor([[0.0, 0.0, 64.0, 48.0], [0.0, 0.0, 64.0, 64.0]])
    found = heat_map(truth, (64, 64), content=content)
    assert found.weights[0, 0, 0, 0] == 0  # in the region
    assert found.weights[0, 0, 2, 3] > 0  # an object in the region
    assert found.weights[0, 0, 5, 0] == 1
    assert bool((found.weights[0, 0, 6:] == 0).all())  # padding below 48
    assert bool((found.weights[1] == 1).all())


def test_no_objects_at_all() -> None:
    found = heat_map(targets([], []), (64, 96), stride=16)
    assert found.values.shape == (2, 1, 4, 6)
    assert found.values.sum() == 0
    assert bool((found.weights == 1).all())
