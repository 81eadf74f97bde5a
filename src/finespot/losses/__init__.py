"""Losses on pairs and points, without knowledge of heads."""

from finespot.losses.blend import Blend, box_loss
from finespot.losses.classification import sparse_bce
from finespot.losses.distances import dotd_loss, gcd_loss, kld_loss, nwd_loss, safit_loss, simd_loss
from finespot.losses.distribution import distribution_focal
from finespot.losses.focal import focal, quality_focal, varifocal
from finespot.losses.overlap import BoxLoss, SimilarityLoss
from finespot.losses.powerful import PowerfulV1, PowerfulV2
from finespot.losses.scale_adaptive import ScaleAdaptive
from finespot.losses.wise import WiseV1, WiseV3
from finespot.losses.wrapped import focaler_loss, inner_loss

__all__ = [
    "Blend",
    "BoxLoss",
    "PowerfulV1",
    "PowerfulV2",
    "ScaleAdaptive",
    "SimilarityLoss",
    "WiseV1",
    "WiseV3",
    "box_loss",
    "distribution_focal",
    "dotd_loss",
    "focal",
    "focaler_loss",
    "gcd_loss",
    "inner_loss",
    "kld_loss",
    "nwd_loss",
    "quality_focal",
    "safit_loss",
    "simd_loss",
    "sparse_bce",
    "varifocal",
]
