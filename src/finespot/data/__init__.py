"""Truth in: data sets of several formats behind one interface, augmentation, batches for training."""

from finespot.data.augment import Augment
from finespot.data.dataset import Dataset, dataset_splits, open_dataset
from finespot.data.loader import TrainLoader
from finespot.data.tiles import TileSettings

__all__ = ["Augment", "Dataset", "TileSettings", "TrainLoader", "dataset_splits", "open_dataset"]
