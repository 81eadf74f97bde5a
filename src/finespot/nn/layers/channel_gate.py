"""Channel attention from the mean and the largest value of each channel.

After "CBAM" (2018, section 3.1) in the form of HS-FPN ("MFDS-DETR", 2024): one pair of 1x1 convolutions without bias
judges both, and the sigmoid of their sum is the channel's weight.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class ChannelGate(nn.Module):
    """A map (B, C, H, W) to the weights (B, C, 1, 1) of its channels, 0 to 1, by way of C // `reduction` channels."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.widen = nn.Conv2d(channels // reduction, channels, 1, bias=False)
        for layer in (self.narrow, self.widen):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self._judge(x.mean((2, 3), keepdim=True)) + self._judge(x.amax((2, 3), keepdim=True)))

    def _judge(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.widen(torch.relu(self.narrow(values))))
