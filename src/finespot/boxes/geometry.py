"""Sides, centers, overlap and hull of pairs of boxes: what measures and losses of pairs are made of.

Boxes are `xyxy` in pixels, (..., 4), and every function broadcasts: `iou(a[:, None], b[None])` compares all with all.
Divisors are raised to `EPS`, not added to, so that exact cases stay exact: equal boxes have IoU 1. (`iou_family` adds
its constants, for parity with the released YOLOv8.) Values and gradients are finite for every finite box, also for
boxes without area or with swapped corners. Halves are taken to float32 first: the area of 256 x 256 is beyond float16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-7
# The smallest side in ratios and logarithms; areas use the sides as they are.
SMALLEST_SIDE = 1e-6


class Extent(NamedTuple):
    """Centers and sides of boxes, each (...)."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor


def precise(boxes: Tensor) -> Tensor:
    """The boxes in float32, or as they are if they are finer."""
    return boxes if boxes.dtype == torch.float64 else boxes.float()


def extent(boxes: Tensor) -> Extent:
    """Centers and sides of `boxes` (..., 4)."""
    x1, y1, x2, y2 = precise(boxes).unbind(-1)
    return Extent((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)


def area(boxes: Tensor) -> Tensor:
    """Areas (...) of `boxes` (..., 4)."""
    boxes = precise(boxes)
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    return width * height


def iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (...) of pairs, 1 for equal boxes and 0 for two of area 0; without gradient where boxes lie apart."""
    a, b = precise(a), precise(b)
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    across, down = sides.clamp(min=0).unbind(-1)
    shared = across * down
    union = area(a) + area(b) - shared
    # Not above 1: rounding keeps shared <= area of either, and twice it is exact.
    return shared / union.clamp(min=EPS)


def hull(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height (...) of the smallest box around both, at least `EPS`: they divide."""
    a, b = precise(a), precise(b)
    sides = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    width, height = sides.clamp(min=EPS).unbind(-1)
    return width, height


def root(square: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 and not infinite. Roots below `EPS` are 0."""
    positive = square > EPS**2
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), 0)


def at_least(boxes: Tensor, side: float) -> Tensor:
    """Boxes whose sides shorter than `side` are stretched to it about the center; other sides as they are."""
    boxes = precise(boxes)
    low, high = boxes[..., :2], boxes[..., 2:]
    middle, short = (low + high) / 2, high - low < side
    return torch.cat((torch.where(short, middle - side / 2, low), torch.where(short, middle + side / 2, high)), -1)


def scaled(boxes: Tensor, ratio: float) -> Tensor:
    """Boxes with `ratio` times their sides and the same centers."""
    boxes = precise(boxes)
    grown = (boxes[..., 2:] - boxes[..., :2]) * ((ratio - 1) / 2)
    return torch.cat((boxes[..., :2] - grown, boxes[..., 2:] + grown), -1)
