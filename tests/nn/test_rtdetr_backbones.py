"""ResNet-vd and HGNetV2: published parameter counts, levels, shapes, odd steps of their blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.backbones import HGNETV2_L, HGNETV2_X, HGNetV2, HGStage, ResNetVD
from finespot.nn.backbones.resnet_vd import BasicBlock, BottleneckBlock
from finespot.structures import Level

TINY = tuple(HGStage(c, 4, c_out, 2, light, 3) for c, c_out, light in ((8, 8, False), (8, 8, True)) * 2)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("depths", "bottleneck", "parameters"),
    [
        ((2, 2, 2, 2), False, 11_199_968),
        ((3, 4, 6, 3), False, 21_308_128),
        ((3, 4, 6, 3), True, 23_527_264),
        ((3, 4, 23, 3), True, 42_519_392),
    ],
)
def test_parameters_of_resnet_vd(depths: tuple[int, ...], bottleneck: bool, parameters: int) -> None:
    with torch.device("meta"):
        assert count(ResNetVD(depths, bottleneck)) == parameters


@pytest.mark.parametrize(("stages", "parameters"), [(HGNETV2_L, 13_553_376), (HGNETV2_X, 33_325_760)])
def test_parameters_of_hgnetv2(stages: tuple[HGStage, ...], parameters: int) -> None:
    with torch.device("meta"):
        assert count(HGNetV2(stages)) == parameters


@pytest.mark.parametrize("strides", [(8, 16, 32), (4, 8, 16, 32), (16,)])
@pytest.mark.parametrize("make", [lambda s: ResNetVD((1, 1, 1, 1), False, s), lambda s: HGNetV2(TINY, s)])
def test_levels(make, strides: tuple[int, ...]) -> None:
    backbone = make(strides).eval()
    found = backbone(torch.rand(1, 3, 64, 96))
    assert [level.stride for level in backbone.levels] == list(strides)
    assert [tuple(x.shape[1:]) for x in found.maps] == [
        (level.channels, 64 // level.stride, 96 // level.stride) for level in backbone.levels
    ]


def test_bottlenecks_widen_by_four() -> None:
    assert ResNetVD().levels == (Level(512, 8), Level(1024, 16), Level(2048, 32))


@pytest.mark.parametrize("kind", [BasicBlock, BottleneckBlock])
def test_shortcuts_average_where_the_map_halves(kind) -> None:
    torch.manual_seed(0)
    block = kind(8, 4, 2, project=True).eval()
    nn.init.zeros_(list(block.body.children())[-1].bn.weight)  # leaves the shortcut alone
    x = torch.rand(1, 8, 6, 6)
    want = torch.relu(block.shortcut.project(nn.functional.avg_pool2d(x, 2)))
    assert torch.allclose(block(x), want, atol=1e-6)
    assert isinstance(kind(4 * kind.widening, 4, 1, project=False).shortcut, nn.Identity)


def test_later_blocks_of_a_stage_add_their_input() -> None:
    first, second = HGNetV2(TINY).eval().stages[1].blocks
    nn.init.zeros_(second.excite.bn.weight)
    x = torch.rand(1, 8, 5, 7)
    assert torch.equal(second(x), x)
    nn.init.zeros_(first.excite.bn.weight)
    assert first(x).abs().max() == 0


def test_wrong_tables_are_refused() -> None:
    with pytest.raises(FineSpotError, match=r"resnet_vd backbone: expected 4 depths but got"):
        ResNetVD((2, 2))
    with pytest.raises(FineSpotError, match=r"hgnetv2 backbone: expected 4 stages"):
        HGNetV2(TINY, (2, 4))
