"""Blocks of YOLOX and RTMDet: cross-stage block, channel attention, separable convolution, space to depth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot.nn.layers import (
    SPPF,
    TORCH_NORM,
    ChannelAttention,
    Conv,
    CrossStage,
    ResidualPair,
    SpaceToDepth,
    separable,
)


def unit(channels: int) -> nn.Module:
    return ResidualPair(Conv(channels, channels), Conv(channels, channels, 3), shortcut=True)


def test_space_to_depth_goes_column_by_column() -> None:
    picture = torch.arange(2 * 4 * 6, dtype=torch.float32).reshape(1, 2, 4, 6)
    folded = SpaceToDepth()(picture)
    assert folded.shape == (1, 8, 2, 3)
    top_left = [folded[0, 2 * block, 0, 0].item() for block in range(4)]
    assert top_left == [picture[0, 0, y, x].item() for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert torch.equal(folded[:, 1], picture[:, 1, ::2, ::2])


def test_channel_attention_weighs_whole_channels() -> None:
    layer = ChannelAttention(2)
    layer.weigh.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[..., None, None]
    layer.weigh.bias.data = torch.tensor([0.0, -9.0])
    x = torch.ones(1, 2, 4, 4)
    # (1 + 3) / 6, and below -3 nothing is left.
    assert layer(x)[0, :, 0, 0].tolist() == pytest.approx([4 / 6, 0.0])


@pytest.mark.parametrize("attention", [False, True])
def test_cross_stage(attention: bool) -> None:
    torch.manual_seed(0)
    block = CrossStage(6, 8, unit, repeats=2, norm=TORCH_NORM, attention=attention).eval()
    x = torch.randn(2, 6, 5, 7)
    through, beside = (branch(x) for branch in block.entry.branches)
    joined = torch.cat((block.chain[1](block.chain[0](through)), beside), 1)
    if attention:
        joined = joined * torch.nn.functional.hardsigmoid(block.attention.weigh(joined.mean((2, 3), keepdim=True)))
    assert torch.allclose(block(x), block.exit(joined), atol=1e-6)
    assert block.entry.branches[0].bn.eps == block.exit.bn.eps == TORCH_NORM.eps


def test_the_shortcut_adds_the_input() -> None:
    x = torch.randn(1, 4, 3, 3)
    assert torch.equal(ResidualPair(nn.Identity(), nn.Identity(), True)(x), 2 * x)
    assert torch.equal(ResidualPair(nn.Identity(), nn.Identity(), False)(x), x)


def test_separable_counts() -> None:
    layer = separable(8, 16, 5, 2)
    assert sum(p.numel() for p in layer.parameters()) == 8 * 25 + 16 + 8 * 16 + 32
    assert layer(torch.zeros(1, 8, 9, 12)).shape == (1, 16, 5, 6)


def test_chained_pools_are_pools_of_5_9_and_13() -> None:
    layer = SPPF(8, 8, norm=TORCH_NORM).eval()
    assert layer.entry.bn.eps == TORCH_NORM.eps
    x = torch.randn(1, 8, 17, 20, generator=torch.Generator().manual_seed(3))
    entered = layer.entry(x)
    pools = [nn.functional.max_pool2d(entered, side, 1, side // 2) for side in (5, 9, 13)]
    assert torch.equal(layer(x), layer.exit(torch.cat((entered, *pools), 1)))
