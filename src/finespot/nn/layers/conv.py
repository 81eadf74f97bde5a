"""Convolution with batch norm and activation, and several of them that read one map.

The pair "convolution without bias, batch norm (eps 1e-3, momentum 0.03), SiLU" is the unit that the YOLO families
since v5 are made of; others take torch's own norm constants, or ReLU. Where their blocks cut the output of one 1x1
convolution in two (C2f, C3k2, C2PSA, attention), ours use separate convolutions, a `Fork`, so that a pruner sees one
tensor per consumer; the parameter count is the same, since batch norm works on single channels. `fuse` folds batch norm
in and joins a fork into one convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.wide_depthwise import QUICK, WideDepthwise


class Norm(NamedTuple):
    """Constants of a batch norm."""

    eps: float
    momentum: float


YOLO_NORM = Norm(eps=1e-3, momentum=0.03)
TORCH_NORM = Norm(eps=1e-5, momentum=0.1)


# Elements of an input of one picture up to which torch does not take oneDNN.
_TOO_SMALL = 20_480


class Pointwise(nn.Conv2d):
    """A 1x1 convolution that does not slow down on one CPU thread.

    There torch (2.11 to 2.13) gives 1x1 kernels at batches below 16 to an old matrix routine, unless they are dilated.
    Dilation means nothing to a single tap, so eager CPU runs claim it and get oneDNN; graphs keep the plain form.
    Measured on yolo11n at 640, batch 8, one thread: 1.2 times the training rate. Small single maps torch never gives to
    oneDNN, and the routine that they get when dilated is by far the slowest.
    """

    def forward(self, input: Tensor) -> Tensor:
        tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if tracing or input.device.type != "cpu" or (input.shape[0] == 1 and input.numel() <= _TOO_SMALL):
            return super().forward(input)
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, (2, 2), self.groups)


class Swish(nn.SiLU):
    """SiLU, in place except under autograd, which would copy the input first: 1.02 times the training rate."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=not input.requires_grad)


ACTIVATIONS: dict[str | None, Callable[[], nn.Module]] = {
    "silu": Swish,
    "relu": lambda: nn.ReLU(inplace=True),
    None: nn.Identity,
}


class Conv(nn.Module):
    """Convolution (no bias), batch norm, activation ("silu", "relu" or None for nothing).

    Maps (B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride)) with the `padding` of odd kernels, which is
    dilation * (kernel // 2) where it is not given. Without `folds`, fusing leaves the batch norm where it is, as some
    released networks do, whose fused counts these are to be equal to.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: str | None = "silu",
        norm: Norm = YOLO_NORM,
        padding: int | None = None,
        dilation: int = 1,
        folds: bool = True,
    ) -> None:
        super().__init__()
        self.folds = folds
        wide = kernel > QUICK and groups == c_in == c_out
        kind = Pointwise if kernel == 1 else WideDepthwise if wide else nn.Conv2d
        around = dilation * (kernel // 2) if padding is None else padding
        self.conv = kind(c_in, c_out, kernel, stride, around, dilation, groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=norm.eps, momentum=norm.momentum)
        self.act: nn.Module = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x))

    def after(self, x: Tensor) -> Tensor:
        """What follows the convolution."""
        return cast(Tensor, self.act(self.bn(x)))

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold batch norm into the convolution, in place, for inference. A second call does nothing."""
        bn = self.bn
        if not self.folds or not isinstance(bn, nn.BatchNorm2d):
            return
        old = self.conv
        weight, bias = folded(old.weight, bn)
        self.conv = _convolution(old, weight, bias)
        self.bn = nn.Identity()


class Fork(nn.Module):
    """Convolutions of one kind that read the same map: (B, c_in, H, W) to one map per entry of `widths`.

    Without `folds`, fusing leaves them as they are.
    """

    def __init__(
        self,
        c_in: int,
        widths: Sequence[int],
        kernel: int = 1,
        activation: str | None = "silu",
        norm: Norm = YOLO_NORM,
        folds: bool = True,
    ) -> None:
        super().__init__()
        self.folds = folds
        self.branches = nn.ModuleList(
            [Conv(c_in, width, kernel, activation=activation, norm=norm, folds=folds) for width in widths]
        )
        self.joined: Conv | None = None
        self.widths = list(widths)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.joined is not None:
            return tuple(self.joined(x).split(self.widths, dim=1))
        return tuple(branch(x) for branch in self.branches)

    @torch.no_grad()
    def fuse(self) -> None:
        """Join the branches into one convolution that reads the map once, in place, for inference."""
        if self.joined is not None or not self.folds:
            return
        branches = [cast(Conv, branch) for branch in self.branches]
        for branch in branches:
            branch.fuse()
        self.widths = [branch.conv.out_channels for branch in branches]
        joined = branches[0]
        weight = torch.cat([branch.conv.weight for branch in branches])
        bias = torch.cat([cast(Tensor, branch.conv.bias) for branch in branches])
        joined.conv = _convolution(joined.conv, weight, bias)
        self.joined = joined
        self.branches = nn.ModuleList()


def folded(weight: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what one of `weight` (c_out, c_in, k, k) and a batch norm do."""
    # Folded in double precision: running variances span many powers of ten after training.
    scale = bn.weight.double() / torch.sqrt(cast(Tensor, bn.running_var).double() + bn.eps)
    bias = bn.bias.double() - cast(Tensor, bn.running_mean).double() * scale
    return (weight.double() * scale.reshape(-1, 1, 1, 1)).to(weight.dtype), bias.to(weight.dtype)


def _convolution(like: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A frozen convolution with these weights and the geometry of `like`."""
    made = type(like)(
        like.in_channels,
        weight.shape[0],
        cast("tuple[int, int]", like.kernel_size),
        cast("tuple[int, int]", like.stride),
        cast("tuple[int, int]", like.padding),
        cast("tuple[int, int]", like.dilation),
        like.groups,
        bias=True,
        device="meta",
    )
    made.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
    made.bias = nn.Parameter(bias, requires_grad=False)
    return made.train(like.training)


def named(**parts: nn.Module) -> nn.Sequential:
    """Parts one after another, each under its name."""
    made = nn.Sequential()
    for name, part in parts.items():
        made.add_module(name, part)
    return made
