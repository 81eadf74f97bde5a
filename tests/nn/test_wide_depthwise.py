"""Large depthwise kernels: what torch's own convolution gives, forwards and backwards, in graphs one plain node."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from finespot.nn.layers import Conv
from finespot.nn.layers.wide_depthwise import WideDepthwise


def pair(kernel: int = 13, bias: bool = True) -> tuple[WideDepthwise, nn.Conv2d]:
    """Ours and torch's, of the same weights."""
    torch.manual_seed(0)
    ours = WideDepthwise(6, 6, kernel, padding=kernel // 2, groups=6, bias=bias)
    plain = nn.Conv2d(6, 6, kernel, padding=kernel // 2, groups=6, bias=bias)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize(("rows", "columns"), [(9, 14), (3, 2), (20, 5)])
@pytest.mark.parametrize(("kernel", "bias"), [(13, True), (13, False), (15, True)])
def test_it_is_a_plain_convolution(rows: int, columns: int, kernel: int, bias: bool) -> None:
    ours, plain = pair(kernel, bias)
    x = torch.randn(2, 6, rows, columns).contiguous(memory_format=torch.channels_last)
    factor = torch.randn(2, 6, rows, columns)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x), atol=1e-5, rtol=1e-5)
    grads = []
    for layer in (ours, plain):
        given = x.clone().requires_grad_()
        (layer(given) * factor).sum().backward()
        grads.append([given.grad, *(one.grad for one in layer.parameters())])
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)


def test_only_what_is_asked_for_has_a_gradient() -> None:
    ours, _ = pair()
    x = torch.randn(1, 6, 5, 7)
    ours(x).sum().backward()
    assert ours.weight.grad is not None
    assert x.grad is None
    ours.requires_grad_(False)
    assert not ours(x).requires_grad
    x.requires_grad_()
    ours(x).sum().backward()
    assert x.grad is not None


def test_it_computes_in_float32_under_autocast() -> None:
    ours, plain = pair()
    x = torch.randn(1, 6, 9, 14).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        made = ours(x)
        made.sum().backward()
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, plain(x.float()), atol=1e-5, rtol=1e-5)
    assert ours.weight.grad is not None
    assert ours.weight.grad.dtype == torch.float32


def test_graphs_keep_the_plain_form() -> None:
    ours, _ = pair()
    program = torch.export.export(ours.requires_grad_(False), (torch.randn(1, 6, 9, 14),))
    assert len([node for node in program.graph.nodes if "conv" in str(node.target)]) == 1


def test_convolutions_take_it_where_it_is_quicker() -> None:
    layer = Conv(6, 6, 13, groups=6).eval()
    assert isinstance(layer.conv, WideDepthwise)
    fused = copy.deepcopy(layer)
    fused.fuse()
    assert isinstance(fused.conv, WideDepthwise)
    x = torch.randn(1, 6, 9, 14)
    torch.testing.assert_close(fused(x), layer(x), atol=1e-5, rtol=1e-5)
    for other in (Conv(6, 6, 11, groups=6), Conv(6, 6, 13), Conv(6, 12, 13, groups=6)):
        assert type(other.conv) is nn.Conv2d
