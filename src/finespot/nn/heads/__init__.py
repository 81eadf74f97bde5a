"""Heads: feature maps to predictions, their loss, decoding and selection."""

from finespot.nn.heads.anchor_based import AnchorBasedHead
from finespot.nn.heads.anchor_free import AnchorFreeHead
from finespot.nn.heads.anchor_loss import AnchorLoss
from finespot.nn.heads.criterion import Criterion
from finespot.nn.heads.decoupled import DecoupledHead
from finespot.nn.heads.decoupled_anchor import DecoupledAnchorHead
from finespot.nn.heads.dense import DenseHead
from finespot.nn.heads.dense_loss import DenseLoss
from finespot.nn.heads.later import boxes_later
from finespot.nn.heads.retina import RetinaHead
from finespot.nn.heads.retina_loss import RetinaLoss
from finespot.nn.heads.rtdetr import RTDETRHead
from finespot.nn.heads.rtmdet_loss import RTMDetLoss
from finespot.nn.heads.set_loss import SetLoss
from finespot.nn.heads.shared_conv import SharedConvHead
from finespot.nn.heads.yolox_loss import YOLOXLoss

__all__ = [
    "AnchorBasedHead",
    "AnchorFreeHead",
    "AnchorLoss",
    "Criterion",
    "DecoupledAnchorHead",
    "DecoupledHead",
    "DenseHead",
    "DenseLoss",
    "RTDETRHead",
    "RTMDetLoss",
    "RetinaHead",
    "RetinaLoss",
    "SetLoss",
    "SharedConvHead",
    "YOLOXLoss",
    "boxes_later",
]
