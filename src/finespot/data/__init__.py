"""Truth in: data sets of several formats behind one interface, augmentation, batches for training.

The public names are fetched when they are first used: batches need torch, and reading a data set does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finespot.data.augment import Augment
    from finespot.data.dataset import Dataset, dataset_splits, open_dataset
    from finespot.data.loader import TrainLoader
    from finespot.data.tiles import TileSettings

_WHERE = {
    "Augment": "finespot.data.augment",
    "Dataset": "finespot.data.dataset",
    "TileSettings": "finespot.data.tiles",
    "TrainLoader": "finespot.data.loader",
    "dataset_splits": "finespot.data.dataset",
    "open_dataset": "finespot.data.dataset",
}

__all__ = ["Augment", "Dataset", "TileSettings", "TrainLoader", "dataset_splits", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'finespot.data' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
