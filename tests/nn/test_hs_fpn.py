"""HS-FPN against its parts written out; the chain, the cascade, maps that do not meet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.layers import ChannelGate, Conv
from finespot.nn.necks import HSFPN
from finespot.structures import Features, Level

LEVELS = (Level(8, 4), Level(12, 8), Level(16, 16))
WIDTH = 8


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def features(sizes: tuple[tuple[int, int], ...] = ((16, 24), (8, 12), (4, 6))) -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, level.channels, *size, generator=draw) for level, size in zip(LEVELS, sizes)]
    return Features(maps, LEVELS)


def neck(**options: object) -> HSFPN:
    torch.manual_seed(0)
    return HSFPN(LEVELS, WIDTH, block=lambda c_in, c_out: Doubled(), **options).eval()


def weights_of(gate: ChannelGate, x: Tensor) -> Tensor:
    """Channel by channel, with matrices in place of convolutions."""
    narrow, widen = (layer.weight.flatten(1) for layer in (gate.squeeze, gate.excite))
    found = []
    for picture in x:
        mean, most = picture.flatten(1).mean(1), picture.flatten(1).max(1).values
        judged = widen @ (narrow @ mean).clamp(min=0) + widen @ (narrow @ most).clamp(min=0)
        found.append(1 / (1 + torch.exp(-judged)))
    return torch.stack(found)[:, :, None, None]


def test_channel_gate() -> None:
    torch.manual_seed(0)
    gate, x = ChannelGate(8, hidden=2), torch.randn(3, 8, 5, 7)
    assert sum(p.numel() for p in gate.parameters()) == 2 * 8 * 2
    assert sum(p.numel() for p in ChannelGate(8, hidden=2, bias=True).parameters()) == 2 * 8 * 2 + 8 + 2
    with torch.no_grad():
        assert torch.allclose(gate(x), weights_of(gate, x), atol=1e-6)


def test_gates_of_the_neck() -> None:
    """A quarter of the channels, but never none; weights start uniform, as wide as both widths of a layer say."""
    torch.manual_seed(0)
    made = HSFPN((Level(64, 4), Level(2, 8)), 2)
    assert [gate.squeeze.out_channels for gate in made.modules() if isinstance(gate, ChannelGate)] == [1, 16, 1]
    weights = made.steps["p2"].entry.gate.squeeze.weight.detach()
    assert 0.9 < weights.abs().max().item() / (6 / (64 + 16)) ** 0.5 <= 1


def lateral(entry: nn.Module, x: Tensor) -> Tensor:
    kernel, bias = entry.lateral.weight[:, :, 0, 0], entry.lateral.bias
    weighed = weights_of(entry.gate, x) * x
    return torch.einsum("oc,bchw->bohw", kernel, weighed) + bias[:, None, None]


def doubled(up: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution as it is meant: every value paints its kernel around its doubled place."""
    batch, _, height, width = x.shape
    out = torch.zeros(batch, up.out_channels, 2 * height + 2, 2 * width + 2)
    for i in range(height):
        for j in range(width):
            out[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += torch.einsum("bc,cokl->bokl", x[:, :, i, j], up.weight)
    return out[:, :, 1 : 2 * height + 1, 1 : 2 * width + 1] + up.bias[:, None, None]


@pytest.mark.parametrize("top_block", [True, False])
@pytest.mark.parametrize("cascade", [True, False])
def test_against_the_parts_written_out(cascade: bool, top_block: bool) -> None:
    given, made = features(), neck(cascade=cascade, top_block=top_block)
    with torch.no_grad():
        coarse = lateral(made.entry, given.maps[2])
        want = [2 * coarse if top_block else coarse]
        for x, step in ((given.maps[1], made.steps["p3"]), (given.maps[0], made.steps["p2"])):
            coarse = doubled(step.up, want[0] if cascade else coarse)
            beside = lateral(step.entry, x)
            want.insert(0, 2 * (weights_of(step.choose, coarse) * beside + coarse))
        found = made(given)
    assert found.levels == made.levels == tuple(Level(WIDTH, level.stride) for level in LEVELS)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found.maps, want, strict=True))


def test_without_cascade_levels_do_not_hand_on_what_they_fused() -> None:
    first, second = features(), features()
    second.maps[1] = second.maps[1] + 1
    for cascade in (False, True):
        made = neck(cascade=cascade)
        with torch.no_grad():
            one, other = made(first).maps, made(second).maps
        assert not torch.equal(one[1], other[1])
        assert torch.equal(one[0], other[0]) == (not cascade)


def test_maps_that_do_not_meet_are_resized() -> None:
    given, made = features(((15, 23), (8, 12), (4, 6))), neck()
    step = made.steps["p2"]
    with torch.no_grad():
        found = made(given)
        p3 = doubled(made.steps["p3"].up, lateral(made.entry, given.maps[2]))
        above = F.interpolate(doubled(step.up, p3), size=(15, 23), mode="bilinear", align_corners=False)
        want = 2 * (weights_of(step.choose, above) * lateral(step.entry, given.maps[0]) + above)
    assert [tuple(x.shape[2:]) for x in found.maps] == [(15, 23), (8, 12), (4, 6)]
    assert torch.allclose(found.maps[0], want, atol=1e-5)


@pytest.mark.slow
def test_a_neck_for_any_network() -> None:
    made = HSFPN(LEVELS)
    assert [level.channels for level in made.levels] == [256] * 3
    assert isinstance(made.steps["p2"].block, Conv)
    with torch.device("meta"):
        small = zoo.build(zoo.architecture("yolov8n", 2, neck="hs_fpn(width=32)")).neck
        plain, bare = (zoo.build(zoo.architecture("yolo11n", 2, neck=text)).neck for text in TEXTS)
    assert type(small.block).__name__ == "C2f"
    assert small.levels[0].channels == 32
    assert type(plain.block).__name__ == "C3k2"
    assert isinstance(bare.block, nn.Identity)
    assert bare.cascade


TEXTS = ("hs_fpn", "hs_fpn(top_block=false,cascade=true)")


def test_strides_double() -> None:
    with pytest.raises(FineSpotError, match="hs_fpn neck: expected one width per level and each stride twice"):
        HSFPN((Level(4, 8), Level(4, 32)))
