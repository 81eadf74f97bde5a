"""Boxes follow the pixels: paint a rectangle, warp, find it again."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finespot.data import Augment
from finespot.data.augment.affine import random_affine
from finespot.data.augment.mosaic import mosaic_center, mosaic_matrices, on_whole_pixel
from finespot.data.augment.parts import Part, Truth
from finespot.data.augment.truth import warp_truth
from finespot.data.augment.warp import render, scaling
from finespot.data.pictures import Picture
from finespot.images import reduce

SIZE = (96, 96)
NOTHING = Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool))
UPRIGHT = Augment(scale=0.4, translate=0.2)
TURNED = Augment(degrees=40, scale=0.4, translate=0.2, shear=10)
TILTED = Augment(degrees=10, scale=0.2, perspective=0.0008)


def painted(box: tuple[int, int, int, int], size: tuple[int, int], factor: int = 1, ignore: bool = False) -> Part:
    """A dark picture of a size with a bright box."""
    pixels = np.full((*size, 1), 20, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 250
    label = -1 if ignore else 1
    truth = Truth(np.array([box], np.float64), np.array([label]), np.array([ignore]))
    return Part(Picture(reduce(pixels, factor), factor), size, truth, np.eye(3))


def bright_box(canvas: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(canvas[..., 0] > 120)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def moved(part: Part, matrix: np.ndarray) -> Part:
    return dataclasses.replace(part, matrix=matrix)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([UPRIGHT, TURNED, TILTED]), st.sampled_from([1, 2]))
def test_boxes_follow_pixels_through_every_warp(seed: int, augment: Augment, factor: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(60, 130)), int(rng.integers(60, 130)))
    x, y = rng.integers(0, size[1] - 30), rng.integers(0, size[0] - 30)
    part = painted((x, y, x + int(rng.integers(16, 30)), y + int(rng.integers(16, 30))), size, factor)
    ratio = SIZE[0] / max(size)
    warp = random_affine(augment, (size[0] * ratio, size[1] * ratio), SIZE, rng)
    part = moved(part, warp @ scaling(ratio, ratio, 0, 0))
    truth = warp_truth([part], SIZE, 0, Counter())
    if not len(truth.boxes) or truth.ignore[0] or min(truth.boxes[0, 2:] - truth.boxes[0, :2]) < 4:
        return
    if augment is not UPRIGHT and (truth.boxes.min() == 0 or truth.boxes.max() == SIZE[0]):
        return  # of a turned box that is cut, less may be seen than the cut envelope
    tolerance = 1.1 if augment is UPRIGHT and factor == 1 else 2.2
    np.testing.assert_allclose(bright_box(render([part], SIZE)), truth.boxes[0], atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([UPRIGHT, TURNED]))
@example(79, TURNED)
def test_mosaic_shows_all_four_without_a_seam(seed: int, augment: Augment) -> None:
    rng = np.random.default_rng(seed)
    center = mosaic_center(SIZE[0], rng)
    warp = on_whole_pixel(random_affine(augment, (2 * SIZE[0], 2 * SIZE[0]), SIZE, rng), center)
    sizes = [(int(rng.integers(60, 200)), int(rng.integers(60, 200))) for _ in range(4)]
    matrices = [warp @ matrix for matrix in mosaic_matrices(sizes, SIZE[0], center)]
    grays = (0, 60, 180, 255)
    flat = [Picture(np.full((*size, 1), gray, np.uint8), 1) for size, gray in zip(sizes, grays)]
    canvas = render([Part(*one) for one in zip(flat, sizes, [NOTHING] * 4, matrices)], SIZE)[..., 0]
    x, y = (warp @ np.array([*center, 1]))[:2]
    if not (3 < x < 93 and 3 < y < 93):
        return
    near = canvas[round(y) - 2 : round(y) + 2, round(x) - 2 : round(x) + 2]
    for row, column in np.argwhere(near == 114):
        # A pixel whose center lies on the very edge of two pictures may fall to neither.
        place = np.array([round(x) - 1.5 + column, round(y) - 1.5 + row, 1])
        inside = [np.linalg.inv(matrix) @ place for matrix in matrices]
        deep = [min(*at[:2], size[1] - at[0], size[0] - at[1]) for at, size in zip(inside, sizes)]
        assert max(deep) < 1e-3, "gray shows between the pictures"
    if augment is UPRIGHT:
        assert near[[0, 0, 3, 3], [0, 3, 0, 3]].tolist() == list(grays)
        assert set(np.unique(canvas)) <= {*grays, 114}, "pictures mix at the seam"


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_shrinking_keeps_small_objects_upright_and_turned(degrees: float) -> None:
    part = painted((150, 160, 153, 163), (380, 380))
    augment = Augment(degrees=degrees, translate=0, scale=0)
    for seed in range(5):
        warp = random_affine(augment, (76, 76), SIZE, np.random.default_rng(seed))
        canvas = render([moved(part, warp @ scaling(0.2, 0.2, 0, 0))], SIZE)
        assert canvas[canvas != 114].max() > 35, "every fifth pixel would mostly be dark"


def test_outside_is_gray_and_color_stays() -> None:
    red = Picture(np.full((10, 10, 3), (200, 0, 0), np.uint8), 1)
    gray = Picture(np.full((10, 10, 1), 50, np.uint8), 1)
    size, places = (10, 10), (scaling(1, 1, 0, 0), scaling(1, 1, 20, 0))
    canvas = render([Part(one, size, NOTHING, place) for one, place in zip((red, gray), places)], (40, 40))
    assert canvas[5, 5].tolist() == [200, 0, 0]
    assert canvas[5, 25].tolist() == [50, 50, 50]
    assert canvas[30, 30].tolist() == [114] * 3


@pytest.mark.parametrize(("left", "kept", "ignored"), [(0, 1, 0), (-15, 1, 0), (-19, 0, 1), (-20, 0, 0), (-30, 0, 0)])
def test_an_object_mostly_outside_becomes_an_ignore_region(left: int, kept: int, ignored: int) -> None:
    part = moved(painted((0, 0, 20, 20), (60, 60)), scaling(1, 1, left, 0))
    dropped: Counter[str] = Counter()
    truth = warp_truth([part], SIZE, 0, dropped)
    assert ((~truth.ignore).sum(), truth.ignore.sum(), dropped["mostly_outside"]) == (kept, ignored, ignored)
    assert set(truth.labels.tolist()) <= {1}, "its class stays"


def test_ignore_regions_follow_and_stay_however_small() -> None:
    part = moved(painted((0, 0, 20, 20), (60, 60), ignore=True), scaling(2, 2, -39, 4))
    dropped: Counter[str] = Counter()
    truth = warp_truth([part], SIZE, 0, dropped)
    np.testing.assert_allclose(truth.boxes, [[0, 4, 1, 44]])
    assert truth.ignore.tolist() == [True]
    assert truth.labels.tolist() == [-1]
    assert not dropped


def test_no_box_is_too_small_to_stay() -> None:
    part = moved(painted((10, 10, 12, 12), (60, 60)), scaling(0.05, 0.05, 0, 0))
    truth = warp_truth([part], SIZE, 0, Counter())
    np.testing.assert_allclose(truth.boxes, [[0.5, 0.5, 0.6, 0.6]])
    assert not truth.ignore.any()


def test_drop_small_counts_source_pixels() -> None:
    part = moved(painted((10, 10, 14, 20), (60, 60)), scaling(3, 3, 0, 0))
    for limit, small in ((0, 0), (4, 0), (4.5, 1)):
        dropped: Counter[str] = Counter()
        truth = warp_truth([part], SIZE, limit, dropped)
        assert truth.ignore.sum() == dropped["small"] == small
