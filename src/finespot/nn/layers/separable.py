"""Depth-wise separable convolution ("MobileNets", 2017): space channel by channel, then channels at each place."""

from __future__ import annotations

from torch import nn

from finespot.nn.layers.conv import YOLO_NORM, Conv, Norm, named


def separable(c_in: int, c_out: int, kernel: int, stride: int = 1, norm: Norm = YOLO_NORM) -> nn.Sequential:
    """A depth-wise convolution `spatial` and a 1x1 `mix`, each with batch norm and SiLU; shapes as of `Conv`."""
    return named(
        spatial=Conv(c_in, c_in, kernel, stride, groups=c_in, norm=norm),
        mix=Conv(c_in, c_out, norm=norm),
    )
