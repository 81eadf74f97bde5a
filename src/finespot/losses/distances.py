"""Box losses on Gaussians and points, which pull a box that does not overlap its target yet.

See `finespot.boxes.gaussian` for the similarities. Where the size of the target divides (GCD, KLD), targets are taken
as at least a pixel wide and high: boxes drawn by hand can have no size, and would give no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor

from finespot.boxes.gaussian import dotd, gcd, kld, nwd, safit, simd
from finespot.boxes.geometry import at_least
from finespot.losses.options import require
from finespot.losses.overlap import SimilarityLoss
from finespot.registry import register

_SMALLEST_TARGET = 1.0
# The constant of NWD where nobody knows the data: the mean side of AI-TOD's objects.
NWD_CONSTANT = 12.8


@register("box_loss", "nwd")
def nwd_loss(constant: float | Literal["auto"] = NWD_CONSTANT) -> SimilarityLoss:
    """1 - NWD; `constant` is the mean side of the data set's objects in input pixels.

    Training puts the mean of its own data in the place of "auto"; where nobody does, that is the default.
    """
    value = NWD_CONSTANT if constant == "auto" else float(constant)
    require(value > 0, "nwd", "constant", "above 0", constant)
    return SimilarityLoss(partial(nwd, constant=value))


@register("box_loss", "gcd")
def gcd_loss() -> SimilarityLoss:
    """1 - GCD: scale-free."""
    return SimilarityLoss(partial(_with_size, similarity=gcd))


@register("box_loss", "kld")
def kld_loss() -> SimilarityLoss:
    """1 - 1 / (1 + KL(pred || target)): scale-free; the size of the target divides."""
    return SimilarityLoss(partial(_with_size, similarity=kld))


@register("box_loss", "safit")
def safit_loss(constant: float = 32.0) -> SimilarityLoss:
    """1 - SAFit: NWD below and IoU above targets of about `constant` input pixels a side."""
    require(constant > 0, "safit", "constant", "above 0", constant)
    return SimilarityLoss(partial(safit, constant=constant))


@register("box_loss", "dotd")
def dotd_loss(constant: float = 12.7) -> SimilarityLoss:
    """1 - DotD, the distance of the centers alone: to be blended with a loss that knows sizes."""
    require(constant > 0, "dotd", "constant", "above 0", constant)
    return SimilarityLoss(partial(dotd, constant=constant))


@register("box_loss", "simd")
def simd_loss(m: float = 6.13, n: float = 4.59) -> SimilarityLoss:
    """1 - SimD; `m` and `n` weigh x and y."""
    require(m > 0, "simd", "m", "above 0", m)
    require(n > 0, "simd", "n", "above 0", n)
    return SimilarityLoss(partial(simd, m=m, n=n))


def _with_size(pred: Tensor, target: Tensor, similarity: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return similarity(pred, at_least(target, _SMALLEST_TARGET))
