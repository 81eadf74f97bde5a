"""DWR units against the formula, the frame around them, and the paper's depth-wise form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers import DWR, C3k2DWR, Conv


def moved(module: nn.Module) -> nn.Module:
    """Batch norms as after some training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.3, 2)
    return module.eval()


def convolved(layer: Conv, x: Tensor, dilation: int, groups: int = 1) -> Tensor:
    """Convolution and batch norm, tap by tap: a shifted picture times each tap of the kernel."""
    kernel = layer.conv.weight
    side, height, width = kernel.shape[2], *x.shape[2:]
    edge = dilation * (side // 2)
    padded = F.pad(x, (edge,) * 4)
    out = torch.zeros(len(x), kernel.shape[0], height, width)
    rows = kernel.shape[0] // groups
    for o in range(kernel.shape[0]):
        first = o // rows * kernel.shape[1]
        for c in range(kernel.shape[1]):
            for i in range(side):
                for j in range(side):
                    shifted = padded[:, first + c, i * dilation : i * dilation + height, j * dilation :][..., :width]
                    out[:, o] += kernel[o, c, i, j] * shifted
    bn = layer.bn
    scale = bn.weight / (bn.running_var + 1e-3).sqrt()
    return (out - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


@pytest.mark.parametrize("depthwise", [False, True])
def test_against_the_formula(depthwise: bool) -> None:
    torch.manual_seed(0)
    unit, x = moved(DWR(6, depthwise)), torch.randn(2, 6, 12, 9)
    groups, bend = (3, lambda y: y) if depthwise else (1, silu)
    with torch.no_grad():
        simple = convolved(unit.simple, x, 1)
        simple = simple.clamp(min=0) if depthwise else silu(simple)
        seen = [
            bend(convolved(layer, simple, dilation, groups))
            for layer, dilation in ((unit.near, 1), (unit.middle, 3), (unit.far, 5))
        ]
        assert [part.shape[1] for part in seen] == [6, 3, 3]
        want = x + silu(convolved(unit.exit, torch.cat(seen, 1), 1))
        assert torch.allclose(unit(x), want, atol=1e-5)


@pytest.mark.parametrize("channels", [32, 64, 128])
def test_parameters(channels: int) -> None:
    with torch.device("meta"):
        full, paper = DWR(channels), DWR(channels, depthwise=True)
    assert sum(p.numel() for p in full.parameters()) == 15.5 * channels**2 + 7 * channels
    assert sum(p.numel() for p in paper.parameters()) == 6.5 * channels**2 + 9 * 2 * channels + 7 * channels


def test_the_frame_collects_every_stage() -> None:
    torch.manual_seed(0)
    block, x = moved(C3k2DWR(8, 16, 2, 0.25)), torch.randn(1, 8, 7, 7)
    with torch.no_grad():
        kept, going = block.entry(x)
        first = block.units[0](going)
        second = block.units[1](first)
        assert torch.allclose(block(x), block.exit(torch.cat((kept, going, first, second), 1)), atol=1e-6)
    assert kept.shape[1] == 4


def test_no_unit_leaves_two_small_convolutions() -> None:
    torch.manual_seed(0)
    block, x = moved(C3k2DWR(32, 64, 0)), torch.randn(1, 32, 5, 5)
    assert not any(isinstance(part, DWR) for part in block.modules())
    assert sum(p.numel() for p in block.parameters()) == 6_400
    with torch.no_grad():
        assert torch.allclose(block(x), block.exit(torch.cat(block.entry(x), 1)))


@pytest.mark.parametrize("depthwise", [False, True])
def test_fused_agrees(depthwise: bool) -> None:
    torch.manual_seed(0)
    block, x = moved(C3k2DWR(8, 16, 1, depthwise=depthwise)), torch.randn(1, 8, 12, 12)
    twin = copy.deepcopy(block)
    for part in list(twin.modules()):
        if hasattr(part, "fuse"):
            part.fuse()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.modules())
    with torch.no_grad():
        assert torch.allclose(block(x), twin(x), atol=1e-5)


def test_channels_are_even() -> None:
    with pytest.raises(FineSpotError, match="DWR: expected an even number of channels but got 5"):
        DWR(5)
