"""What the tests of the networks share: measured figures, and truth for a small batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from formula_weights import formula, picture

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
        made = {key: formula(stands_for(key), value) for key, value in theirs.items()}
        detector.load_state_dict(from_file(made, entries(architecture), architecture))
        return detector

    return make


@pytest.fixture(scope="session")
def formula_picture() -> torch.Tensor:
    return picture()
