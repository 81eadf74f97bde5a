"""Filling regions of pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data.painting import encode, paint, parse_fill, whole_pixels
from finespot.errors import FineSpotError


@pytest.mark.parametrize(("text", "fill"), [("gray", 114), ("mean", "mean"), ("0", 0), ("85", 85), ("255", 255)])
def test_words(text: str, fill: int | str) -> None:
    assert parse_fill(text) == fill


@pytest.mark.parametrize("text", ["", "256", "-1", "grey", "1.5", "²"])
def test_words_that_are_no_color(text: str) -> None:
    with pytest.raises(FineSpotError, match="paint-ignore: expected gray, mean or a value from 0 to 255"):
        parse_fill(text)


def test_boxes_as_the_pixels_they_touch() -> None:
    boxes = np.array([[0.2, 1.9, 3, 4.1], [-2, -1, 100, 100], [5, 5, 5.01, 5.01]], np.float32)
    assert whole_pixels(boxes, (20, 30)) == [(0, 1, 3, 5), (0, 0, 30, 20), (5, 5, 6, 6)]
    assert whole_pixels(np.zeros((0, 4), np.float32), (20, 30)) == []


@settings(max_examples=50, deadline=None)
@given(
    regions=st.lists(st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(9, 12)] * 2), max_size=3),
    visible=st.lists(st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(9, 12)] * 2), max_size=3),
    channels=st.sampled_from([1, 3]),
    wide=st.booleans(),
)
def test_only_regions_change(regions: list, visible: list, channels: int, wide: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 50, (12, 12, channels)).astype(np.uint16 if wide else np.uint8)
    painted = paint(pixels, regions, 200, visible)
    for y in range(12):
        for x in range(12):
            inside = [any(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in some) for some in (regions, visible)]
            if inside[0] and not inside[1]:
                assert (painted[y, x] == (200 * 257 if wide else 200)).all()
            else:
                assert (painted[y, x] == pixels[y, x]).all()
    assert painted.dtype == pixels.dtype


def test_mean_of_each_region_and_channel() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = [10, 20, 30]
    pixels[:2, :4, 0] = 21
    pixels[:, 4:] = [200, 100, 0]
    painted = paint(pixels, [(0, 0, 4, 4), (4, 0, 8, 4)], "mean")
    assert painted[3, 3].tolist() == [16, 20, 30]
    assert painted[0, 4].tolist() == [200, 100, 0]


def decoded(content: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_keeps_the_tables_of_its_source(channels: int, tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    noise = np.random.default_rng(1).integers(0, 40, (64, 64, 1)) + np.stack([x + y, 2 * x, 90 - y][:channels], axis=2)
    noise = noise.astype(np.uint8)
    source = tmp_path / "a.jpg"
    PIL.Image.fromarray(noise.squeeze()).save(source, quality=61, **({"subsampling": 2} if channels == 3 else {}))
    first = PIL.Image.open(source)
    pixels = np.asarray(first).reshape(64, 64, channels)
    again = decoded(encode(pixels, ".jpg", source))
    assert again.quantization == first.quantization
    assert again.mode == first.mode
    assert np.abs(np.asarray(again).astype(int) - np.asarray(first)).mean() < 1.5
    other = tmp_path / "b.png"
    PIL.Image.fromarray(noise.squeeze()).save(other)
    assert decoded(encode(pixels, ".JPEG", other)).quantization != first.quantization


def test_png_keeps_every_pixel() -> None:
    for pixels in (
        np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8),
        np.random.default_rng(2).integers(0, 256, (9, 7, 1), np.uint8),
        np.random.default_rng(3).integers(0, 65536, (9, 7, 1), np.uint16),
    ):
        np.testing.assert_array_equal(np.asarray(decoded(encode(pixels, ".png", ""))), pixels.squeeze())
