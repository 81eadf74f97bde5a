"""Boxes as deltas of anchor boxes: shift of the center in anchor sides, logarithm of the change of size.

After "Rich feature hierarchies" (R-CNN, 2013, appendix C), unweighted; growth is limited as released detectors do.
Anchors are rows of `points`: center x, center y, stride, width, height.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A side grows to at most 62.5 times its anchor's.
MOST = math.log(1000 / 16)
# Pixels below which a side of a target is taken as this, so that its logarithm is finite.
_LEAST = 1e-2


def boxes_of(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy of deltas (..., 4) at anchors (..., 5)."""
    sides = anchors[..., 3:5]
    centers = anchors[..., :2] + deltas[..., :2] * sides
    half = deltas[..., 2:].clamp(max=MOST).exp() * sides / 2
    return torch.cat((centers - half, centers + half), -1)


def deltas_of(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Deltas (..., 4) that make `boxes` (..., 4) xyxy of anchors (..., 5)."""
    sides = anchors[..., 3:5]
    centers, size = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=_LEAST)
    return torch.cat(((centers - anchors[..., :2]) / sides, (size / sides).log()), -1)
