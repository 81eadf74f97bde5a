"""What the tests of attention layers share: layers that look trained, and torch's own attention with their weights."""

from __future__ import annotations

import torch
from torch import nn


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def moved(module: nn.Module) -> nn.Module:
    """All parameters and batch norms as after some training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.3 * torch.randn(p.shape)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.3, 2)
    return module.eval()


def as_torch(attention: nn.Module, width: int, heads: int) -> nn.MultiheadAttention:
    """The same attention as torch's own module."""
    made = nn.MultiheadAttention(width, heads, batch_first=True)
    made.in_proj_weight.data = torch.cat([getattr(attention, part).weight for part in ("query", "key", "value")])
    made.in_proj_bias.data = torch.cat([getattr(attention, part).bias for part in ("query", "key", "value")])
    made.out_proj.load_state_dict(attention.out.state_dict())
    return made.eval()
