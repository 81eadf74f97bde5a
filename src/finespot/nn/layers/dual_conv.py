"""Dual convolution: a grouped 3x3 and a 1x1 read the same map, and their results are added.

After "DualConv: Dual Convolutional Kernels for Lightweight Deep Neural Networks" (TNNLS 2022): 9 / groups + 1 weights
for each pair of channels in place of 9. Batch norm and activation follow, as in the paper's networks; `plain` leaves
both out, as the released YOLO11-ASS does. A sum of convolutions is one: `merged` puts the 1x1 at the center of the
grouped kernel, written out with zeros between the groups.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import ACTIVATIONS, YOLO_NORM, Norm, Pointwise, folded


class DualConv(nn.Module):
    """Maps (B, c_in, H, W) to (B, c_out, ceil(H / stride), ceil(W / stride)).

    Parameters
    ----------
    plain:
        Neither batch norm nor activation follows.
    activation:
        "silu", "relu" or None for nothing.

    Raises
    ------
    FineSpotError
        The channels do not divide by the groups.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int = 1,
        groups: int = 2,
        plain: bool = False,
        activation: str | None = "silu",
        norm: Norm = YOLO_NORM,
    ) -> None:
        super().__init__()
        if c_in % groups or c_out % groups:
            raise FineSpotError(f"expected multiples of {groups} channels but got {c_in} and {c_out}", where="DualConv")
        self.grouped: nn.Conv2d | None = nn.Conv2d(c_in, c_out, 3, stride, 1, groups=groups, bias=False)
        self.point: nn.Conv2d | None = Pointwise(c_in, c_out, 1, stride, bias=False)
        self.joined: nn.Conv2d | None = None
        self.bn: nn.Module = nn.Identity() if plain else nn.BatchNorm2d(c_out, eps=norm.eps, momentum=norm.momentum)
        self.act: nn.Module = ACTIVATIONS[None if plain else activation]()

    def forward(self, x: Tensor) -> Tensor:
        if self.joined is not None:
            return cast(Tensor, self.act(self.joined(x)))
        assert self.grouped is not None
        assert self.point is not None
        return cast(Tensor, self.act(self.bn(self.grouped(x) + self.point(x))))

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The one 3x3 convolution that does the same, batch norm folded in."""
        assert self.grouped is not None
        assert self.point is not None
        weight = _dense(self.grouped)
        weight[:, :, 1:2, 1:2] += self.point.weight
        folds = isinstance(self.bn, nn.BatchNorm2d)
        made = nn.Conv2d(
            self.grouped.in_channels,
            self.grouped.out_channels,
            3,
            cast("tuple[int, int]", self.grouped.stride),
            1,
            bias=folds,
            device="meta",
        )
        if folds:
            weight, bias = folded(weight, cast(nn.BatchNorm2d, self.bn))
            made.bias = nn.Parameter(bias, requires_grad=False)
        made.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
        return made.train(self.training)

    def fuse(self) -> None:
        """Make one convolution of it, in place, for inference: more weights (9 a pair of channels), one pass.

        Of the plain form nothing is folded, and it stays as it is published. A second call does nothing.
        """
        if isinstance(self.bn, nn.BatchNorm2d):
            self.joined = self.merged()
            self.bn = nn.Identity()
            self.grouped = self.point = None


def _dense(conv: nn.Conv2d) -> Tensor:
    """The kernel of a grouped convolution with zeros where it connects nothing."""
    rows, columns = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    weight = conv.weight.new_zeros(conv.out_channels, conv.in_channels, *conv.weight.shape[2:])
    for group in range(conv.groups):
        own = slice(group * rows, (group + 1) * rows)
        weight[own, group * columns : (group + 1) * columns] = conv.weight[own]
    return weight
