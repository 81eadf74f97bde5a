"""The omni-kernel module: very large, strip-shaped and small kernels beside weights of channels and of frequencies.

After "Omni-Kernel Network for Image Restoration" (2024), in the cross-stage frame that LRS-DETR (2025) puts around it.
What differs: the first of the two transforms there multiplies each channel's spectrum by one number and takes the
modulus, which is |number * channel| exactly, so nothing is transformed. The second has two forms, see `spectrum`. The
released code holds a convolution that never runs (2,560 parameters at 128 channels); `keep_unused` keeps it, frozen.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Conv, Fork, Pointwise
from finespot.nn.layers.spectrum import check_form, weighed_spectrum

# Cells along the long side of a kernel.
KERNEL = 31


class FGM(nn.Module):
    """Frequency gate: alpha * |IFFT2(weigh(x) * FFT2(pass(x)))| + beta * x, by channel; at first beta * x alone.

    (B, C, H, W) to the same shape. `spectrum` is "fft" or "matrix".
    """

    no_decay = ("alpha", "beta")

    def __init__(self, channels: int, spectrum: str = "fft", keep_unused: bool = False) -> None:
        super().__init__()
        self.spectrum = check_form(spectrum)
        self.weigh = Pointwise(channels, channels, 1)
        self.transformed = Pointwise(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(channels, 1, 1))
        # Never runs: published parameter counts hold it.
        self.unused = nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels) if keep_unused else None
        if self.unused is not None:
            self.unused.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        gated = weighed_spectrum(self.transformed(x), self.weigh(x), self.spectrum)
        return gated.to(x.dtype) * self.alpha + x * self.beta


class OmniKernel(nn.Module):
    """(B, C, H, W) to the same shape; all convolutions have a bias, and there is no norm."""

    def __init__(self, channels: int, spectrum: str = "fft", keep_unused: bool = False) -> None:
        super().__init__()

        def depthwise(rows: int, columns: int) -> nn.Conv2d:
            return nn.Conv2d(channels, channels, (rows, columns), padding=(rows // 2, columns // 2), groups=channels)

        self.entry = Pointwise(channels, channels, 1)
        self.wide = depthwise(1, KERNEL)
        self.tall = depthwise(KERNEL, 1)
        self.large = depthwise(KERNEL, KERNEL)
        self.point = depthwise(1, 1)
        self.weigh_frequencies = Pointwise(channels, channels, 1)
        self.weigh_cells = Pointwise(channels, channels, 1)
        self.gate = FGM(channels, spectrum, keep_unused)
        self.exit = Pointwise(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.entry(x))
        # All frequencies of a channel times one number, and the modulus of what comes back.
        weighed = (self.weigh_frequencies(_mean(y)) * y).abs()
        gated = self.gate(self.weigh_cells(_mean(weighed)) * weighed)
        summed = x + self.wide(y) + self.tall(y) + self.large(y) + self.point(y) + gated
        return cast(Tensor, self.exit(F.relu(summed)))


class SMEModule(nn.Module):
    """A quarter of the channels goes through an omni-kernel, the others past it: (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, spectrum: str = "fft", keep_unused: bool = False) -> None:
        super().__init__()
        through = channels // 4
        self.entry = Fork(channels, (through, channels - through))
        self.kernel = OmniKernel(through, spectrum, keep_unused)
        self.exit = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        through, beside = self.entry(x)
        return cast(Tensor, self.exit(torch.cat((self.kernel(through), beside), 1)))


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)
