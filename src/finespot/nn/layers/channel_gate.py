"""Channel attention from the mean and the largest value of each channel.

After "CBAM: Convolutional Block Attention Module" (2018, section 3.1): one pair of 1x1 convolutions judges both, and
the sigmoid of their sum is the channel's weight. CBAM, HS-FPN and SARL are made of it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Pointwise


class ChannelGate(nn.Module):
    """A map (B, C, H, W) to the weights (B, C, 1, 1) of its channels, 0 to 1, by way of `hidden` values."""

    def __init__(self, channels: int, hidden: int, bias: bool = False) -> None:
        super().__init__()
        self.squeeze = Pointwise(channels, hidden, 1, bias=bias)
        self.excite = Pointwise(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        # amax, as adaptive pooling has no deterministic gradient on GPUs.
        means, peaks = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        return torch.sigmoid(self._judge(means) + self._judge(peaks))

    def _judge(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.excite(F.relu(self.squeeze(values))))
