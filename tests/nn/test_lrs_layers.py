"""LRS-DETR's layers against slow literal forms, on maps of any size, in any number format, with what they start as."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers import (
    DPRA,
    FGM,
    FRFN,
    LFA,
    AdaptiveSparseSA,
    DEFBlock,
    DEFModule,
    OmniKernel,
    SimAM,
    SMEModule,
    SparseAttention,
    SPDConv,
)
from finespot.nn.layers.spectrum import weighed_spectrum

SIZES = [(1, 1), (2, 3), (4, 4), (5, 9), (3, 16), (8, 8), (12, 6)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(module: nn.Module) -> nn.Module:
    """With every parameter and statistic off its start."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in module.parameters():
            one += 0.2 * torch.randn(one.shape, generator=draw)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(0.3 * torch.randn(part.running_mean.shape, generator=draw))
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=draw))
    return module.eval()


def conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A convolution of stride 1 with zeros at the rim, cell by cell; x is (C, H, W)."""
    weight, (rows, columns) = layer.weight, layer.weight.shape[2:]
    _, height, width = x.shape
    each_in, each_out = weight.shape[1], len(weight) // layer.groups
    out = torch.zeros(len(weight), height, width)
    for c in range(len(weight)):
        first = c // each_out * each_in
        for i in range(rows):
            for j in range(columns):
                di, dj = i - rows // 2, j - columns // 2
                top, bottom = max(0, -di), min(height, height - di)
                left, right = max(0, -dj), min(width, width - dj)
                if top < bottom and left < right:
                    part = x[first : first + each_in, top + di : bottom + di, left + dj : right + dj]
                    out[c, top:bottom, left:right] += torch.einsum("k,khw->hw", weight[c, :, i, j], part)
    return out if layer.bias is None else out + layer.bias[:, None, None]


def normed(x: Tensor, layer: nn.Module, act: bool) -> Tensor:
    """Convolution, batch norm, SiLU where `act` is set; x is (C, H, W)."""
    y, bn = conv(x, layer.conv), layer.bn
    scale = bn.weight / torch.sqrt(bn.running_var + 1e-3)
    y = (y - bn.running_mean[:, None, None]) * scale[:, None, None] + bn.bias[:, None, None]
    return y * torch.sigmoid(y) if act else y


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return torch.einsum("...i,oi->...o", x, layer.weight) + layer.bias


def layer_norm(x: Tensor, layer: nn.LayerNorm, eps: float) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt(centered.square().mean(-1, keepdim=True) + eps) * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


# Space to depth.


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


# The block of the backbone.


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
            assert torch.allclose(found[picture], want, rtol=1e-5, atol=1e-4)


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


# Attention in windows.


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


# The omni-kernel.


def literal_omni(layer: OmniKernel, x: Tensor) -> Tensor:
    """With both transforms, as the released code has them; x is (C, H, W)."""

    def gated(weights: np.ndarray, y: Tensor) -> Tensor:
        spectrum = np.fft.fft2(y.double().numpy(), axes=(1, 2))
        return torch.from_numpy(np.abs(np.fft.ifft2(weights * spectrum, axes=(1, 2)))).float()

    o = gelu(conv(x, layer.entry))
    a = conv(o.mean((1, 2))[:, None, None], layer.weigh_frequencies)
    f = gated(a.double().numpy(), o)
    b = conv(f.mean((1, 2))[:, None, None], layer.weigh_cells)
    z, gate = b * f, layer.gate
    g = gated(conv(z, gate.weigh).double().numpy(), conv(z, gate.transformed))
    s = g * gate.alpha + z * gate.beta
    r = x + conv(o, layer.wide) + conv(o, layer.tall) + conv(o, layer.large) + conv(o, layer.point) + s
    return conv(r.clamp(min=0), layer.exit)


@pytest.mark.parametrize("spectrum", ["fft", "matrix"])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (3, 12)])
def test_omni_kernel_with_and_without_its_first_transform(size: tuple[int, int], spectrum: str) -> None:
    layer, x = lively(OmniKernel(3, spectrum)), drawn(2, 3, *size)
    with torch.no_grad():
        found = layer(x)
        assert all(torch.allclose(found[i], literal_omni(layer, x[i]), rtol=1e-4, atol=1e-5) for i in range(2))


def test_a_quarter_of_the_channels_goes_through_the_omni_kernel() -> None:
    layer, x = lively(SMEModule(12)), drawn(1, 12, 4, 5)
    with torch.no_grad():
        through, beside = (normed(x[0], branch, act=True) for branch in layer.entry.branches)
        assert (len(through), len(beside)) == (3, 9)
        joined = torch.cat((literal_omni(layer.kernel, through), beside))
        assert torch.allclose(layer(x)[0], normed(joined, layer.exit, act=True), rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6))
def test_matrices_are_the_transform(height: int, width: int, seed: int) -> None:
    x, weights = (drawn(1, 2, height, width, seed=seed + i).requires_grad_() for i in range(2))
    found = [weighed_spectrum(x, weights, form) for form in ("fft", "matrix")]
    assert torch.allclose(*found, rtol=1e-4, atol=1e-4)
    slopes = [torch.autograd.grad(one.square().sum(), (x, weights)) for one in found]
    for one, other in zip(*slopes):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()) + 1e-5)


def test_matrices_are_the_transform_at_the_size_of_a_picture() -> None:
    x, weights = drawn(1, 2, 80, 104) + 10, drawn(1, 2, 80, 104, seed=1)
    one, other = (weighed_spectrum(x, weights, form) for form in ("fft", "matrix"))
    assert (one - other).abs().max() < 1e-4 * one.max()


@pytest.mark.parametrize("form", ["fft", "matrix"])
def test_spectrum_of_nothing_has_a_finite_slope(form: str) -> None:
    x, weights = torch.zeros(1, 1, 4, 6, requires_grad=True), torch.ones(1, 1, 4, 6)
    weighed_spectrum(x, weights, form).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("form", ["fft", "matrix"])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_spectrum_is_float32_in_any_format(form: str, kind: torch.dtype) -> None:
    x, weights = (drawn(1, 2, 6, 10, seed=i).to(kind) for i in range(2))
    want = weighed_spectrum(x.float(), weights.float(), form)
    with torch.autocast("cpu", kind):
        found = weighed_spectrum(x, weights, form)
    assert found.dtype == torch.float32
    assert torch.equal(found, want)
    layer = lively(OmniKernel(3, form)).to(kind)
    with torch.no_grad():
        assert layer(drawn(1, 3, 5, 6).to(kind)).dtype == kind


def test_frequency_gate_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    gate, x = FGM(4), drawn(1, 4, 6, 5)
    assert torch.equal(gate(x), x)
    gate(x).sum().backward()
    assert float(gate.alpha.grad.abs().sum()) > 0
    assert float(gate.weigh.weight.grad.abs().sum()) == 0
    with pytest.raises(FineSpotError, match="unknown form of the spectrum 'dct'"):
        FGM(4, "dct")


def test_unused_convolution_changes_no_value() -> None:
    plain, kept = SMEModule(16), SMEModule(16, keep_unused=True)
    lively(plain)
    lacking = kept.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert lacking == ["kernel.gate.unused.weight", "kernel.gate.unused.bias"]
    assert sum(kept.state_dict()[key].numel() for key in lacking) == 4 * 2 * (9 + 1)
    with torch.no_grad():
        assert torch.equal(kept.eval()(drawn(1, 16, 4, 4)), plain(drawn(1, 16, 4, 4)))


@pytest.mark.slow
def test_graphs_hold_no_transform() -> None:
    layer, x = lively(SMEModule(16)), drawn(1, 16, 6, 9)
    program = torch.export.export(layer, (x,))
    assert not [str(node.target) for node in program.graph.nodes if "fft" in str(node.target)]
    with torch.no_grad():
        assert torch.allclose(program.module()(x), layer(x), rtol=0, atol=1e-4)
