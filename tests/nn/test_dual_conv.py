"""Dual convolution against its sum written out, and as one convolution."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers import DualConv


def made(c_in: int = 8, c_out: int = 12, stride: int = 2, groups: int = 2, **options: object) -> DualConv:
    torch.manual_seed(0)
    layer = DualConv(c_in, c_out, stride, groups, **options)
    if isinstance(layer.bn, nn.BatchNorm2d):
        nn.init.uniform_(layer.bn.weight, 0.5, 1.5)
        nn.init.uniform_(layer.bn.bias, -0.3, 0.3)
        nn.init.uniform_(layer.bn.running_mean, -0.3, 0.3)
        nn.init.uniform_(layer.bn.running_var, 0.3, 2)
    return layer.eval()


def slowly(layer: DualConv, x: Tensor, stride: int, groups: int) -> Tensor:
    """Value by value: the 3x3 taps of the own group, and the channels at the center."""
    kernel, point = layer.grouped.weight, layer.point.weight
    batch, c_in, height, width = x.shape
    c_out = kernel.shape[0]
    rows, columns = c_out // groups, c_in // groups
    out = torch.zeros(batch, c_out, -(-height // stride), -(-width // stride))
    for b in range(batch):
        for o in range(c_out):
            first = o // rows * columns
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    y, z = i * stride, j * stride
                    total = (point[o, :, 0, 0] * x[b, :, y, z]).sum()
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            if 0 <= y + dy < height and 0 <= z + dx < width:
                                own = x[b, first : first + columns, y + dy, z + dx]
                                total = total + (kernel[o, :, dy + 1, dx + 1] * own).sum()
                    out[b, o, i, j] = total
    return out


@pytest.mark.parametrize(("stride", "groups"), [(1, 2), (2, 2), (2, 4), (2, 1)])
def test_against_the_sum_written_out(stride: int, groups: int) -> None:
    x = torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain, layer = (made(stride=stride, groups=groups, plain=plain) for plain in (True, False))
        assert torch.allclose(plain(x), slowly(plain, x, stride, groups), atol=1e-5)
        bn = layer.bn
        summed = slowly(layer, x, stride, groups)
        normed = F.batch_norm(summed, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-3)
        assert torch.allclose(layer(x), normed * torch.sigmoid(normed), atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_one_convolution_does_the_same(groups: int) -> None:
    x = torch.randn(2, 8, 9, 12)
    layer = made(groups=groups)
    twin = copy.deepcopy(layer)
    twin.fuse()
    twin.fuse()
    with torch.no_grad():
        assert torch.allclose(layer(x), twin(x), atol=1e-5)
    assert [type(part) for part in twin.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)] == [nn.Conv2d]
    assert sum(p.numel() for p in twin.parameters()) == 9 * 8 * 12 + 12


def test_the_plain_form_is_left_as_published_but_merges_exactly() -> None:
    layer, x = made(plain=True), torch.randn(1, 8, 9, 12)
    merged = layer.merged()
    assert merged.bias is None
    layer.fuse()
    assert layer.joined is None
    assert sum(p.numel() for p in layer.parameters()) == 5.5 * 8 * 12
    with torch.no_grad():
        assert torch.allclose(layer(x), merged(x), atol=1e-6)


def test_gradients_reach_both_kernels() -> None:
    layer = made().train()
    layer(torch.randn(2, 8, 6, 6)).square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in layer.parameters())


def test_activation_takes_effect() -> None:
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        none, relu = made(activation=None)(x), made(activation="relu")(x)
    assert torch.allclose(relu, none.clamp(min=0))
    assert not torch.allclose(relu, none)


@pytest.mark.parametrize(("c_in", "c_out"), [(7, 8), (8, 7)])
def test_channels_divide_by_the_groups(c_in: int, c_out: int) -> None:
    with pytest.raises(FineSpotError, match=f"expected multiples of 2 channels but got {c_in} and {c_out}"):
        DualConv(c_in, c_out)
