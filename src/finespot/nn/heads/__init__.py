"""Heads: feature maps to predictions, their loss, decoding and selection."""

from finespot.nn.heads.anchor_free import AnchorFreeHead
from finespot.nn.heads.dense_loss import DenseLoss

__all__ = ["AnchorFreeHead", "DenseLoss"]
