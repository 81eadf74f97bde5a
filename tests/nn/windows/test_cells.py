"""Which cells a head of single cells computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finespot.nn.windows import cells_of_level, object_cells, peak_cells
from finespot.structures import Targets


def cells(mask: Tensor) -> set[tuple[int, ...]]:
    return {tuple(one) for one in mask.nonzero().tolist()}


def block(picture: int, row: int, column: int, size: tuple[int, int]) -> set[tuple[int, ...]]:
    around = ((picture, 0, row + down, column + across) for down in (-1, 0, 1) for across in (-1, 0, 1))
    return {one for one in around if 0 <= one[2] < size[0] and 0 <= one[3] < size[1]}


def test_cells_about_maxima() -> None:
    heat = torch.full((2, 1, 8, 12), -9.0)
    heat[0, 0, 3, 4], heat[0, 0, 3, 5], heat[0, 0, 0, 11] = 2.0, 1.0, 0.0
    heat[1, 0, 7, 0] = -1.0
    half = block(0, 3, 4, (8, 12)) | block(0, 0, 11, (8, 12))
    assert cells(peak_cells(heat, 0.5)) == half
    assert cells(peak_cells(heat, 0.51)) == block(0, 3, 4, (8, 12))
    assert cells(peak_cells(heat, 0.2)) == half | block(1, 7, 0, (8, 12))
    assert not peak_cells(heat, 0.95).any()
    # From 0 on all maxima count, but nothing that is none.
    heat[:] = torch.arange(12).view(1, 1, 1, 12) / 10
    assert cells(peak_cells(heat, 0.0)) == {one for b in (0, 1) for r in range(8) for one in block(b, r, 11, (8, 12))}
    # A plateau is a maximum all over; half precision is as good.
    assert peak_cells(torch.zeros(1, 1, 4, 4, dtype=torch.float16), 0.5).all()


def test_cells_about_objects() -> None:
    boxes = torch.tensor([[16.0, 8, 32, 24], [0, 0, 4, 4], [60, 30, 200, 90], [40, 8, 48, 16]])
    flags = torch.tensor([False, False, False, True])
    targets = Targets(boxes, torch.zeros(4, dtype=torch.int64), torch.tensor([0, 1, 1, 0]), flags, 3)
    found = object_cells(targets, (4, 8), 8)
    assert cells(found) == block(0, 2, 3, (4, 8)) | block(1, 0, 0, (4, 8)) | block(1, 3, 7, (4, 8))
    assert found.shape == (3, 1, 4, 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(0, 2**32 - 1))
def test_cells_of_coarser_levels(windows: int, times: int, seed: int) -> None:
    likely = torch.from_numpy(np.random.default_rng(seed).random((windows, 1, 16, 8)) > 0.95)
    size = (16 // times, 8 // times)
    held = {(one, 0, row // times, column // times) for one, _, row, column in cells(likely)}
    want = held if times == 1 else {near for one, _, row, column in held for near in block(one, row, column, size)}
    found = cells_of_level(likely, size)
    assert found.dtype == torch.bool
    assert cells(found[:, None]) == want


@pytest.mark.parametrize("size", [(5, 3), (32, 16)])
def test_levels_of_other_sizes_have_cells_too(size: tuple[int, int]) -> None:
    likely = torch.zeros(2, 1, 16, 8, dtype=torch.bool)
    likely[1, 0, 9, 4] = True
    found = cells_of_level(likely, size)
    assert found.shape == (2, *size)
    assert not found[0].any()
    row, column = (int(at) for at in np.array([9.5, 4.5]) * size / [16, 8])
    assert found[1, row, column]
