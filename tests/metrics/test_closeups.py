"""Pictures with their errors: which part is shown, what is drawn where, how large the files are."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth
from finespot.metrics.closeups import STROKES, closeup, swatch, where
from finespot.metrics.worst import Failure
from finespot.structures import Annotations, Classes, Detections, Image

CLASSES = Classes(("car",))
GRAY = 90
ROWS = {"found": [0], "missed": [1], "ignored": [2], "false": [0]}


def image(height: int, width: int, noise: bool = False) -> Image:
    pixels = np.full((height, width, 3), GRAY, np.uint8)
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    return Image((height, width), 3, 8, "here/a.png", lambda window: pixels)


def scene(height: int, width: int) -> tuple[Truth, Results, Failure]:
    """A found, a missed and an ignored object of 10 px, a region beside them, and a false positive."""
    boxes = np.array([[100, 100, 110, 110], [120, 100, 130, 110], [140, 100, 150, 110], [100, 120, 130, 130]])
    truth = Truth.from_annotations(
        [
            Annotations(
                boxes.astype(np.float32),
                np.array([0, 0, 0, -1]),
                (height, width),
                ignore=np.array([False, False, True, True]),
            )
        ],
        CLASSES,
        ["a"],
    )
    false = Detections(np.array([[160, 100, 170, 110]]), np.array([0.9]), np.array([0]), (height, width), CLASSES)
    rows = {name: np.array(value) for name, value in ROWS.items()}
    return truth, Results.from_detections([false], truth), Failure(0, **rows)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data))).astype(int)


def near(pixels: np.ndarray, name: str) -> np.ndarray:
    return (np.abs(pixels - STROKES[name].color) < 70).all(2)


def test_each_kind_is_drawn_in_its_own_way() -> None:
    files, words = closeup(image(1000, 1200), *scene(1000, 1200), "missed", 10**6)
    part, whole = map(decoded, files)
    # Objects of 10 px are magnified four times, to 40; the window of 140 px is around the one miss.
    assert words == "x 55 to 195, y 35 to 175, magnified 4 times"
    assert part.shape == (560, 560, 3)
    assert whole.shape == (300, 360, 3)
    for name, left in {"found": 100, "missed": 120, "ignored": 140, "false": 160}.items():
        spot = part[4 * (100 - 35) - 8 : 4 * (110 - 35) + 8, 4 * (left - 55) - 8 : 4 * (left + 10 - 55) + 8]
        assert near(spot, name).sum() > 20, name
        inner = spot[12:-12, 12:-12]
        assert np.abs(inner - GRAY).max() < 30, name
    region = part[4 * (120 - 35) - 2 : 4 * (130 - 35) + 2, 4 * (100 - 55) - 2 : 4 * (130 - 55) + 2]
    assert near(region, "ignored").sum() > 20
    # In the small picture a frame says where the part is.
    frame = np.argwhere((whole > 200).all(2))
    assert frame[:, 1].min() == pytest.approx(55 * 0.3, abs=2)
    assert frame[:, 1].max() == pytest.approx(195 * 0.3, abs=2)


def test_a_small_picture_is_shown_whole() -> None:
    files, words = closeup(image(135, 140), *scene(135, 140), "false", 10**6)
    assert words == "magnified 4 times"
    assert [decoded(one).shape for one in files] == [(540, 560, 3)]


def test_what_the_part_is_chosen_for() -> None:
    truth, results, failure = scene(1000, 1200)
    results = replace(results, boxes=results.boxes + np.array([500, 500, 0, 0]))
    assert closeup(image(1000, 1200), truth, results, failure, "missed", 10**6)[1].startswith("x 55 to 195")
    assert closeup(image(1000, 1200), truth, results, failure, "false", 10**6)[1].startswith("x 595 to 735")


@pytest.mark.parametrize(
    ("errors", "window"),
    [
        # The two that lie together, not the one alone; the middle of them is the middle.
        ([[10, 10, 20, 20], [500, 500, 510, 510], [540, 520, 550, 530]], (455, 445, 595, 585)),
        # At the border the window stays inside.
        ([[0, 0, 10, 10]], (0, 0, 140, 140)),
        ([[990, 790, 1000, 800]], (860, 660, 1000, 800)),
        # Large objects need no magnification; objects without area do not break it.
        ([[400, 300, 500, 400]], (170, 70, 730, 630)),
        ([[400, 300, 400, 300]], (365, 265, 435, 335)),
        # Beyond the picture.
        ([[1190, 900, 1210, 920]], (720, 520, 1000, 800)),
    ],
)
def test_where(errors, window) -> None:
    assert where((800, 1000), np.array(errors, float)) == window


def test_where_the_picture_is_small() -> None:
    assert where((60, 70), np.array([[0, 0, 4, 4.0]])) == (0, 0, 70, 60)


def test_files_have_a_limit() -> None:
    pictured = scene(1000, 1200)
    large, _ = closeup(image(1000, 1200, noise=True), *pictured, "missed", 10**7)
    small, _ = closeup(image(1000, 1200, noise=True), *pictured, "missed", 150_000)
    assert max(map(len, small)) <= 75_000 < max(map(len, large))


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(FineSpotError, match=r"here/a\.png: expected 1200x1000 pixels as in the truth but got 1200x999"):
        closeup(image(999, 1200), *scene(1000, 1200), "missed", 10**6)
    truth, results, failure = scene(1000, 1200)
    assert closeup(image(999, 1200), replace(truth, sizes=None), results, failure, "missed", 10**6)[0]


def test_swatches_show_the_strokes() -> None:
    seen = {name: (swatch(name) == STROKES[name].color).all(2) for name in STROKES}
    assert all(shown.any() for shown in seen.values())
    assert len({shown.tobytes() for shown in seen.values()}) == 4
