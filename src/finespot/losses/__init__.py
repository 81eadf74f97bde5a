"""Losses on pairs and points, without knowledge of heads."""

from finespot.losses.classification import sparse_bce
from finespot.losses.distribution import distribution_focal
from finespot.losses.overlap import BoxLoss, OverlapLoss

__all__ = ["BoxLoss", "OverlapLoss", "distribution_focal", "sparse_bce"]
