"""What the tests of the networks share: measured figures, and truth for a small batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from finespot.structures import Targets

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
