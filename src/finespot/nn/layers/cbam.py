"""Convolutional block attention: first each channel, then each cell times a weight.

After "CBAM: Convolutional Block Attention Module" (2018). What differs: the hidden layer has a least width (narrow maps
divided by 16 would have none).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from finespot.nn.layers.channel_gate import ChannelGate


class CBAM(nn.Module):
    """(B, C, H, W) to the same shape, by way of max(C / reduction, min_hidden) hidden values.

    Channels are weighed by a `ChannelGate`; mean and maximum of every cell go through one 7x7 convolution.
    """

    def __init__(self, channels: int, reduction: int = 16, min_hidden: int = 4) -> None:
        super().__init__()
        self.gate = ChannelGate(channels, max(channels // reduction, min_hidden))
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.gate(x)
        maps = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.place(maps))
