"""Layers that weigh channels, cells, rows or strips: against plain loops, on maps of any size."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from attention_reference import as_torch, count, moved
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers import CBAM, CoordinateAttention, PooledStripAttention, SqueezeExcitation

SIZES = [(20, 20), (1, 1), (3, 5), (9, 2), (11, 16)]
LAYERS = {
    "se": lambda: SqueezeExcitation(32),
    "cbam": lambda: CBAM(32),
    "ca": lambda: CoordinateAttention(32),
    "ca published": lambda: CoordinateAttention(32, published=True),
    "strips": lambda: PooledStripAttention(32),
}


def picture(size: tuple[int, int], channels: int = 32) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


def on_vector(layer: nn.Module, v: Tensor) -> Tensor:
    """A 1x1 convolution on one vector of channels."""
    out = layer.weight[:, :, 0, 0] @ v
    return out if layer.bias is None else out + layer.bias


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (SqueezeExcitation(32, reduction=64), 292),
        (SqueezeExcitation(128, reduction=256), 1156),
        (SqueezeExcitation(32), 292),
        (SqueezeExcitation(128), 2184),
        (SqueezeExcitation(8, min_hidden=2), 2 * 8 * 2 + 2 + 8),
        (CBAM(64), 610),
        (CBAM(256), 8290),
        (CBAM(8), 2 * 8 * 4 + 98),
        (CBAM(8, reduction=2, min_hidden=1), 2 * 8 * 4 + 98),
        (CoordinateAttention(128), 3352),
        (CoordinateAttention(128, published=True), 3352),
        (CoordinateAttention(128, reduction=8), 128 * 16 + 3 * 16 + 2 * 128 * 17),
        (PooledStripAttention(512), 1_577_984),
    ],
)
def test_parameters(layer: nn.Module, parameters: int) -> None:
    assert count(layer) == parameters


@torch.no_grad()
def test_squeeze_and_excitation_channel_by_channel() -> None:
    layer, x = moved(SqueezeExcitation(32)), picture((3, 5))
    want = torch.empty_like(x)
    for b in range(2):
        means = torch.stack([x[b, c].sum() / 15 for c in range(32)])
        raised = on_vector(layer.excite, on_vector(layer.squeeze, means).clamp(min=0))
        for c in range(32):
            want[b, c] = x[b, c] * sigmoid(raised[c].item())
    assert torch.allclose(layer(x), want, atol=1e-5)


@torch.no_grad()
def test_cbam_cell_by_cell() -> None:
    layer, x = moved(CBAM(32)), picture((5, 9))
    want = torch.empty_like(x)
    for b in range(2):
        cells = x[b].flatten(1)
        gate = layer.gate
        both = [on_vector(gate.excite, on_vector(gate.squeeze, v).clamp(min=0)) for v in (cells.mean(1), cells.amax(1))]
        weighed = x[b] * torch.sigmoid(both[0] + both[1]).view(-1, 1, 1)
        maps = torch.zeros(2, 5 + 6, 9 + 6)
        maps[0, 3:-3, 3:-3], maps[1, 3:-3, 3:-3] = weighed.mean(0), weighed.amax(0)
        for i in range(5):
            for j in range(9):
                raised = (layer.place.weight[0] * maps[:, i : i + 7, j : j + 7]).sum().item()
                want[b, :, i, j] = weighed[:, i, j] * sigmoid(raised)
    assert torch.allclose(layer(x), want, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("published", [False, True])
def test_coordinate_attention_row_by_row(published: bool) -> None:
    layer, x = moved(CoordinateAttention(32, published=published)), picture((4, 7))

    def weights(means: Tensor, out: nn.Module) -> Tensor:
        t = on_vector(layer.mix, means)
        t = (t - layer.bn.running_mean) / torch.sqrt(layer.bn.running_var + 1e-3) * layer.bn.weight + layer.bn.bias
        gate = (t + 3).clamp(0, 6) / 6
        return torch.sigmoid(on_vector(out, gate if published else t * gate))

    want = torch.empty_like(x)
    for b in range(2):
        rows = [weights(x[b, :, i].mean(1), layer.rows) for i in range(4)]
        columns = [weights(x[b, :, :, j].mean(1), layer.columns) for j in range(7)]
        for i in range(4):
            for j in range(7):
                want[b, :, i, j] = x[b, :, i, j] * rows[i] * columns[j]
    assert torch.allclose(layer(x), want, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("rows", [4, 8, 20])
def test_pooled_strips_one_by_one(rows: int) -> None:
    layer, x = moved(PooledStripAttention(32, strips=8, heads=4)), picture((rows, 6))
    entered = layer.entry(x)
    strips = torch.empty(2, 32, 8, 6)
    for i in range(8):  # with fewer rows than strips a row stands in several strips
        strips[:, :, i] = entered[:, :, i * rows // 8 : -(-(i + 1) * rows // 8)].mean(2)
    tokens = F.layer_norm(strips.flatten(2).transpose(1, 2), (32,), layer.norm.weight, layer.norm.bias)
    mixed = as_torch(layer.attention, 32, 4)(tokens, tokens, tokens, need_weights=False)[0]
    mixed = mixed.transpose(1, 2).reshape(2, 32, 8, 6)
    stretched = torch.empty(2, 32, rows, 6)
    for i in range(rows):
        y = max((i + 0.5) * 8 / rows - 0.5, 0.0)
        low, high = int(y), min(int(y) + 1, 7)
        stretched[:, :, i] = mixed[:, :, low] * (1 - (y - low)) + mixed[:, :, high] * (y - low)
    assert torch.allclose(layer(x), x + layer.exit(stretched), atol=1e-5)


def test_start_of_pooled_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = PooledStripAttention(128).attention, nn.MultiheadAttention(128, 8)
    packed = torch.cat([part.weight for part in (ours.query, ours.key, ours.value)])
    assert packed.std().item() == pytest.approx(theirs.in_proj_weight.std().item(), rel=0.02)
    assert packed.abs().max().item() == pytest.approx(theirs.in_proj_weight.abs().max().item(), rel=0.01)
    assert ours.out.weight.std().item() == pytest.approx(theirs.out_proj.weight.std().item(), rel=0.02)
    assert all(not part.bias.any() for part in (ours.query, ours.key, ours.value, ours.out))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LAYERS)
def test_any_size_of_map(name: str, size: tuple[int, int]) -> None:
    layer, x = LAYERS[name]().train(), picture(size).requires_grad_()
    made = layer(x)
    assert made.shape == x.shape
    made.square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_fused_layers_agree(name: str) -> None:
    layer, x = moved(LAYERS[name]()), picture((6, 10))
    twin = copy.deepcopy(layer)
    for _ in range(2):  # the second time nothing is left to do
        for part in list(twin.modules()):
            if hasattr(part, "fuse"):
                part.fuse()
    left = [part for part in twin.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(left) == (name == "ca published")
    with torch.no_grad():
        assert torch.allclose(layer(x), twin(x), atol=1e-5)
