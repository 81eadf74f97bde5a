"""Loaders of the sample pictures for tests, how batches are compared, and which files are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finespot.data import Augment, Dataset, TrainLoader
from finespot.data import decoded as decoded_module
from finespot.data import pictures as pictures_module
from finespot.structures import Batch

ROOT = Path(__file__).parents[2] / "samples" / "hit-uav"
EVERYTHING = Augment(degrees=5, mixup=0.5, copy_paste=0.5, flip_ud=0.5)


def loader(dataset: Dataset, **options: object) -> TrainLoader:
    return TrainLoader(dataset, **{"imgsz": 128, "batch": 3, **options})  # type: ignore[arg-type]


def assert_equal(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert a.indices == b.indices
        assert torch.equal(a.images, b.images)
        for name in ("boxes", "labels", "image", "ignore"):
            assert torch.equal(getattr(a.targets, name), getattr(b.targets, name)), name
        assert (a.placements, dict(a.dropped)) == (b.placements, dict(b.dropped))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, as they are."""
    names: list[str] = []
    decode = decoded_module.decode

    def watched(file: decoded_module.File) -> np.ndarray:
        names.append(Path(file.path).name)
        return decode(file)

    monkeypatch.setattr(decoded_module, "decode", watched)
    monkeypatch.setattr(pictures_module, "decode", watched)
    return names
