"""Drawn training batches: large enough to see, and with the names of the colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finespot.structures import Batch, Classes, Placement, Targets
from finespot.training.pictures import draw_batch
from finespot.writers import palette

CLASSES = Classes(("person", "car", "boat"))


def batch(side: int, labels: list[int], ignore: list[bool]) -> Batch:
    """Four black pictures, with objects in the first one."""
    boxes = torch.tensor([[1 + 8.0 * i, 1, 6 + 8.0 * i, 7] for i in range(len(labels))]).reshape(-1, 4)
    owner = torch.zeros(len(labels), dtype=torch.int64)
    targets = Targets(boxes, torch.tensor(labels, dtype=torch.int64), owner, torch.tensor(ignore, dtype=torch.bool), 4)
    placements = (Placement((1, 1), (0, 0), (side, side)),) * 4
    return Batch(torch.zeros(4, 3, side, side, dtype=torch.uint8), targets, placements, (0, 1, 2, 3))


def drawn(tmp_path: Path, one: Batch, classes: Classes = CLASSES) -> np.ndarray:
    return np.asarray(Image.open(draw_batch(one, classes, tmp_path / "batch.jpg"))).astype(int)


@pytest.mark.parametrize(("side", "shown"), [(32, 320), (64, 320), (96, 384), (640, 640)])
def test_small_pictures_are_enlarged_by_whole_numbers(tmp_path: Path, side: int, shown: int) -> None:
    pixels = drawn(tmp_path, batch(side, [], []))
    assert pixels.shape[:2] == (2 * shown + 2, 2 * shown + 2), "nothing to explain, so no legend"
    pixels = drawn(tmp_path, batch(side, [0], [False]))
    rows, columns = np.nonzero(np.abs(pixels - palette(3)[0]).sum(2)[: 2 * shown] < 60)
    found = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    np.testing.assert_allclose(found, np.array([1, 1, 6, 7]) * (shown // side), atol=2)


def test_the_legend_holds_the_classes_that_occur(tmp_path: Path) -> None:
    def has(pixels: np.ndarray, color: tuple[int, int, int]) -> bool:
        return bool((np.abs(pixels[642:] - color).sum(2) < 40).sum() > 40)

    pixels = drawn(tmp_path, batch(64, [0, 2], [False, False]))
    assert [has(pixels, color) for color in palette(3)] == [True, False, True]
    pixels = drawn(tmp_path, batch(64, [1, -1], [True, True]))
    assert [has(pixels, color) for color in palette(3)] == [False, False, False]
    assert has(pixels, (200, 200, 200)), "ignore regions have a color too"


def test_many_classes_take_several_lines(tmp_path: Path) -> None:
    names = Classes(tuple(f"a rather long name {number}" for number in range(30)))
    few = drawn(tmp_path, batch(512, [0], [False]), names)
    many = drawn(tmp_path, batch(512, list(range(30)), [False] * 30), names)
    assert many.shape[0] - few.shape[0] >= 3 * 24
    assert many.shape[1] == few.shape[1]
