"""Sample formats and resampling."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.images import reduce, resample, resize, to_rgb8, to_uint8


def test_sixteen_bits_scale_linearly_from_the_full_range() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    np.testing.assert_array_equal(to_uint8(deep, 16), np.round(deep / 257).astype(np.uint8))
    rgb = to_rgb8(deep, 16)
    assert rgb.shape == (256, 256, 3)
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert rgb[255, 255].tolist() == [255] * 3
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])


def test_fewer_bits() -> None:
    twelve = np.array([[[0], [2047], [4095]]], np.uint16)
    assert to_uint8(twelve, 12).ravel().tolist() == [0, 127, 255]


def test_rgb_is_not_copied_and_gray_is_repeated() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert to_rgb8(rgb, 8) is rgb
    np.testing.assert_array_equal(to_rgb8(rgb[..., 0], 8), np.repeat(rgb[..., :1], 3, axis=2))


@pytest.mark.parametrize("shape", [(4, 5, 2), (4, 5, 4), (4,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FineSpotError, match="expected pixels of shape"):
        to_rgb8(np.zeros(shape, np.uint8))


def test_other_types_are_refused() -> None:
    with pytest.raises(FineSpotError, match="uint8 or uint16"):
        to_rgb8(np.zeros((4, 5, 3), np.float32))


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
def test_resize_gives_the_size_and_keeps_flat_pictures(height: int, width: int, channels: int) -> None:
    flat = np.full((13, 21, channels), 77, np.uint8)
    resized = resize(flat, (height, width))
    assert resized.shape == (height, width, channels)
    assert (resized == 77).all()


def test_equal_size_is_free() -> None:
    pixels = np.zeros((8, 9, 3), np.uint8)
    assert resize(pixels, (8, 9)) is pixels


def test_shrinking_keeps_a_single_bright_pixel() -> None:
    for column in range(8, 16):
        dot = np.zeros((24, 24, 1), np.uint8)
        dot[12, column] = 255
        assert resize(dot, (6, 6)).max() >= 6, "plain bilinear interpolation would skip it"


def test_resample_takes_fractional_boxes() -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (20, 1, 1))
    part = resample(ramp, (20, 50), (10.5, 0, 60.5, 20))
    np.testing.assert_allclose(part[10, 5:45, 0].astype(float), np.arange(5, 45) + 10.5, atol=0.51)
    with pytest.raises(FineSpotError, match="1x1"):
        resample(ramp, (0, 5), (0, 0, 5, 5))


def test_reduce_takes_the_mean() -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    means = pixels[..., 0].reshape(3, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(reduce(pixels, 2)[..., 0], means, atol=0.51)
    assert reduce(pixels, 1) is pixels


@pytest.mark.parametrize("size", [(40, 30), (200, 150), (97, 31), (7, 250)])
def test_three_channels_equal_pillow_to_one_level(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)
    pixels.flags.writeable = False
    same = np.asarray(PIL.Image.fromarray(pixels).resize(size[::-1], PIL.Image.Resampling.BILINEAR))
    assert np.abs(resize(pixels, size).astype(int) - same).max() <= 1
