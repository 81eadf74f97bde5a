"""The box form of DETR: center and size as shares of the network input, for torch tensors.

`extent` is (width, height, width, height) of the input in pixels. The logit form is what layers add corrections to.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Shares this close to 0 or 1 are taken as this far from them, so that their logits are finite.
EPS = 1e-5


def to_corners(boxes: Tensor, extent: Tensor) -> Tensor:
    """Boxes (..., 4) as shares (cx, cy, w, h) to xyxy in pixels."""
    centers, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centers - halves, centers + halves), -1) * extent


def to_shares(boxes: Tensor, extent: Tensor) -> Tensor:
    """Boxes (..., 4) xyxy in pixels to shares (cx, cy, w, h)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((low + high) / 2, high - low), -1) / extent


def logits(shares: Tensor) -> Tensor:
    """The inverse of the sigmoid, finite for 0 and 1 too."""
    inside = shares.clamp(0, 1)
    return torch.log(inside.clamp(min=EPS) / (1 - inside).clamp(min=EPS))
