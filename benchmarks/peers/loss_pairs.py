"""Box losses of pairs and class losses of logits against torchvision and ultralytics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.loss_inputs import noise, pairs
from benchmarks.peers.loss_rows import Row, leaf, losses, values
from finespot.losses import box_loss
from finespot.losses.focal import focal, quality_focal, varifocal

# The peers' small constants stand in other places than ours; on boxes of 2 px they are worth 1e-7.
PAIRS = 1e-6


def box_rows() -> list[Row]:
    """Values and gradients of 200 pairs, float64."""
    from torchvision import ops
    from ultralytics.utils.metrics import bbox_iou

    def of_torchvision(call: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda a, b: call(a, b, reduction="none")

    def of_ultralytics(**kind: bool) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda a, b: 1 - bbox_iou(a, b, xywh=False, **kind).squeeze(-1)

    peers: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor]]] = [
        ("giou", "torchvision", of_torchvision(ops.generalized_box_iou_loss)),
        ("diou", "torchvision", of_torchvision(ops.distance_box_iou_loss)),
        ("ciou", "torchvision", of_torchvision(ops.complete_box_iou_loss)),
        ("iou", "ultralytics", of_ultralytics()),
        ("giou", "ultralytics", of_ultralytics(GIoU=True)),
        ("diou", "ultralytics", of_ultralytics(DIoU=True)),
        ("ciou", "ultralytics", of_ultralytics(CIoU=True)),
    ]
    rows = []
    for name, peer, theirs in peers:
        pred, target = pairs()
        one, two = leaf(pred), leaf(pred)
        ours = box_loss(name)(one, target, stride=torch.full_like(pred[:, 0], 8.0), image_size=(256, 512))
        rows += losses(
            f"box loss {name}:", peer, {"values": ours}, {"values": theirs(two, target)}, ([one], [two]), PAIRS
        )
    return rows


def class_rows() -> list[Row]:
    """Values and gradients of focal losses, varifocal and quality focal too, of 100 x 3 logits from -8 to 8."""
    from torchvision.ops import sigmoid_focal_loss
    from ultralytics.utils.loss import FocalLoss, VarifocalLoss

    logits = noise((100, 3), 1, -8, 8).float()
    hard = (noise((100, 3), 2) < 0.2).float()
    soft = hard * noise((100, 3), 3, 0.05, 1).float()

    def row(what: str, peer: str, ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Any]) -> list[Row]:
        one, two = leaf(logits), leaf(logits)
        return losses(what, peer, {"values": ours(one)}, {"values": theirs(two)}, ([one], [two]))

    return [
        *row("focal loss:", "torchvision", lambda x: focal(x, hard), lambda x: sigmoid_focal_loss(x, hard)),
        *row(
            "focal loss (alpha 0.4, gamma 1.5):",
            "torchvision",
            lambda x: focal(x, hard, 0.4, 1.5),
            lambda x: sigmoid_focal_loss(x, hard, 0.4, 1.5),
        ),
        *row(
            "focal loss, sum over mean of classes:",
            "ultralytics",
            lambda x: focal(x, hard, 0.25, 1.5).mean(1).sum(),
            lambda x: FocalLoss()(x, hard),
        ),
        # No gradient: ours, as RT-DETR's, takes the weights as constants, theirs lets the gradient through p^gamma.
        values(
            "varifocal loss, sum over mean of classes",
            "ultralytics",
            varifocal(logits, soft).mean(1).sum(),
            VarifocalLoss()(logits, soft, hard),
        ),
        *row(
            "quality focal loss, hard labels:",
            "torchvision",
            lambda x: quality_focal(x, hard),
            lambda x: sigmoid_focal_loss(x, hard, alpha=-1),
        ),
    ]
