"""Sparse class loss against torch's dense one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from finespot.losses import sparse_bce


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 9),
    classes=st.integers(1, 5),
    count=st.integers(0, 6),
    ignoring=st.booleans(),
    seed=st.integers(0, 99),
)
def test_value_and_gradient_are_those_of_the_dense_form(
    rows: int, classes: int, count: int, ignoring: bool, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = 8 * torch.randn(rows, classes, generator=draw)
    places = torch.randperm(rows * classes, generator=draw)[:count]
    values = torch.rand(len(places), generator=draw)
    dense = torch.zeros(rows * classes).index_put_((places,), values).reshape(rows, classes)
    ignored = torch.zeros(rows, classes, dtype=torch.bool)
    if ignoring:
        ignored = (torch.rand(rows, classes, generator=draw) < 0.3) & (dense == 0)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    got = sparse_bce(ours, places // classes, places % classes, values, ignored if ignoring else None)
    want = F.binary_cross_entropy_with_logits(theirs, dense, reduction="none")[~ignored].sum()
    assert got.item() == pytest.approx(want.item(), rel=1e-5, abs=1e-6)
    (2 * got).backward()
    (2 * want).backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    assert not ours.grad[ignored].any()


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[-1e4, 1e4], [0.0, 88.0]]).requires_grad_()
    loss = sparse_bce(logits, torch.tensor([0]), torch.tensor([0]), torch.tensor([1.0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_half_precision_is_summed_in_float32() -> None:
    logits = torch.full((3000, 4), -6.0, dtype=torch.bfloat16).requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    loss = sparse_bce(logits, none, none, torch.zeros(0))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(12000 * F.softplus(torch.tensor(-6.0)).item(), rel=1e-4)
    assert logits.grad.dtype == torch.bfloat16
