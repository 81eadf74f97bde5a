"""Which cells a head computes that computes single cells: those about a peak of the seeker's map, or about an object.

After the SparseHead of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025) and its
released code: the 3 x 3 cells about a local maximum; on coarser maps those that hold one of them, and their neighbors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.nn.windows.selection import peaks
from finespot.structures import Size, Targets


def peak_cells(heat: Tensor, threshold: float) -> Tensor:
    """The 3 x 3 cells about each local maximum of `threshold` or more, of logits (B, 1, H, W): bool, as large."""
    found = peaks(heat.float())
    return _grown(((torch.sigmoid(found) >= threshold) & (found > -math.inf)).float()) > 0


def object_cells(targets: Targets, size: Size, stride: int) -> Tensor:
    """The 3 x 3 cells about each center of an object, (B, 1, H, W) bool on a map of `size` (H, W) and `stride`; ignore
    regions do not count, and centers outside the map are taken to its border.
    """
    real = ~targets.ignore
    boxes = targets.boxes[real]
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / (2 * stride)).long().unbind(1)
    held = boxes.new_zeros((targets.batch, 1, *size))
    held[targets.image[real], 0, y.clamp(0, size[0] - 1), x.clamp(0, size[1] - 1)] = 1
    return _grown(held) > 0


def cells_of_level(likely: Tensor, size: Size) -> Tensor:
    """Which cells (K, h, w) of a level of `size` (h, w) are computed where `likely` (K, 1, H, W) are, on the map of the
    cut: the same, or those that hold one of them and their neighbors.
    """
    if tuple(likely.shape[2:]) == tuple(size):
        return likely[:, 0]
    return _grown(F.adaptive_max_pool2d(likely.float(), size))[:, 0] > 0


def _grown(mask: Tensor) -> Tensor:
    return F.max_pool2d(mask, 3, 1, 1)
