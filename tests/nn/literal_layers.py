"""Layers written out, cell by cell or sum by sum, for comparing with; maps are (C, H, W), tokens have channels last."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(module: nn.Module) -> nn.Module:
    """With every parameter and statistic off its start."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in module.parameters():
            one += 0.2 * torch.randn(one.shape, generator=draw)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(0.3 * torch.randn(part.running_mean.shape, generator=draw))
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=draw))
    return module.eval()


def conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A convolution of stride 1 with zeros at the rim, cell by cell; x is (C, H, W)."""
    weight, (rows, columns) = layer.weight, layer.weight.shape[2:]
    _, height, width = x.shape
    each_in, each_out = weight.shape[1], len(weight) // layer.groups
    out = torch.zeros(len(weight), height, width)
    for c in range(len(weight)):
        first = c // each_out * each_in
        for i in range(rows):
            for j in range(columns):
                di, dj = i - rows // 2, j - columns // 2
                top, bottom = max(0, -di), min(height, height - di)
                left, right = max(0, -dj), min(width, width - dj)
                if top < bottom and left < right:
                    part = x[first : first + each_in, top + di : bottom + di, left + dj : right + dj]
                    out[c, top:bottom, left:right] += torch.einsum("k,khw->hw", weight[c, :, i, j], part)
    return out if layer.bias is None else out + layer.bias[:, None, None]


def normed(x: Tensor, layer: nn.Module, act: bool) -> Tensor:
    """Convolution, batch norm, SiLU where `act` is set; x is (C, H, W)."""
    y, bn = conv(x, layer.conv), layer.bn
    scale = bn.weight / torch.sqrt(bn.running_var + 1e-3)
    y = (y - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]
    return y * torch.sigmoid(y) if act else y


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return torch.einsum("...i,oi->...o", x, layer.weight) + layer.bias


def layer_norm(x: Tensor, layer: nn.LayerNorm, eps: float) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt(centered.square().mean(-1, keepdim=True) + eps) * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
