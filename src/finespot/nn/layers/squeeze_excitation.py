"""Squeeze and excitation: each channel times a weight that the means of all channels decide.

After "Squeeze-and-Excitation Networks" (2018). What differs: both layers have a bias, and the hidden layer has a least
width, since a few channels divided by 16 leave nothing to decide with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Pointwise


class SqueezeExcitation(nn.Module):
    """(B, C, H, W) to the same shape, by way of max(C / reduction, min_hidden) hidden values."""

    def __init__(self, channels: int, reduction: int = 16, min_hidden: int = 4) -> None:
        super().__init__()
        hidden = max(channels // reduction, min_hidden)
        self.squeeze = Pointwise(channels, hidden, 1)
        self.excite = Pointwise(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(means))))
