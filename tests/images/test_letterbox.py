"""Placing pictures in a network input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.images import fit_size, letterbox


@pytest.mark.parametrize(
    ("size", "imgsz", "stride", "expected"),
    [
        ((512, 640), 640, 32, (512, 640)),
        ((765, 1360), 640, 32, (384, 640)),
        ((640, 512), 640, 32, (640, 512)),
        ((10, 4000), 640, 32, (32, 640)),
        ((256, 320), 640, 32, (512, 640)),
        ((512, 640), 640, 64, (512, 640)),
        ((500, 640), 640, 64, (512, 640)),
    ],
)
def test_fit_size(size: tuple[int, int], imgsz: int, stride: int, expected: tuple[int, int]) -> None:
    assert fit_size(size, imgsz, stride) == expected


def test_fit_size_refuses_nonsense() -> None:
    with pytest.raises(FineSpotError, match="1 or more"):
        fit_size((0, 640), 640, 32)


def test_exact_fit_is_not_copied() -> None:
    pixels = np.zeros((512, 640, 3), np.uint8)
    placed, placement = letterbox(pixels, (512, 640))
    assert placed is pixels
    assert (placement.scale, placement.offset) == ((1.0, 1.0), (0.0, 0.0))


def test_odd_rest_is_larger_below() -> None:
    placed, placement = letterbox(np.full((9, 20, 3), 200, np.uint8), (20, 20))
    assert placement.offset == (5.0, 0.0)
    assert (placed[:5] == 114).all()
    assert (placed[5:14] == 200).all()
    assert (placed[14:] == 114).all()


def test_fill_and_enlarge_have_an_effect() -> None:
    pixels = np.full((10, 10, 3), 200, np.uint8)
    small, placement = letterbox(pixels, (20, 20), fill=3, enlarge=False)
    assert placement.scale == (1.0, 1.0)
    assert (small == 200).sum() == 300
    assert (small == 3).sum() == 900
    large, placement = letterbox(pixels, (20, 20), enlarge=True)
    assert placement.scale == (2.0, 2.0)
    assert (large == 200).all()


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 70))
def test_boxes_go_and_come_back(height: int, width: int, rows: int, columns: int) -> None:
    placed, placement = letterbox(np.full((height, width, 1), 200, np.uint8), (rows, columns))
    assert placed.shape == (rows, columns, 1)
    whole = np.array([[0, 0, width, height]], np.float32)
    inside = placement.to_input(whole)
    ys, xs = np.nonzero(placed[..., 0] == 200)
    np.testing.assert_allclose(inside[0], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1e-4)
    np.testing.assert_allclose(placement.to_picture(inside), whole, atol=1e-3)
