"""Heat maps of objects whose shapes are known, against a slow drawing of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.assigners.heatmap import RIM, heat_map
from finespot.errors import FineSpotError
from finespot.structures import Targets

Row = tuple[list[float], int, bool]


def targets(rows: list[Row], batch: int = 2) -> Targets:
    return Targets(
        torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4),
        torch.zeros(len(rows), dtype=torch.int64),
        torch.tensor([row[1] for row in rows], dtype=torch.int64),
        torch.tensor([row[2] for row in rows], dtype=torch.bool),
        batch,
    )


def slow(truth: Targets, size: tuple[int, int], shapes: np.ndarray, stride: int) -> np.ndarray:
    """Object by object and cell by cell."""
    rows, columns = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
    values = np.zeros((truth.batch, rows, columns))
    for (x1, y1, x2, y2), image, ignored in zip(truth.boxes.tolist(), truth.image.tolist(), truth.ignore.tolist()):
        if ignored:
            continue
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        a, b = max(x2 - x1, stride) / 2, max(y2 - y1, stride) / 2
        ellipse = np.zeros((rows, columns))
        shape = np.zeros((rows, columns))
        for row, column in np.ndindex(rows, columns):
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            touches = x1 < (column + 1) * stride and x2 > column * stride
            touches = touches and y1 < (row + 1) * stride and y2 > row * stride
            distance = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2
            ellipse[row, column] = RIM**distance if touches and distance <= 1 else 0
            pixels = shapes[image, 0, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            shape[row, column] = pixels.any()
        if (shape * ellipse).any():
            ellipse *= shape
        ellipse[int(cy // stride), int(cx // stride)] = 1
        values[image] = np.maximum(values[image], ellipse)
    return values


# Cell centers on a box's edge belong to whoever rounds last: kept away from.
BOX = st.tuples(*[st.integers(0, 300)] * 2, *[st.integers(1, 150)] * 2).map(
    lambda box: [(v + 0.04) / 4 for v in (box[0], box[1], min(box[0] + box[2], 348), min(box[1] + box[3], 364))]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(BOX, st.integers(0, 1), st.booleans()), max_size=6),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.002, 0.02, 0.3]),
    st.sampled_from([4, 8, 16]),
)
def test_equals_a_slow_drawing(rows: list[Row], seed: int, share: float, stride: int) -> None:
    rows = sorted((row for row in rows if row[0][2] > row[0][0] and row[0][3] > row[0][1]), key=lambda row: row[1])
    truth, size = targets(rows), (93, 90)
    shapes = np.random.default_rng(seed).random((2, 1, *size)) < share
    found = heat_map(truth, size, stride, shapes=torch.from_numpy(shapes))
    np.testing.assert_allclose(found.values[:, 0].numpy(), slow(truth, size, shapes, stride), atol=1e-5)


def test_an_ellipse_is_multiplied_by_the_shape() -> None:
    truth = targets([([0.0, 0.0, 64.0, 64.0], 0, False)], batch=1)
    shapes = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    shapes[..., 24:40, :] = True
    plain, shaped = heat_map(truth, (64, 64)), heat_map(truth, (64, 64), shapes=shapes)
    assert torch.equal(shaped.values[0, 0, 3:5], plain.values[0, 0, 3:5])
    assert shaped.values.sum() == shaped.values[0, 0, 3:5].sum() < plain.values.sum()


def test_the_weight_of_what_the_shape_leaves_out_is_that_of_background() -> None:
    truth = targets([([0.0, 0.0, 64.0, 64.0], 0, False)], batch=1)
    shapes = torch.zeros(1, 1, 512, 512, dtype=torch.bool)
    shapes[..., 24:40, :64] = True
    plain, shaped = heat_map(truth, (512, 512)), heat_map(truth, (512, 512), shapes=shapes)
    small = heat_map(targets([([16.0, 16.0, 20.0, 20.0], 0, False)], batch=1), (512, 512), shapes=shapes)
    assert bool((shaped.weights == plain.weights).all())  # a large object weighs no more than background
    assert int((small.weights > 1).sum()) == 1


def test_objects_without_a_shape_keep_the_ellipse() -> None:
    rows: list[Row] = [([0.0, 0.0, 32.0, 32.0], 0, False), ([64.0, 64.0, 96.0, 96.0], 0, False)]
    shapes = torch.zeros(1, 1, 96, 96, dtype=torch.uint8)
    shapes[..., 12:16, 12:16] = 255
    truth = targets(rows, batch=1)
    plain, shaped = heat_map(truth, (96, 96)).values, heat_map(truth, (96, 96), shapes=shapes).values
    assert torch.equal(shaped[..., 8:, 8:], plain[..., 8:, 8:])
    assert shaped[0, 0, :4, :4].count_nonzero() == 2  # its shape's cell and that of its center
    assert torch.equal(heat_map(truth, (96, 96), shapes=torch.zeros_like(shapes)).values, plain)


@pytest.mark.parametrize("side", [3.0, 8.0, 40.0])
def test_the_cell_of_the_center_stays_one_where_the_shape_is_elsewhere(side: float) -> None:
    shapes = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    shapes[..., 20:22, 20:22] = True
    truth = targets([([17.0, 17.0, 17.0 + side, 17.0 + side], 0, False)], batch=1)
    center = int((17 + side / 2) // 8)
    assert heat_map(truth, (96, 96), shapes=shapes).values[0, 0, center, center] == 1


def test_shapes_of_another_size_are_refused() -> None:
    truth = targets([([0.0, 0.0, 32.0, 32.0], 0, False)])
    for form in ((1, 1, 64, 64), (2, 1, 64, 32), (2, 64, 64)):
        with pytest.raises(FineSpotError, match=r"shapes: expected shapes of the form \(2, 1, 64, 64\)"):
            heat_map(truth, (64, 64), shapes=torch.zeros(form, dtype=torch.bool))


def test_no_objects_at_all() -> None:
    found = heat_map(targets([]), (64, 96), 16, shapes=torch.ones(2, 1, 64, 96))
    assert found.values.shape == (2, 1, 4, 6)
    assert found.values.sum() == 0
