"""The omni-kernel against a slow literal form with both transforms; the two forms of the spectrum, in any format."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_layers import conv, drawn, gelu, lively, normed
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.nn.layers import FGM, OmniKernel, SMEModule
from finespot.nn.layers.spectrum import weighed_spectrum


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
        for i in range(2):
            want = literal_omni(layer, x[i])
            assert (found[i] - want).abs().max() < 1e-5 * want.abs().max().clamp(min=1)


def test_a_quarter_of_the_channels_goes_through_the_omni_kernel() -> None:
    layer, x = lively(SMEModule(12)), drawn(1, 12, 4, 5)
    with torch.no_grad():
        through, beside = (normed(x[0], branch, act=True) for branch in layer.entry.branches)
        assert (len(through), len(beside)) == (3, 9)
        joined = torch.cat((literal_omni(layer.kernel, through), beside))
        want = normed(joined, layer.exit, act=True)
        assert (layer(x)[0] - want).abs().max() < 1e-5 * want.abs().max().clamp(min=1)


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
