"""The feature pyramid and the plain ResNet: sums, extra levels, shapes, errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.backbones import ResNet
from finespot.nn.necks import FPN
from finespot.structures import Features, Level

INPUTS = (Level(6, 8), Level(10, 16), Level(12, 32))


def features(size: tuple[int, int] = (96, 160)) -> Features:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, c, size[0] // s, size[1] // s, generator=draw) for c, s in ((6, 8), (10, 16), (12, 32))]
    return Features(maps, INPUTS)


def made(**options: object) -> FPN:
    torch.manual_seed(0)
    return FPN(INPUTS, 4, **options).eval()


def test_levels_and_sides() -> None:
    neck = made()
    assert neck.levels == tuple(Level(4, stride) for stride in (8, 16, 32, 64, 128))
    with torch.no_grad():
        found = neck(features())
    assert [tuple(x.shape[2:]) for x in found.maps] == [(12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
    assert found.levels == neck.levels


def test_coarse_maps_are_added_to_the_finer() -> None:
    neck, given = made(), features()
    with torch.no_grad():
        found = neck(given).maps
        top = neck.laterals["p5"](given.maps[2])
        middle = neck.laterals["p4"](given.maps[1]) + top.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(found[2], neck.outputs["p5"](top), atol=1e-6)
    assert torch.allclose(found[1], neck.outputs["p4"](middle), atol=1e-6)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("extra", ["neck", "backbone"])
def test_extra_levels(extra: str, relu: bool) -> None:
    neck, given = made(extra=extra, extra_relu=relu), features()
    with torch.no_grad():
        found = neck(given).maps
        p6 = neck.extras["p6"](given.maps[2] if extra == "backbone" else found[2])
        p7 = neck.extras["p7"](F.relu(p6) if relu else p6)
    assert torch.equal(found[3], p6)
    assert torch.equal(found[4], p7)


def test_norm_in_place_of_bias_can_be_folded() -> None:
    neck = made(norm=True, count=1)
    assert all(m.bias is None for m in neck.modules() if isinstance(m, nn.Conv2d))
    assert len(neck.levels) == 4
    with torch.no_grad():
        neck.train()(features())
        want = neck.eval()(features()).maps
        for module in list(neck.modules()):
            if hasattr(module, "fuse"):
                module.fuse()
        got = neck(features()).maps
    assert not any(isinstance(m, nn.BatchNorm2d) for m in neck.modules())
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(want, got))


def test_bad_options_of_a_pyramid() -> None:
    with pytest.raises(FineSpotError, match="unknown origin of the fpn's extra levels 'p5'"):
        made(extra="p5")
    with pytest.raises(FineSpotError, match=r"strides that grow but got \[16, 8\]"):
        FPN((Level(4, 16), Level(4, 8)))


@pytest.mark.slow
@pytest.mark.parametrize("strides", [(4,), (8, 16, 32)])
def test_resnet_gives_the_levels_asked_for(strides: tuple[int, ...]) -> None:
    backbone = ResNet(50, strides).eval()
    assert backbone.levels == tuple(Level(64 * stride, stride) for stride in strides)
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in found.maps] == [(64 * s, 64 // s, 96 // s) for s in strides]
    assert hasattr(backbone, "stage5") == (32 in strides)


def test_bad_options_of_a_resnet() -> None:
    with pytest.raises(FineSpotError, match=r"unknown depth of the resnet '34'"):
        ResNet(34)
    with pytest.raises(FineSpotError, match="strides out of"):
        ResNet(50, (2, 8))
