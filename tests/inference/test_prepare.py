"""Network inputs: sizes, scale, placement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import images
from finespot.errors import FineSpotError
from finespot.inference.prepare import Scaling, place, scaling, stack, uncut
from finespot.structures import Tile, Tiling


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([160, 320, 640]), st.sampled_from([8, 32]))
def test_whole_pictures_get_the_size_that_training_gives_them(height, width, imgsz, stride) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    found, placement = place(pixels, Tile((0, 0, width, height)), Scaling(imgsz, stride))
    assert found.shape[:2] == images.fit_size((height, width), imgsz, stride)
    assert found.flags.c_contiguous
    inner = (placement.scale[0] * height, placement.scale[1] * width)
    ratio = imgsz / max(height, width)
    assert inner == pytest.approx((max(1, round(height * ratio)), max(1, round(width * ratio))))
    assert max(inner) == pytest.approx(imgsz)
    assert placement.offset == tuple((side - round(own)) // 2 for side, own in zip(found.shape, inner))


def test_a_fitting_picture_is_not_touched() -> None:
    pixels = np.zeros((512, 640, 3), np.uint8)
    found, placement = place(pixels, Tile((0, 0, 640, 512)), Scaling(640, 32))
    assert found.shape == (512, 640, 3)
    assert np.shares_memory(found, pixels)
    assert placement.scale == (1, 1)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(32, 300), st.integers(32, 300))
def test_boxes_come_back(height, width, tile, imgsz) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    x2, y2 = min(tile, width), min(tile, height)
    found, placement = place(pixels, Tile((width - x2, height - y2, width, height)), Scaling(imgsz, 32, Tiling(tile)))
    box = np.array([[width - x2, height - y2, width, height]], np.float32)
    inside = placement.to_input(box)
    np.testing.assert_allclose(placement.to_picture(inside), box, atol=1e-3)
    # The window fills the input but for less than a stride on each axis.
    assert (inside[0, 2:] - inside[0, :2] + 32 > [found.shape[1], found.shape[0]]).all()
    assert found.shape[0] % 32 == found.shape[1] % 32 == 0


def test_pixels_of_a_tile_at_native_scale_are_the_pictures() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (500, 700, 3), np.uint8)
    found, placement = place(pixels, Tile((100, 50, 400, 350)), Scaling(300, 32, Tiling(300)))
    (top, left) = (int(v) for v in placement.offset)
    assert found.shape == (320, 320, 3)
    np.testing.assert_array_equal(found[top : top + 300, left : left + 300], pixels[50:350, 100:400])
    assert (found[:top] == 114).all()


def test_one_input_is_a_batch_without_a_copy() -> None:
    one, other = np.zeros((2, 32, 32, 3), np.uint8)
    assert np.shares_memory(stack([one]), one)
    assert stack([one]).shape == (1, 32, 32, 3)
    assert stack([one, other]).shape == (2, 32, 32, 3)
    one.flags.writeable = False
    assert stack([one]).flags.writeable


def test_rounding_is_said() -> None:
    assert scaling(640, 32, None) == (Scaling(640, 32), [])
    rule, notes = scaling(650, 32, None)
    assert rule.imgsz == 672
    assert "650" in notes[0]
    assert "672" in notes[0]
    rule, notes = scaling(650, 32, Tiling(650))
    assert rule == Scaling(650, 32, Tiling(650))
    assert "padded to 672" in notes[0]
    assert scaling(640, 32, Tiling(640))[1] == []
    assert scaling(640, 32, Tiling(256))[1] == ["tiles of 256 px are scaled to 640 px"]
    assert [note[:8] for note in scaling(650, 32, Tiling(256))[1]] == ["tiles of", "imgsz 65"]
    assert scaling(640, 32, Tiling(None))[1] == []


@pytest.mark.parametrize(("imgsz", "said"), [(0, "got 0$"), (-64, "got -64$"), (16385, "got 16385; cut .* into tiles")])
def test_size_out_of_range(imgsz: int, said: str) -> None:
    with pytest.raises(FineSpotError, match=f"imgsz: expected 1 to 16384 but {said}"):
        scaling(imgsz, 32, None)


def test_a_number_is_no_tiling() -> None:
    with pytest.raises(FineSpotError, match=r"tiling: expected a Tiling but got 640; give tiling=Tiling\(640\)"):
        scaling(640, 32, 640)  # type: ignore[arg-type]


def test_pictures_that_fit_in_a_tile_are_counted() -> None:
    sizes = [(100, 640), (640, 641), (700, 20)]
    assert uncut(sizes, Tiling(640)) == ["1 of 3 pictures were not cut: they are no larger than a tile of 640 px"]
    assert uncut(sizes, Tiling(64)) == uncut(sizes, Tiling(None)) == uncut(sizes, None) == []


def test_a_picture_in_the_corner_of_its_padding() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 128, 3), np.uint8)
    found, placement = place(pixels, Tile((0, 0, 128, 100)), Scaling(128, 32, fit="corner"))
    assert found.shape == (128, 128, 3)
    assert placement.offset == (0, 0)
    np.testing.assert_array_equal(found[:100], pixels)
    assert (found[100:] == 114).all()


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_a_stretched_picture_fills_its_input(height, width) -> None:
    rule, notes = scaling(150, 32, Tiling(100), "stretch")
    assert (rule.imgsz, len(notes)) == (160, 2)
    pixels = np.zeros((height, width, 3), np.uint8)
    found, placement = place(pixels, Tile((0, 0, width, height)), rule)
    assert found.shape == (160, 160, 3)
    assert (placement.scale, placement.offset) == ((160 / height, 160 / width), (0, 0))
    box = np.array([[0, 0, width, height]], np.float32)
    np.testing.assert_allclose(placement.to_picture(placement.to_input(box)), box, atol=1e-3)


def test_a_window_that_was_cut_down_keeps_the_scale_of_stretched_tiles() -> None:
    rule, _ = scaling(320, 32, Tiling(640), "stretch")
    pixels = np.zeros((500, 900, 3), np.uint8)
    full, placement = place(pixels, Tile((0, 0, 640, 500)), rule)
    part, own = place(pixels, Tile((100, 100, 420, 260)), rule)
    assert (full.shape[:2], placement.scale) == ((320, 320), (320 / 500, 0.5))
    assert part.shape[:2] == (128, 160)
    np.testing.assert_allclose(own.scale, placement.scale, rtol=0.01)
    whole, _ = place(pixels, Tile((0, 0, 900, 500), whole=True), rule)
    assert whole.shape[:2] == (320, 320)
