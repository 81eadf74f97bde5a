"""What the tests of the networks share: measured figures, and truth for a small batch."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finespot import zoo
from finespot.structures import Targets
from finespot.weights.foreign.layout import from_file, to_file

# The networks run on tiny pictures here, where more threads only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "data" / "golden.json").read_text())


@pytest.fixture
def make_targets():
    def make(per_picture: list[int], size: tuple[int, int], classes: int, seed: int = 0) -> Targets:
        draw = torch.Generator().manual_seed(seed)
        count = sum(per_picture)
        extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
        sides = torch.rand(count, 2, generator=draw) * 36 + 4
        centers = torch.rand(count, 2, generator=draw) * extent
        low, high = (centers - sides / 2).clamp(min=0), torch.minimum(centers + sides / 2, extent)
        return Targets(
            torch.cat((low, high), 1),
            torch.randint(0, classes, (count,), generator=draw),
            torch.repeat_interleave(torch.arange(len(per_picture)), torch.tensor(per_picture)),
            torch.zeros(count, dtype=torch.bool),
            len(per_picture),
        )

    return make


@pytest.fixture(scope="session")
def formula_detector():
    """Makes a network whose weights follow from their names in the official files, which `entries` gives.

    `stands_for` names the key whose formula a key takes, where the file holds copies.
    """

    def make(name: str, entries: Callable, stands_for: Callable[[str], str] = lambda key: key) -> zoo.Detector:
        architecture = zoo.architecture(name)
        detector = zoo.build(architecture).eval()
        theirs = to_file(detector.state_dict(), entries(architecture))
        made = {key: _formula(stands_for(key), value) for key, value in theirs.items()}
        detector.load_state_dict(from_file(made, entries(architecture), architecture))
        return detector

    return make


@pytest.fixture(scope="session")
def formula_picture() -> torch.Tensor:
    c, y, x = np.meshgrid(np.arange(3), np.arange(160), np.arange(192), indexing="ij")
    values = 0.5 + 0.5 * np.sin(0.05 * x + 0.07 * y + 1.3 * c + 0.001 * x * y)
    return torch.from_numpy(values.astype(np.float32))[None]


def _formula(key: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    r = 2 * _noise(value.numel(), zlib.crc32(key.encode())) - 1
    if key.endswith("running_var"):
        made = 1 + 0.3 * r
    elif key.endswith("weight") and value.ndim > 1:
        made = r * np.sqrt(3 / np.prod(value.shape[1:]))
    elif key.endswith("weight"):
        made = 1 + 0.2 * r
    else:
        made = 0.1 * r
    return torch.from_numpy(made.astype(np.float32).reshape(tuple(value.shape)))


def _noise(count: int, k: int) -> np.ndarray:
    """Values in [0, 1) from an integer hash of position and `k`."""
    mask = np.uint64(0xFFFFFFFF)
    start = np.uint64((k + 1) * 2246822519 & 0xFFFFFFFF)
    h = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + start) & mask
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2246822519) & mask
    h ^= h >> np.uint64(13)
    h = h * np.uint64(3266489917) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2**32
