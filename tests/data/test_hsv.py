"""Color changes against Python's colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import Augment
from finespot.data.augment.hsv import adjust, random_gains

COLORS = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
COLORS[0, :6] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0], [255, 255, 255], [9, 9, 9]]


def slow_twin(pixels: np.ndarray, hue: float, saturation: float, value: float) -> np.ndarray:
    changed = np.empty_like(pixels)
    for index in np.ndindex(pixels.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(pixels[index] / 255))
        rgb = colorsys.hsv_to_rgb((h + hue) % 1, min(s * saturation, 1), min(v * value, 1))
        changed[index] = np.floor(np.array(rgb) * 255 + 0.5)
    return changed


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(0, 2), st.floats(0, 2))
def test_as_colorsys(hue: float, saturation: float, value: float) -> None:
    ours = adjust(COLORS, hue, saturation, value).astype(int)
    assert np.abs(ours - slow_twin(COLORS, hue, saturation, value)).max() <= 1


@given(st.floats(-0.5, 0.5), st.floats(0, 2), st.floats(0, 2))
def test_one_channel_as_three_equal_ones(hue: float, saturation: float, value: float) -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    one, three = adjust(gray, hue, saturation, value), adjust(np.repeat(gray, 3, axis=2), hue, saturation, value)
    np.testing.assert_array_equal(np.repeat(one, 3, axis=2), three)


def test_nothing_to_do_is_free() -> None:
    assert adjust(COLORS, 0, 1, 1) is COLORS
    assert adjust(COLORS[..., :1], 0.3, 0, 1).base is not None


@pytest.mark.parametrize(("switch", "position"), [("hsv_h", 0), ("hsv_s", 1), ("hsv_v", 2)])
def test_each_switch_moves_its_own_gain(switch: str, position: int) -> None:
    neutral = (0.0, 1.0, 1.0)
    gains = random_gains(Augment(**{"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, switch: 0.4}), np.random.default_rng(0))
    assert [gain != rest for gain, rest in zip(gains, neutral)] == [number == position for number in range(3)]
    assert abs(gains[position] - neutral[position]) <= 0.4
