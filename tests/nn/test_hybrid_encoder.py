"""The hybrid encoder and its parts: positions on rectangles, RepVGG blocks folded, levels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.layers import CSPRep, RepVGG, SelfAttention, wave_positions
from finespot.nn.necks import HybridEncoder
from finespot.structures import Features, Level

LEVELS = (Level(6, 8), Level(10, 16), Level(12, 32))


def moved(module: nn.Module) -> nn.Module:
    """With running statistics off their start."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module.eval()


def test_positions_are_of_row_then_column_on_rectangles_too() -> None:
    codes = wave_positions(3, 5, 8, torch.device("cpu")).view(3, 5, 8)
    for row in range(3):
        for column in range(5):
            waves = [wave * 10_000 ** (-i / 2) for wave in (row, column) for i in range(2)]
            want = [f(x) for pair in (waves[:2], waves[2:]) for f in (math.sin, math.cos) for x in pair]
            assert codes[row, column].tolist() == pytest.approx(want, abs=1e-6)


def test_attention_is_torchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        for part in (ours.query, ours.key, ours.value):
            nn.init.normal_(part.bias)
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in (ours.query, ours.key, ours.value)]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in (ours.query, ours.key, ours.value)]))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x, position = torch.randn(2, 7, 16), torch.randn(7, 16)
    allowed = torch.rand(7, 7) < 0.6
    allowed.fill_diagonal_(True)
    for mask in (None, allowed):
        want, _ = theirs(x + position, x + position, x, attn_mask=None if mask is None else ~mask)
        assert torch.allclose(ours(x, position, mask), want, atol=1e-6)


@pytest.mark.parametrize("expansion", [0.5, 1.0])
def test_rep_blocks_fold_to_one_convolution_each(expansion: float) -> None:
    block = moved(CSPRep(12, 8, expansion=expansion))
    x = torch.randn(2, 12, 6, 9)
    with torch.no_grad():
        want = block(x)
        for module in list(block.modules()):
            if callable(getattr(module, "fuse", None)):
                module.fuse()
        assert torch.allclose(block(x), want, atol=1e-5)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in block.modules())
    units = [part for part in block.modules() if isinstance(part, RepVGG)]
    assert len(units) == 3
    assert all(unit.point is None for unit in units)
    weight = units[0].dense.conv.weight.clone()
    units[0].fuse()
    assert torch.equal(units[0].dense.conv.weight, weight)


def test_levels_keep_their_sizes_on_rectangles() -> None:
    neck = HybridEncoder(LEVELS, width=16, feedforward=24, expansion=0.5).eval()
    maps = [torch.randn(2, level.channels, 64 // level.stride, 96 // level.stride) for level in LEVELS]
    given = [x.clone() for x in maps]
    found = neck(Features(maps, LEVELS))
    assert found.levels == neck.levels == tuple(Level(16, level.stride) for level in LEVELS)
    assert [tuple(x.shape) for x in found.maps] == [(2, 16, 8, 12), (2, 16, 4, 6), (2, 16, 2, 3)]
    assert all(torch.equal(a, b) for a, b in zip(maps, given))


def test_every_level_depends_on_every_map() -> None:
    neck = HybridEncoder(LEVELS, width=16, feedforward=24).eval()
    maps = [
        torch.randn(1, level.channels, 64 // level.stride, 64 // level.stride, requires_grad=True) for level in LEVELS
    ]
    for out in neck(Features(maps, LEVELS)).maps:
        assert all(bool(g.abs().sum() > 0) for g in torch.autograd.grad(out.square().sum(), maps, retain_graph=True))


def test_positions_make_the_coarsest_map_know_where() -> None:
    """Without them attention would map permuted cells to permuted cells."""
    attention = HybridEncoder(LEVELS, width=16, feedforward=24).attention
    x = torch.randn(1, 16, 3, 4)
    assert not torch.allclose(attention(x.flip(3)).flip(3), attention(x), atol=1e-3)


def test_strides_that_do_not_double_are_refused() -> None:
    with pytest.raises(FineSpotError, match=r"each stride twice the one before it.* for strides \[8, 32\]"):
        HybridEncoder((Level(4, 8), Level(4, 32)))
