"""A map weighed in its spectrum: multiplied there value by value, and brought back.

Two forms of one function: the fast Fourier transform, and products with matrices of cosines and sines, which runtimes
without complex numbers can compute and every number format of a graph knows. Both are computed in float32, also inside
of autocast: the sum of all cells, which the spectrum holds, leaves the range of a half, and half transforms exist for
powers of two only.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from finespot.errors import unknown
from finespot.nn.layers.full_precision import full_precision

FORMS = ("fft", "matrix")
# Below the square of every modulus that counts; keeps the slope of the root finite where the modulus is zero.
_LEAST = 1e-24


def check_form(form: str) -> str:
    """The form, which must be one of `FORMS`."""
    if form not in FORMS:
        raise unknown("form of the spectrum", form, FORMS)
    return form


def weighed_spectrum(x: Tensor, weights: Tensor, form: str) -> Tensor:
    """|IFFT2(weights * FFT2(x))| of maps (B, C, H, W), in float32; `weights` is a real map of the same shape.

    In a graph that is traced the form is always "matrix".
    """
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    with full_precision(x.device):
        if form == "matrix" or tracing:
            return _by_matrices(x.float(), weights.float())
        spectrum = weights.float() * torch.fft.fft2(x.float())
        return cast(Tensor, torch.fft.ifft2(spectrum).abs())


def _by_matrices(x: Tensor, weights: Tensor) -> Tensor:
    height, width = x.shape[2:]
    (cos_h, sin_h), (cos_w, sin_w) = _waves(height, x.device), _waves(width, x.device)
    # (C_h + i S_h) x (C_w + i S_w), weighed.
    even, odd = cos_h @ x, sin_h @ x
    real = weights * (even @ cos_w - odd @ sin_w)
    imaginary = weights * (even @ sin_w + odd @ cos_w)
    # (C_h - i S_h) (real + i imaginary) (C_w - i S_w).
    even, odd = cos_h @ real + sin_h @ imaginary, cos_h @ imaginary - sin_h @ real
    real, imaginary = even @ cos_w + odd @ sin_w, odd @ cos_w - even @ sin_w
    return (real.square() + imaginary.square()).clamp(min=_LEAST).sqrt() / (height * width)


def _waves(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices (count, count) of cos and -sin of 2 pi k n / count; both are symmetric."""
    steps = torch.arange(count, device=device)
    # Whole turns are taken off while the numbers are whole.
    angle = (steps[:, None] * steps % count).float() * (2 * math.pi / count)
    return angle.cos(), -angle.sin()
