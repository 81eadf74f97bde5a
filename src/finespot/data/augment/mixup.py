"""Mixup: two training pictures blended, with the objects of both (Zhang et al., mixup, ICLR 2018).

As the YOLO family uses it: the weight comes from Beta(32, 32), so both pictures stay visible, and boxes of both keep
full weight. Of their shapes the larger value stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BETA = 32.0


def random_weight(rng: np.random.Generator) -> float:
    """The share of the first picture."""
    return float(rng.beta(_BETA, _BETA))


def blend(first: NDArray[np.uint8], second: NDArray[np.uint8], weight: float) -> NDArray[np.uint8]:
    """weight * first + (1 - weight) * second; a one-channel picture is repeated where the other has three."""
    mixed = first.astype(np.float32) * np.float32(weight) + second.astype(np.float32) * np.float32(1 - weight)
    mixed += 0.5
    rounded: NDArray[np.uint8] = mixed.astype(np.uint8)
    return rounded
