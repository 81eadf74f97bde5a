"""Weights and a picture that follow from formulas, for which the originals' outputs are on record."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor


def formula(key: str, value: Tensor, number: int | None = None) -> Tensor:
    """The value of a tensor of the official file: by its name, or by its `number` in the file.

    Constants, which some files hold beside their weights, stay as they are.
    """
    if not value.is_floating_point() or "dfl" in key or key.endswith("anchors"):
        return value
    r = 2 * noise(value.numel(), zlib.crc32(key.encode()) if number is None else number) - 1
    if key.endswith("running_var"):
        made = 1 + 0.3 * r
    elif key.endswith("weight") and value.ndim > 1:
        made = r * np.sqrt(3 * len(value) / value.numel())
    elif key.endswith("weight"):
        made = 1 + 0.2 * r
    else:
        made = 0.1 * r
    return torch.from_numpy(made.astype(np.float32).reshape(tuple(value.shape)))


def picture(height: int = 160, width: int = 192) -> Tensor:
    """One picture (1, 3, height, width) in 0..1."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing="ij")
    values = 0.5 + 0.5 * np.sin(0.05 * x + 0.07 * y + 1.3 * c + 0.001 * x * y)
    return torch.from_numpy(values.astype(np.float32))[None]


def noise(count: int, k: int) -> np.ndarray:
    """Values in [0, 1) from an integer hash of position and `k`."""
    mask = np.uint64(0xFFFFFFFF)
    start = np.uint64((k + 1) * 2246822519 & 0xFFFFFFFF)
    h = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + start) & mask
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) & mask
    return (h ^ (h >> np.uint64(16))).astype(np.float64) / 2**32
