"""The composed pictures: truth lies where the pixels are, densities are exact, a seed gives the same files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from finespot.structures import Annotations

OBJECT, REGION = 255, 200


@pytest.fixture
def compose(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.highres import compose as module

    return module


class Drawn:
    """Frames in which all that is bright is an object or, less so, an ignore region, as the truth says."""

    name = "drawn"

    def __init__(self, classes) -> None:
        self.classes = classes
        random = np.random.default_rng(0)
        self.frames, self.truth = [], []
        for number in range(12):
            pixels = random.integers(0, 100, (512, 640), np.uint8)
            corners = random.integers((0, 0), (200, 450), (number % 4, 2))
            boxes = np.concatenate([corners, corners + random.integers(3, 40, corners.shape)], 1)
            ignore = np.arange(len(boxes)) == 2
            for (x1, y1, x2, y2), region in zip(boxes, ignore):
                pixels[y1:y2, x1:x2] = REGION if region else OBJECT
            labels = np.where(ignore, -1, np.arange(len(boxes)) % 2)
            self.frames.append(pixels)
            self.truth.append(Annotations(boxes, labels, (512, 640), ignore, source=f"0_60_30_0_{number:05d}.jpg"))

    def __len__(self) -> int:
        return len(self.truth)

    def annotations(self, index):
        return self.truth[index]

    def image(self, index):
        return self

    def read(self, window):
        return self.frames.pop(0)[:, :, None]


@pytest.fixture
def frames(compose):
    from finespot.structures import Classes

    return compose.Frames.read(Drawn(Classes(("one", "two"))))


@pytest.mark.parametrize(("side", "density", "count"), [(4, 10, 5), (4, 30, 2), (2, 100, 2)])
def test_truth_lies_where_the_pixels_are(compose, frames, side, density, count) -> None:
    filled = 0
    for pixels, truth in compose.pictures(frames, side, density, count, seed=3):
        assert pixels.shape == truth.size == (side * 512, side * 640)
        expected = np.zeros_like(pixels)
        for (x1, y1, x2, y2), region in zip(truth.boxes.astype(int), truth.ignore):
            expected[y1:y2, x1:x2] = np.maximum(expected[y1:y2, x1:x2], REGION if region else OBJECT)
        bright = pixels >= REGION
        np.testing.assert_array_equal(bright, expected > 0)
        assert (pixels[expected == OBJECT] >= REGION).all()
        cells = (expected == OBJECT).reshape(side, 512, side, 640).any(axis=(1, 3))
        filled += int(cells.sum())
    assert filled == side * side * count * density // 100


def test_counts_of_filled_places_are_exact_and_even(compose) -> None:
    for side, count in ((4, 10), (8, 5)):
        for density in compose.DENSITIES:
            found = compose.counts(density, side * side, count)
            assert sum(found) * 100 == density * side * side * count
            assert max(found) - min(found) <= 1


def test_each_frame_comes_once_before_any_comes_again(compose) -> None:
    dealt = compose.deck(range(7), np.random.default_rng(0))
    for _ in range(3):
        assert sorted(next(dealt) for _ in range(7)) == list(range(7))


def test_backgrounds_keep_their_distance(compose) -> None:
    windows = compose.free_windows(Annotations(np.array([[300, 120, 310, 130]]), [0], (512, 640)))
    assert windows[0] == (0, 160, 640, 416)  # 16 px below the box is 146, and windows lie on every 16th row
    assert windows[-1] == (0, 256, 640, 512)
    assert compose.free_windows(Annotations.empty((512, 640))) == [(0, 0, 640, 512)]
    assert compose.free_windows(Annotations(np.array([[0, 0, 640, 512]]), [0], (512, 640))) == []


def test_frames_with_unlabelled_objects_give_no_background(compose) -> None:
    assert compose.unlabelled("images/val/1_60_70_0_00615.jpg")
    assert not compose.unlabelled("images/val/1_60_70_0_00616.jpg")


@pytest.mark.slow
def test_a_seed_gives_the_same_files_and_fewer_are_the_first(compose, tmp_path) -> None:
    from finespot.data import open_dataset
    from finespot.structures import Classes

    def files(place, seed, count):
        asked = {2560: dict.fromkeys((10, 30, 100), count)}
        splits = compose.write(place, Drawn(Classes(("one", "two"))), seed=seed, asked=asked)
        assert splits == ["2560-10", "2560-30", "2560-100"]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in place.rglob("*.jpg")}

    once, again = files(tmp_path / "a", 1, 2), files(tmp_path / "b", 1, 1)
    assert again.items() < once.items()
    assert once != files(tmp_path / "c", 2, 2)
    before = (tmp_path / "a" / "annotations" / "2560-30.json").stat().st_mtime_ns
    assert files(tmp_path / "a", 1, 2) == once
    assert (tmp_path / "a" / "annotations" / "2560-30.json").stat().st_mtime_ns == before
    read = open_dataset(f"coco:{tmp_path / 'a'}", "2560-100")
    assert len(read) == 2
    assert read.notes == []
    assert (read.annotations(0).labels[read.annotations(0).ignore] == -1).all()
