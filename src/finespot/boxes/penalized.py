"""IoU less penalties, or rescaled: EIoU, SIoU, MPDIoU, Shape-IoU, Inner-IoU, Focaler-IoU.

After "Focal and Efficient IoU Loss" (arXiv 2101.08158), "SIoU Loss" (2205.12740), "MPDIoU" (2307.07662), "Shape-IoU"
(2312.17663), "Inner-IoU" (2311.02877) and "Focaler-IoU" (2401.10525).

Boxes `a` (prediction) and `b` (truth) are (..., 4) xyxy in pixels and broadcast; results are (...), 1 for equal boxes.
Gradients are finite everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from finespot.boxes.geometry import EPS, SMALLEST_SIDE, extent, hull, iou, precise, scaled
from finespot.structures import Size

_SHAPE_POWER = 4


def eiou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the squared distances of centers, widths and heights, each in units of the hull."""
    one, other = extent(a), extent(b)
    width, height = hull(a, b)
    apart = (one.x - other.x).square() + (one.y - other.y).square()
    shape = ((one.width - other.width) / width).square() + ((one.height - other.height) / height).square()
    return iou(a, b) - apart / (width.square() + height.square()).clamp(min=EPS) - shape


def siou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less half of a distance cost, which falls where the centers lie level or plumb, and a shape cost."""
    one, other = extent(a), extent(b)
    width, height = hull(a, b)
    x, y = (one.x - other.x).abs(), (one.y - other.y).abs()
    # The sine of twice the angle; the square of EPS, as it divides squared pixels.
    angle = 2 * x * y / (x.square() + y.square()).clamp(min=EPS**2)
    gamma = 2 - angle
    distance = 2 - torch.exp(-gamma * (x / width).square()) - torch.exp(-gamma * (y / height).square())
    shape = _shape_cost(one.width, other.width) + _shape_cost(one.height, other.height)
    return iou(a, b) - (distance + shape) / 2


def mpdiou(a: Tensor, b: Tensor, image_size: Size) -> Tensor:
    """IoU less the squared distances of two corners in units of the squared diagonal of the image (height, width).

    The image must be in the units of the boxes. For tiny boxes that leaves little beside the IoU.
    """
    height, width = image_size
    return iou(a, b) - (precise(a) - precise(b)).square().sum(-1) / (height**2 + width**2)


def shape_iou(a: Tensor, b: Tensor, scale: float = 0.0) -> Tensor:
    """IoU less a distance and half a shape cost, weighted by the sides of `b` to the power of `scale`."""
    one, other = extent(a), extent(b)
    log_ratio = other.width.clamp(min=SMALLEST_SIDE).log() - other.height.clamp(min=SMALLEST_SIDE).log()
    # Twice w^s / (w^s + h^s), without powers that overflow.
    by_width, by_height = 2 * torch.sigmoid(scale * log_ratio), 2 * torch.sigmoid(-scale * log_ratio)
    width, height = hull(a, b)
    diagonal = (width.square() + height.square()).clamp(min=EPS)
    apart = (by_height * (one.x - other.x).square() + by_width * (one.y - other.y).square()) / diagonal
    shape = _shape_cost(one.width, other.width, by_height) + _shape_cost(one.height, other.height, by_width)
    return iou(a, b) - apart - shape / 2


def inner_iou(a: Tensor, b: Tensor, ratio: float = 1.2) -> Tensor:
    """IoU of both boxes with `ratio` times their sides: above 1 boxes that lie near each other overlap already."""
    return iou(scaled(a, ratio), scaled(b, ratio))


def focaler_iou(a: Tensor, b: Tensor, d: float = 0.0, u: float = 0.95) -> Tensor:
    """IoU stretched so that `d` becomes 0 and `u` becomes 1; without gradient outside."""
    return ((iou(a, b) - d) / (u - d)).clamp(0, 1)


def _shape_cost(own: Tensor, its: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    longer = torch.maximum(own, its).clamp(min=SMALLEST_SIDE)
    return (1 - torch.exp(-weight * (own - its).abs() / longer)) ** _SHAPE_POWER
