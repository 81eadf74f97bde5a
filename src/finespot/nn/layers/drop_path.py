"""Stochastic depth: in training, a residual branch is left out for some of the pictures.

After "Deep Networks with Stochastic Depth" (2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """A branch (B, ...) to itself over (1 - rate), or to 0 for a picture with probability `rate`; training only."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand((len(x), *(1,) * (x.ndim - 1)), device=x.device) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))
