"""Parts of pictures, shrunk and magnified, with their boxes in the right place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finespot.writers import view, window_around


def picture(height: int, width: int) -> np.ndarray:
    """Black, with a white object at x 40 to 50, y 20 to 26."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[20:26, 40:50] = 255
    return pixels


BOX = [40, 20, 50, 26]


@pytest.mark.parametrize(
    ("window", "longest", "most", "size", "scale"),
    [
        (None, 200, 1, (60, 100), (1, 1)),
        (None, 200, 8, (120, 200), (2, 2)),
        (None, 299, 8, (120, 200), (2, 2)),
        (None, 50, 8, (30, 50), (0.5, 0.5)),
        ((30, 10, 60, 40), 200, 8, (180, 180), (6, 6)),
        ((30, 10, 60, 40), 200, 3, (90, 90), (3, 3)),
        ((30, 10, 60, 40), 15, 8, (15, 15), (0.5, 0.5)),
    ],
)
def test_boxes_are_where_the_object_is(window, longest, most, size, scale) -> None:
    shown = view(picture(60, 100), window, longest, most)
    assert shown.pixels.shape == (*size, 3)
    assert shown.scale == scale
    x1, y1, x2, y2 = shown.boxes(BOX)[0].round().astype(int)
    inside = shown.pixels[y1:y2, x1:x2]
    assert inside.min() > 120
    assert inside.sum() == pytest.approx(shown.pixels.sum(), rel=0.02 if min(scale) >= 1 else 0.5)


def test_thin_windows_keep_a_pixel() -> None:
    assert view(picture(60, 100), (0, 0, 100, 1), 10).pixels.shape == (1, 10, 3)


@given(st.floats(-10, 110), st.floats(-10, 70), st.integers(2, 120))
def test_windows_lie_in_the_picture(x, y, side) -> None:
    x1, y1, x2, y2 = window_around((x, y), side, (60, 100))
    assert (x2 - x1, y2 - y1) == (min(side, 100), min(side, 60))
    assert 0 <= x1 < x2 <= 100
    assert 0 <= y1 < y2 <= 60
    assert x1 <= np.clip(x, 0, 100) <= x2
    assert y1 <= np.clip(y, 0, 60) <= y2
