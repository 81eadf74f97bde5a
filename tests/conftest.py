"""What all tests share: one thread for each of the parallel test processes, and where the sample pictures are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The networks run on tiny pictures here, where more threads only wait for each other. Set before torch is loaded, so
# that processes started by a test follow.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the sample set: HIT-UAV, 8 + 4 pictures."""
    return Path(__file__).parent.parent / "samples" / "hit-uav"
