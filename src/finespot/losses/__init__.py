"""Losses on pairs and points, without knowledge of heads."""

from finespot.losses.choice import box_loss
from finespot.losses.classification import sparse_bce
from finespot.losses.distribution import distribution_focal
from finespot.losses.overlap import BoxLoss, OverlapLoss

__all__ = ["BoxLoss", "OverlapLoss", "box_loss", "distribution_focal", "sparse_bce"]
