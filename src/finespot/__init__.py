"""FineSpot finds small objects in large pictures.

`finespot.load(weights).predict(source)` detects, `finespot.train(model, data)` trains. Importing this package
loads neither torch nor numpy: the public names are fetched when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
