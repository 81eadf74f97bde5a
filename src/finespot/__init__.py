"""FineSpot finds small objects in large pictures.

`finespot.load(weights).predict(source)` detects, `finespot.train(model, data)` trains. Importing this package
loads neither torch nor numpy: the public names are fetched when they are first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# OpenMP's threads spin while they wait for each other, so two processes (or the network and the thread that decodes)
# take the cores from one another: with seven busy processes on two cores a 640 px picture took 2570 ms spinning and
# 133 ms sleeping. It must be set before torch is loaded; what the environment says already is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from finespot.errors import FineSpotError
    from finespot.inference import Model, load
    from finespot.structures import Annotations, Classes, Detections, Tiling
    from finespot.training import train

_WHERE = {
    "FineSpotError": "finespot.errors",
    "Annotations": "finespot.structures",
    "Classes": "finespot.structures",
    "Detections": "finespot.structures",
    "Tiling": "finespot.structures",
    "Model": "finespot.inference",
    "load": "finespot.inference",
    "train": "finespot.training",
}

__all__ = [
    "Annotations",
    "Classes",
    "Detections",
    "FineSpotError",
    "Model",
    "Tiling",
    "__version__",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finespot' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
