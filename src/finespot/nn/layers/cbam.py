"""Convolutional block attention: first each channel, then each cell times a weight.

After "CBAM: Convolutional Block Attention Module" (2018). What differs: the hidden layer has a least width (narrow maps
divided by 16 would have none).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Pointwise


class CBAM(nn.Module):
    """(B, C, H, W) to the same shape, by way of max(C / reduction, min_hidden) hidden values.

    Mean and maximum of every channel go through the same two layers; mean and maximum of every cell through one 7x7
    convolution.
    """

    def __init__(self, channels: int, reduction: int = 16, min_hidden: int = 4) -> None:
        super().__init__()
        hidden = max(channels // reduction, min_hidden)
        self.squeeze = Pointwise(channels, hidden, 1, bias=False)
        self.excite = Pointwise(hidden, channels, 1, bias=False)
        self.place = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means, peaks = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
        x = x * torch.sigmoid(self._weigh(means) + self._weigh(peaks))
        maps = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.place(maps))

    def _weigh(self, x: Tensor) -> Tensor:
        return self.excite(F.relu(self.squeeze(x)))  # type: ignore[no-any-return]
