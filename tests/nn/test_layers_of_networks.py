"""Layers: fused twins, forks, and the neck's steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from finespot.errors import FineSpotError
from finespot.nn.layers import C2PSA, SPPF, Attention, C2f, C3k2, Conv, Fork, Pointwise
from finespot.nn.necks import PAFPN
from finespot.structures import Features, Level

LAYERS = {
    "conv": lambda: Conv(8, 12, 3, 2),
    "depthwise": lambda: Conv(8, 8, 3, groups=8, activation=None),
    "c2f": lambda: C2f(8, 16, 2, shortcut=True),
    "c3k2": lambda: C3k2(8, 16, 2),
    "c3k2 nested": lambda: C3k2(8, 16, 1, nested=True, expansion=0.25),
    "sppf": lambda: SPPF(8, 16),
    "c2psa": lambda: C2PSA(256, 1),
}


def test_activation_copies_no_map_and_gives_the_same_in_either_form() -> None:
    conv, x = Conv(8, 12).eval(), torch.rand(2, 8, 6, 6)
    seen = []
    conv.act.register_forward_hook(lambda _, given, made: seen.append(given[0].data_ptr() == made.data_ptr()))
    trained = conv(x)
    with torch.no_grad():
        used = conv(x)
    assert seen == [False, True]
    assert torch.equal(trained, used)


def moved(module: nn.Module) -> nn.Module:
    """Batch norms as after some training."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.3, 0.3)
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.3, 2)
    return module.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_fused_layers_agree(name: str) -> None:
    torch.manual_seed(0)
    layer = moved(LAYERS[name]())
    channels = next(p for p in layer.parameters() if p.ndim == 4).shape[1] if name == "c2psa" else 8
    x = torch.randn(2, channels, 12, 20)
    twin = copy.deepcopy(layer)
    for _ in range(2):  # the second time nothing is left to do
        for part in list(twin.modules()):
            if hasattr(part, "fuse"):
                part.fuse()
    assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.modules())
    with torch.no_grad():
        assert torch.allclose(layer(x), twin(x.clone()), atol=1e-5)


def test_a_fork_joins_to_one_convolution() -> None:
    fork = moved(Fork(6, (4, 2, 3)))
    x = torch.randn(1, 6, 5, 7)
    with torch.no_grad():
        before = fork(x)
        fork.fuse()
        after = fork(x)
    assert [part.shape[1] for part in after] == [4, 2, 3]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(before, after))
    assert sum(isinstance(part, nn.Conv2d) for part in fork.modules()) == 1


@pytest.mark.slow
def test_pointwise_is_a_plain_convolution() -> None:
    layer, x = Pointwise(6, 4, 1), torch.randn(2, 6, 5, 7, requires_grad=True)
    want = F.conv2d(x, layer.weight, layer.bias)
    assert torch.allclose(layer(x), want, atol=1e-6)
    (got,) = torch.autograd.grad(layer(x).square().sum(), x)
    (plain,) = torch.autograd.grad(want.square().sum(), x)
    assert torch.allclose(got, plain, atol=1e-5)
    program = torch.export.export(layer, (x.detach(),))
    nodes = [node for node in program.graph.nodes if "conv" in str(node.target)]
    assert len(nodes) == 1
    assert [2, 2] not in [list(a) if isinstance(a, list | tuple) else a for a in nodes[0].args]


@pytest.mark.parametrize(("batch", "side", "quick"), [(1, 40, False), (2, 40, True), (1, 60, True)])
def test_no_map_goes_to_the_slow_routine_of_dilated_kernels(batch: int, side: int, quick: bool) -> None:
    layer, x = Pointwise(8, 4, 1).eval(), torch.randn(batch, 8, side, side)
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        layer(x)
    called = {event.key for event in seen.key_averages()}
    assert "aten::slow_conv_dilated2d" not in called
    assert ("aten::mkldnn_convolution" in called) == quick


def test_attention_against_its_formula() -> None:
    torch.manual_seed(0)
    layer = moved(Attention(128))
    x = torch.randn(1, 128, 3, 5)
    with torch.no_grad():
        q, k, v = layer.entry(x)
        heads = []
        for h in range(2):
            query, key = (t[0, 32 * h : 32 * h + 32].flatten(1) for t in (q, k))
            weight = torch.softmax(query.T @ key * 32**-0.5, 1)
            heads.append((v[0, 64 * h : 64 * h + 64].flatten(1) @ weight.T).reshape(64, 3, 5))
        want = layer.project(torch.cat(heads)[None] + layer.position(v))
        assert torch.allclose(layer(x), want, atol=1e-5)


def test_shortcuts_take_effect() -> None:
    x = torch.randn(1, 8, 6, 6)
    for make in (C2f, C3k2):
        torch.manual_seed(0)
        first = moved(make(8, 8, 1, shortcut=True))
        torch.manual_seed(0)
        second = moved(make(8, 8, 1, shortcut=False))
        assert not torch.allclose(first(x), second(x))


def test_neck_steps_and_widths() -> None:
    levels = (Level(4, 4), Level(6, 8), Level(8, 16))
    made: list[tuple[int, int]] = []

    def block(c_in: int, c_out: int) -> nn.Module:
        made.append((c_in, c_out))
        return Conv(c_in, c_out)

    neck = PAFPN(levels, (2, 4, 8), block, last_block=lambda c_in, c_out: Conv(c_in, c_out, 3))
    assert made == [(14, 4), (8, 2), (6, 4)]
    assert list(neck.top_down) == ["p3", "p2"]
    assert list(neck.bottom_up) == ["p3", "p4"]
    assert neck.bottom_up["p4"].block.conv.kernel_size == (3, 3)
    given = Features([torch.randn(1, lv.channels, 64 // lv.stride, 96 // lv.stride) for lv in levels], levels)
    out = neck(given)
    assert out.levels == (Level(2, 4), Level(4, 8), Level(8, 16))
    assert [tuple(x.shape) for x in out.maps] == [(1, 2, 16, 24), (1, 4, 8, 12), (1, 8, 4, 6)]


def test_a_neck_wants_strides_that_double() -> None:
    with pytest.raises(FineSpotError, match="twice the one before"):
        PAFPN((Level(4, 8), Level(4, 32)), (4, 4), Conv)
    with pytest.raises(FineSpotError, match="one width per level"):
        PAFPN((Level(4, 8), Level(4, 16)), (4,), Conv)
