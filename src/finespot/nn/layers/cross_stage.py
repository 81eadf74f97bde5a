"""Cross-stage partial block with three convolutions, the form of YOLOv5, YOLOX and RTMDet.

After "CSPNet" (2019): half of the channels goes through a chain of units, the other half beside it, a 1x1 convolution
joins them. The units are the family's. RTMDet (2022, section 3.2) weighs the joined channels first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import YOLO_NORM, Conv, Fork, Norm, Pointwise


class ResidualPair(nn.Module):
    """Two layers, one after the other; the input is added where `shortcut` is set."""

    def __init__(self, first: nn.Module, second: nn.Module, shortcut: bool) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return cast(Tensor, x + y if self.shortcut else y)


class ChannelAttention(nn.Module):
    """Each channel times a weight from 0 to 1, a hard sigmoid of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = Pointwise(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.weigh(x.mean((2, 3), keepdim=True)))


class CrossStage(nn.Module):
    """Maps (B, c_in, H, W) to (B, c_out, H, W) by way of `repeats` units over c_out / 2 channels.

    `unit(channels)` makes one. With `attention` the joined halves are weighed before the last convolution.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        unit: Callable[[int], nn.Module],
        repeats: int,
        norm: Norm = YOLO_NORM,
        attention: bool = False,
    ) -> None:
        super().__init__()
        hidden = c_out // 2
        self.entry = Fork(c_in, (hidden, hidden), norm=norm)
        self.chain = nn.Sequential(*(unit(hidden) for _ in range(repeats)))
        self.attention = ChannelAttention(2 * hidden) if attention else None
        self.exit = Conv(2 * hidden, c_out, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        through, beside = self.entry(x)
        joined = torch.cat((self.chain(through), beside), 1)
        return cast(Tensor, self.exit(joined if self.attention is None else self.attention(joined)))
