"""Which cores are chosen, which truth windows get, what of their finds is kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.nn.windows import (
    Grid,
    by_picture,
    choose,
    for_training,
    in_windows,
    indices,
    object_cores,
    peaks,
)
from finespot.nn.windows.selection import BACKGROUND
from finespot.structures import Targets


def truth(boxes: list[list[float]], images: list[int], batch: int, ignore: list[bool] | None = None) -> Targets:
    count = len(boxes)
    flags = torch.tensor(ignore or [False] * count, dtype=torch.bool)
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).view(count, 4), torch.arange(count), torch.tensor(images), flags, batch
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 5), st.sampled_from([0.0, 0.3, 0.6, 1.0]), st.data())
def test_threshold_and_budget(pictures: int, cores: int, budget: int, threshold: float, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.7, 3.0]), min_size=cores, max_size=cores))
    scores = torch.tensor(values).expand(pictures, -1)
    picked = choose(scores, threshold, budget or None)
    assert torch.equal(picked, picked[:1].expand_as(picked))
    # By hand: best first, of equals the first.
    order = sorted((n for n in range(cores) if 1 / (1 + math.exp(-values[n])) >= threshold), key=lambda n: -values[n])
    wanted = sorted(order[:budget] if budget else order)
    assert picked[0].nonzero().flatten().tolist() == wanted
    assert indices(picked).tolist() == [b * cores + n for b in range(pictures) for n in wanted]
    assert indices(picked, len(wanted)).tolist() == indices(picked).tolist()


def test_half_precision_and_nonsense_fire_as_they_should() -> None:
    scores = torch.tensor([[0.0, math.nan, -math.inf, math.inf]], dtype=torch.float16)
    assert choose(scores, 0.5).tolist() == [[True, False, False, True]]


def test_peaks_are_local_maxima_and_plateaus() -> None:
    values = torch.tensor([[[[1.0, 2, 0, 5, 5], [0, 0, 0, 0, 0]]]])
    assert torch.isfinite(peaks(values))[0, 0].tolist() == [
        [False, True, False, True, True],
        [False, False, False, False, False],
    ]


def test_training_takes_objects_then_what_fires_then_others() -> None:
    objects = torch.zeros(2, 10, dtype=torch.bool)
    objects[0, [3, 7]] = True
    scores = torch.full((2, 10), -3.0)
    scores[1, [2, 4]] = 3.0
    draw = torch.rand(2, 10, generator=torch.Generator().manual_seed(0))
    found = for_training(objects, scores, 0.5, 6, draw)
    assert len(found) == 6
    assert {3, 7, 12, 14} < set(found.tolist())
    assert found.tolist() == sorted(found.tolist())
    # All that hold an object, however few are asked for, and some background.
    assert set(for_training(objects, scores, 0.5, 0, draw).tolist()) == {3, 7, 12, 14}
    objects[:] = True
    assert len(for_training(objects, scores, 0.5, 2, draw)) == 20
    objects[:] = False
    assert len(for_training(objects, scores - 9, 0.5, 0, draw)) == BACKGROUND
    other = for_training(objects, scores - 9, 0.5, 6, 1 - draw)
    assert other.tolist() != for_training(objects, scores - 9, 0.5, 6, draw).tolist()


def test_cores_of_objects() -> None:
    grid = Grid((8, 16), (4, 8), shift=(0, 4))
    # Stride 8: cores begin at x 0, 32, 96 px and y 0, 32 px.
    targets = truth(
        [[24, 0, 40, 8], [23, 0, 40, 8], [120, 60, 140, 80], [0, 0, 4, 4]], [0, 0, 1, 1], 3, [False] * 3 + [True]
    )
    held = object_cores(targets, grid, 8)
    assert held.nonzero().tolist() == [[0, 0], [0, 1], [1, 5]]


# Windows x 0..128, 32..160 and 96..224, y 0..128 and 32..160 px; cores meet at x 64 and 128, y 64.
PLACES = Grid((20, 28), (8, 8), halo=4).places(torch.device("cpu"))
ORIGINS = torch.cat((torch.zeros(6, 1, dtype=torch.int64), PLACES.origins * 8), 1)
CORES = PLACES.cores * 8


def test_an_object_is_at_home_in_one_window_and_ignored_where_else_it_is_seen() -> None:
    targets = truth([[54, 10, 74, 20], [130, 60, 160, 90], [0, 0, 8, 8]], [0, 0, 0], 1)
    found = in_windows(targets, ORIGINS, CORES, (128, 128))
    assert found.batch == 6
    assert found.image.tolist() == sorted(found.image.tolist())
    real = ~found.ignore
    assert found.labels[real].tolist() == [2, 0, 1]
    assert found.image[real].tolist() == [0, 1, 5]
    assert found.boxes[real].tolist() == [[0, 0, 8, 8], [22, 10, 42, 20], [34, 28, 64, 58]]
    ignored = list(zip(found.image[~real].tolist(), found.labels[~real].tolist()))
    assert ignored == [(0, 0), (1, 1), (2, 1), (4, 1)]


def test_regions_are_ignored_in_every_window_that_sees_them() -> None:
    found = in_windows(truth([[0, 0, 224, 160]], [0], 1, [True]), ORIGINS, CORES, (128, 128))
    assert found.ignore.tolist() == [True] * 6
    assert found.boxes[1].tolist() == [-32, 0, 192, 160]


def test_objects_of_other_pictures_and_no_windows() -> None:
    targets = truth([[0, 0, 8, 8]], [1], 2)
    assert len(in_windows(targets, ORIGINS, CORES, (128, 128)).boxes) == 0
    found = in_windows(targets, ORIGINS[:0], CORES[:0], (64, 96))
    assert (found.batch, found.boxes.shape) == (0, (0, 4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 34), st.integers(-2, 18)), max_size=12), st.integers(0, 3))
def test_what_all_windows_see_is_kept_once(corners: list[tuple[int, int]], shift: int) -> None:
    """Boxes with centers on the borders of cores, beside them and outside the picture."""
    grid = Grid((20, 32), (8, 12), halo=4, shift=(4 * (shift % 2) - 4, 4 * (shift % 3) - 4))
    origins, cores = grid.places(torch.device("cpu"))
    origins, cores = torch.cat((torch.full((grid.cores, 1), 1), origins * 8), 1), cores * 8
    boxes = np.array([[8 * x - 5, 8 * y - 3, 8 * x + 5, 8 * y + 3] for x, y in corners], np.float32).reshape(-1, 4)
    scores = np.linspace(1, 0.5, len(boxes), dtype=np.float32)
    found = [(boxes - np.tile(place[1:], 2), scores, np.arange(len(boxes))) for place in origins.numpy()]
    none, (kept, values, labels), last = by_picture(found, origins, cores, 3, 100)
    assert labels.tolist() == list(range(len(boxes)))
    assert np.array_equal(kept, boxes)
    assert np.array_equal(values, scores)
    for boxes, scores, labels in (none, last):
        assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


def test_the_most_is_of_a_picture() -> None:
    one = (np.array([[70, 10, 74, 14]], np.float32), np.array([0.5], np.float32), np.array([0]))
    better = (
        np.array([[50, 10, 60, 14], [1, 1, 2, 2]], np.float32),
        np.array([0.9, 0.1], np.float32),
        np.array([1, 2]),
    )
    ((boxes, scores, labels),) = by_picture([better, one, one, one, one, one], ORIGINS, CORES, 1, 2)
    assert (labels.tolist(), scores.tolist()) == ([1, 0], pytest.approx([0.9, 0.5]))
    assert boxes[1].tolist() == [102, 10, 106, 14]
