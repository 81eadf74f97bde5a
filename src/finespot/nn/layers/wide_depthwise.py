"""A depthwise convolution of a large kernel that does not slow down on a CPU.

There oneDNN (in torch 2.13) leaves its quick routine where the rows of a kernel are longer than `QUICK` cells, and its
gradient of the weights takes several times what the rest does. So two kernels, the left and the right columns, each
over the whole map, give the same sum; and the gradient of the weights, the correlation of a map with the gradient of
the output, is a product of their Fourier transforms. Measured with 13x13 on 128 channels at 128x128, one thread: 15 ms
in place of 28 without gradients, and 94 in place of 238 with them, forwards and backwards.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from finespot.structures import Size

# The longest row of a depthwise kernel that CPUs are quick with.
QUICK = 11


class WideDepthwise(nn.Conv2d):
    """`nn.Conv2d` of as many groups as channels, stride 1 and no dilation; graphs and other devices keep its own form.

    Under autocast on a CPU it computes in float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if tracing or input.device.type != "cpu" or self.stride != (1, 1) or self.dilation != (1, 1):
            return super().forward(input)
        padding = cast(Size, self.padding)
        # torch has no Fourier transform of bfloat16 on a CPU.
        precise = input.float() if torch.is_autocast_enabled("cpu") else input
        with torch.autocast("cpu", enabled=False):
            if torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad):
                return cast(Tensor, cast(Any, _Learning.apply)(precise, self.weight, self.bias, padding))
            return _in_two(precise, self.weight, self.bias, padding)


class _Learning(torch.autograd.Function):
    """The same with gradients."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Size) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.padding = padding
        return _in_two(input, weight, bias, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad: Tensor = grads[0]
        input, weight = ctx.saved_tensors
        wanted, padding, kernel = ctx.needs_input_grad, ctx.padding, (weight.shape[2], weight.shape[3])
        of_input = of_weight = None
        if wanted[0]:
            of_input = conv2d_input(input.shape, weight, grad, padding=padding, groups=len(weight))
        if wanted[1]:
            of_weight = _correlation(input, grad, kernel, padding)[:, None].to(weight.dtype)
        return of_input, of_weight, grad.sum((0, 2, 3)) if wanted[2] else None, None


def _in_two(input: Tensor, weight: Tensor, bias: Tensor | None, padding: Size) -> Tensor:
    """The convolution as a sum of two of less columns; each of them is wider by the columns of the other."""
    left, right = weight.tensor_split((weight.shape[3] // 2 + 1,), 3)
    first = F.conv2d(input, left, bias, padding=padding, groups=len(weight))
    second = F.conv2d(input, right, padding=padding, groups=len(weight))
    across = first.shape[3] - right.shape[3]
    return first[..., :across] + second[..., left.shape[3] :]


def _correlation(maps: Tensor, grad: Tensor, kernel: Size, padding: Size) -> Tensor:
    """(C, rows, columns): for each shift of a kernel the sum of `maps` times the `grad` of what was made of them."""
    # Long enough that what reaches over one end does not come in at the other.
    sides = [_quick_length(max(m, g) + k) for m, g, k in zip(maps.shape[2:], grad.shape[2:], kernel)]
    total = torch.zeros(())
    # One picture after the other, as spectra take twice the memory of maps.
    for one, cost in zip(maps, grad):
        spectra = [torch.fft.rfft2(x.float().contiguous(), s=sides) for x in (one, cost)]
        total = total + spectra[0] * spectra[1].conj()
    found: Tensor = torch.fft.irfft2(total, s=sides).roll(padding, (1, 2))
    return found[:, : kernel[0], : kernel[1]]


def _quick_length(least: int) -> int:
    """The smallest length of no prime factor above 5: others take transforms longer."""
    while True:
        rest = least
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return least
        least += 1
