"""DFENet's block against a slow literal form, what it starts as, folded; space to depth of any sides."""

from __future__ import annotations

import math

import pytest
import torch
from literal_layers import conv, drawn, gelu, lively, normed
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers import LFA, DEFBlock, DEFModule, SPDConv


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (3, 3), (1, 1)])
def test_space_to_depth_of_any_sides(size: tuple[int, int]) -> None:
    layer, x = lively(SPDConv(2, 3)), drawn(1, 2, *size)
    rows, columns = (math.ceil(side / 2) for side in size)
    blocks = torch.zeros(8, rows, columns)
    for row in range(size[0]):
        for column in range(size[1]):
            place = 2 * (column % 2) + row % 2
            blocks[2 * place : 2 * place + 2, row // 2, column // 2] = x[0, :, row, column]
    with torch.no_grad():
        assert torch.allclose(layer(x)[0], normed(blocks, layer.mix, act=True), atol=1e-5)


def literal_lfa(layer: LFA, x: Tensor) -> Tensor:
    first, beside = x[:64], x[64:]
    flat = first.flatten()
    first = (first - flat.mean()) / torch.sqrt(flat.var(unbiased=False) + 1e-5)
    first = first * layer.norm.weight[:, None, None] + layer.norm.bias[:, None, None]
    query, key, value = (normed(first, branch, act=False).flatten(1) for branch in layer.entry.branches)
    mixed = torch.zeros_like(value)
    for cell in range(query.shape[1]):
        scores = torch.stack([(query[:, cell] * key[:, other]).sum() / 4 for other in range(key.shape[1])])
        shares = scores.exp() / scores.exp().sum()
        mixed[:, cell] = (value * shares).sum(1)
    joined = torch.cat((mixed.view_as(first), beside))
    return normed(joined * torch.sigmoid(joined), layer.project, act=False)


def literal_def(layer: DEFModule, x: Tensor) -> Tensor:
    x = x + normed(x, layer.spread, act=False)
    x = x + literal_lfa(layer.attention, x)
    feed = layer.feedforward
    return x + conv(gelu(conv(conv(x, feed.gate), feed.spread)) * conv(x, feed.value), feed.exit)


@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
def test_def_module(size: tuple[int, int]) -> None:
    layer, x = lively(DEFModule(72)), drawn(2, 72, *size)
    with torch.no_grad():
        found = layer(x)
        for picture in range(2):
            want = literal_def(layer, x[picture])
            assert (found[picture] - want).abs().max() < 1e-5 * want.abs().max()


def test_def_block_is_a_chain_whose_stages_are_all_joined() -> None:
    block, x = lively(DEFBlock(20, 144, 2)), drawn(1, 20, 3, 2)
    with torch.no_grad():
        beside, through = (branch(x) for branch in block.entry.branches)
        first = block.units[0](through)
        want = block.exit(torch.cat((beside, through, first, block.units[1](first)), 1))
        assert torch.allclose(block(x), want, atol=1e-5)


def test_branches_of_the_def_module_start_as_nothing() -> None:
    torch.manual_seed(0)
    module, x = DEFModule(72), drawn(1, 72, 4, 5)
    with torch.no_grad():
        assert torch.equal(module.spread(x), torch.zeros_like(x))
        assert torch.equal(module.attention(x), torch.zeros_like(x))
    with pytest.raises(FineSpotError, match="LFA: expected more than 64 channels but got 64"):
        LFA(64)


def test_def_block_is_folded() -> None:
    block, x = lively(DEFBlock(20, 144)), drawn(1, 20, 5, 6)
    with torch.no_grad():
        want = block(x)
        for part in list(block.modules()):
            if hasattr(part, "fuse"):
                part.fuse()
        assert not any(isinstance(part, nn.BatchNorm2d) for part in block.modules())
        assert torch.allclose(block(x), want, rtol=1e-4, atol=1e-4)
