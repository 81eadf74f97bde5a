"""Augmentation for small objects, one idea a file."""

from finespot.data.augment.settings import Augment

__all__ = ["Augment"]
