"""Overlap of boxes: IoU between two sets, and IoU, GIoU, DIoU, CIoU of pairs.

After "Generalized IoU" (2019) and "Distance-IoU Loss" (2020). The constants of CIoU are those of the released YOLOv8
(eps 1e-7 on heights, union and squared diagonal; no gradient through its weight alpha), so that losses agree with it.
All boxes are `xyxy`; pixels or cells, as long as both sides use the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from finespot.errors import unknown

EPS = 1e-7
KINDS = ("iou", "giou", "diou", "ciou")


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every box of `a` (N, 4) with every box of `b` (M, 4): (N, M). Two empty boxes have 0."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp_(min=0).prod(2)
    area_a = (a[:, 2:] - a[:, :2]).prod(1)
    area_b = (b[:, 2:] - b[:, :2]).prod(1)
    union = area_a[:, None] + area_b[None, :] - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(union))


def iou_family(a: Tensor, b: Tensor, kind: str = "iou") -> Tensor:
    """Overlap of the pairs `a` (..., 4) and `b` (..., 4), by `kind`: iou, giou, diou or ciou. Shape (...).

    Differentiable with finite gradients, for boxes without area too. 1 means equal; giou, diou and ciou go below 0
    for boxes that lie apart.
    """
    if kind not in KINDS:
        raise unknown("overlap", kind, KINDS)
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    aw, ah = ax2 - ax1, ay2 - ay1 + EPS
    bw, bh = bx2 - bx1, by2 - by1 + EPS
    shared = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0) * (
        torch.minimum(ay2, by2) - torch.maximum(ay1, by1)
    ).clamp(min=0)
    union = aw * ah + bw * bh - shared + EPS
    iou = shared / union
    if kind == "iou":
        return iou
    hull_w = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    hull_h = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    if kind == "giou":
        hull = hull_w * hull_h + EPS
        # Of boxes without area, the constants alone can make the union the larger one.
        return iou - (hull - union).clamp(min=0) / hull
    diagonal = hull_w.square() + hull_h.square() + EPS
    apart = ((bx1 + bx2 - ax1 - ax2).square() + (by1 + by2 - ay1 - ay2).square()) / 4
    if kind == "diou":
        return iou - apart / diagonal
    v = (4 / math.pi**2) * (torch.atan(bw / bh) - torch.atan(aw / ah)).square()
    with torch.no_grad():
        alpha = v / (v - iou + (1 + EPS))
    return iou - (apart / diagonal + v * alpha)
