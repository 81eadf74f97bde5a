"""DPRA and its parts against slow literal forms on maps of any size, and the released form where that is right."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_layers import conv, drawn, gelu, layer_norm, linear, lively
from torch import Tensor

from finespot.nn.layers import DPRA, FRFN, AdaptiveSparseSA, SimAM, SparseAttention

SIZES = [(1, 1), (2, 3), (4, 4), (5, 9), (3, 16), (8, 8), (12, 6)]


def literal_attention(layer: SparseAttention, x: Tensor) -> Tensor:
    """Cell by cell; x is (H, W, C). Windows are told by the shifted cells alone."""
    height, width, channels = x.shape
    each = channels // layer.heads
    parts = (layer.query, layer.key, layer.value)
    query, key, value = (linear(x, part).view(height, width, -1, each) for part in parts)
    e = layer.branches.exp()
    dense, sparse = e[0] / e.sum(), e[1] / e.sum()
    cells = [(i, j) for i in range(height) for j in range(width)]
    mixed = torch.zeros_like(query)
    for i, j in cells:
        seen = [(r, c) for r, c in cells if ((r + 2) // 4, (c + 2) // 4) == ((i + 2) // 4, (j + 2) // 4)]
        for head in range(layer.heads):
            scores = torch.stack(
                [
                    (query[i, j, head] * key[r, c, head]).sum() / math.sqrt(each)
                    + layer.position[(i - r + 3) * 7 + j - c + 3, head]
                    for r, c in seen
                ]
            )
            shares = dense * scores.exp() / scores.exp().sum() + sparse * scores.clamp(min=0) ** 2
            mixed[i, j, head] = sum(share * value[r, c, head] for share, (r, c) in zip(shares, seen))
    return linear(mixed.flatten(2), layer.out)


@pytest.mark.parametrize("size", SIZES)
def test_attention_stays_in_its_windows_on_any_map(size: tuple[int, int]) -> None:
    layer, x = lively(SparseAttention(6, 2)), drawn(2, *size, 6)
    with torch.no_grad():
        found = layer(x)
        for picture in range(2):
            assert torch.allclose(found[picture], literal_attention(layer, x[picture]), atol=1e-5)


def released_attention(layer: SparseAttention, x: Tensor) -> Tensor:
    """As the released code computes it: roll, cut into windows, label zones, -100 between them, roll back."""
    height, width, channels = x.shape
    rolled = x.roll((-2, -2), (0, 1))

    def windows(y: Tensor) -> Tensor:
        return y.view(height // 4, 4, width // 4, 4, -1).transpose(1, 2).reshape(-1, 16, y.shape[-1])

    zones = torch.zeros(height, width, 1)
    cuts = (slice(0, -4), slice(-4, -2), slice(-2, None))
    for number, (rows, columns) in enumerate((r, c) for r in cuts for c in cuts):
        zones[rows, columns] = number
    zones, w = windows(zones), windows(rolled)
    query, key, value = (
        linear(w, part).view(-1, 16, layer.heads, channels // layer.heads).transpose(1, 2)
        for part in (layer.query, layer.key, layer.value)
    )
    scores = query @ key.transpose(-1, -2) * (channels // layer.heads) ** -0.5
    for one in range(16):
        for other in range(16):
            offset = (one // 4 - other // 4 + 3) * 7 + one % 4 - other % 4 + 3
            scores[:, :, one, other] += layer.position[offset]
    scores = scores + torch.where(zones == zones.transpose(1, 2), 0.0, -100.0)[:, None]
    blend = torch.softmax(layer.branches, 0)
    shares = blend[0] * scores.softmax(-1) + blend[1] * scores.relu() ** 2
    mixed = linear((shares @ value).transpose(1, 2).flatten(2), layer.out)
    back = mixed.view(height // 4, width // 4, 4, 4, -1).transpose(1, 2).reshape(height, width, -1)
    return back.roll((2, 2), (0, 1))


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (12, 12), (8, 16)])
def test_attention_is_the_released_one_where_that_is_right(size: tuple[int, int]) -> None:
    layer, x = lively(SparseAttention(6, 2)), drawn(1, *size, 6)
    with torch.no_grad():
        assert torch.allclose(layer(x)[0], released_attention(layer, x[0]), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))
def test_what_lies_beyond_a_window_is_never_seen(down: int, right: int, more: int, wider: int) -> None:
    """A map that is cut where windows end gives what the whole map gives there: what fills up is as good as cut off."""
    layer = lively(SparseAttention(6, 2))
    height, width = 4 * down + 2, 4 * right + 2
    x = drawn(1, height + more, width + wider, 6)
    with torch.no_grad():
        assert torch.allclose(layer(x)[:, :height, :width], layer(x[:, :height, :width]), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (4, 16), (5, 3)])
def test_refinement_keeps_the_map(size: tuple[int, int]) -> None:
    layer, x = lively(FRFN(8, 10)), drawn(1, *size, 8)
    with torch.no_grad():
        refined = conv(x[0, ..., :2].permute(2, 0, 1), layer.refine).permute(1, 2, 0)
        y = torch.cat((refined, x[0, ..., 2:]), -1)
        gate = conv(gelu(linear(y, layer.gate)).permute(2, 0, 1), layer.spread).permute(1, 2, 0)
        want = linear(gelu(gate) * gelu(linear(y, layer.value)), layer.out)
        assert torch.allclose(layer(x)[0], want, rtol=1e-5, atol=1e-5)


def literal_simam(x: Tensor) -> Tensor:
    """x is (H, W, C)."""
    out, cells = torch.zeros_like(x), x.shape[0] * x.shape[1]
    for c in range(x.shape[2]):
        values = x[..., c].flatten().tolist()
        mean = sum(values) / cells
        energy = sum((v - mean) ** 2 for v in values) / max(cells - 1, 1)
        for place, v in enumerate(values):
            weight = 1 / (1 + math.exp(-((v - mean) ** 2 / (4 * (energy + 1e-4)) + 0.5)))
            out[place // x.shape[1], place % x.shape[1], c] = v * weight
    return out


@pytest.mark.parametrize("size", [(1, 1), (2, 5)])
def test_simam(size: tuple[int, int]) -> None:
    x = drawn(2, *size, 3)
    found = SimAM()(x)
    assert all(torch.allclose(found[i], literal_simam(x[i]), atol=1e-6) for i in range(2))


@pytest.mark.parametrize("size", [(4, 4), (3, 6)])
def test_dpra(size: tuple[int, int]) -> None:
    layer, x = lively(DPRA(8, 12, 2)), drawn(1, 8, *size)
    block: AdaptiveSparseSA = layer.attention
    with torch.no_grad():
        cells = x[0].permute(1, 2, 0)
        s = cells + literal_attention(block.attention, layer_norm(cells, block.before_attention, 1e-5))
        s = s + block.refinement(layer_norm(s, block.before_refinement, 1e-5)[None])[0]
        y = layer_norm(cells + literal_simam(s), layer.attention_norm, 1e-6)
        feed = layer.feedforward
        want = layer_norm(y + linear(gelu(linear(y, feed.expand)), feed.contract), layer.feedforward_norm, 1e-6)
        assert torch.allclose(layer(x)[0], want.permute(2, 0, 1), atol=1e-5)


def test_attention_starts_with_equal_shares() -> None:
    torch.manual_seed(0)
    layer = SparseAttention(64)
    assert torch.softmax(layer.branches, 0).tolist() == [0.5, 0.5]
    assert layer.position.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("size", [(1, 1), (5, 9)])
def test_attention_has_finite_gradients_and_stands_large_scores(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer, x = DPRA(16, 16, 2), drawn(1, 16, *size).requires_grad_()
    attention = layer.attention.attention
    with torch.no_grad():  # scores whose squares no half can hold, of small values
        attention.query.bias.fill_(30)
        attention.key.bias.fill_(30)
        attention.value.weight *= 1e-5
        attention.value.bias.zero_()
    with torch.autocast("cpu", torch.float16):
        found = layer(x)
    assert torch.isfinite(found).all()
    found.float().square().sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in (x, *layer.parameters()))
