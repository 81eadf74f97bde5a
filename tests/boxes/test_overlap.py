"""Overlap of boxes: against exact fractions, known cases, and gradients on boxes of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from finespot.boxes.overlap import KINDS, iou_family, pairwise_iou
from finespot.errors import FineSpotError

coordinate = st.floats(0, 700, width=32)


@st.composite
def box(draw: st.DrawFn) -> list[float]:
    x1, y1, x2, y2 = draw(coordinate), draw(coordinate), draw(coordinate), draw(coordinate)
    return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]


def slow_iou(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


@pytest.mark.slow
@settings(deadline=None)
@given(first=st.lists(box(), max_size=5), second=st.lists(box(), max_size=5))
def test_pairwise_iou(first: list[list[float]], second: list[list[float]]) -> None:
    a, b = (torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4) for boxes in (first, second))
    want = np.array([[slow_iou(p, q) for q in second] for p in first]).reshape(len(first), len(second))
    assert pairwise_iou(a, b).numpy() == pytest.approx(want, abs=1e-9)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(st.tuples(box(), box()), min_size=1, max_size=8), kind=st.sampled_from(KINDS))
@example(pairs=[([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0])], kind="giou")
def test_values_in_range_and_gradients_finite(pairs: list[tuple[list[float], list[float]]], kind: str) -> None:
    a, b = (torch.tensor(boxes, dtype=torch.float32).requires_grad_() for boxes in zip(*pairs))
    value = iou_family(a, b, kind)
    assert value.shape == (len(pairs),)
    assert (value <= 1 + 1e-6).all()
    assert (value >= (0 if kind == "iou" else -2.5)).all()
    value.sum().backward()
    assert torch.isfinite(a.grad).all()
    assert torch.isfinite(b.grad).all()


def test_known_values() -> None:
    a, b = torch.tensor([0.0, 0, 4, 4], dtype=torch.float64), torch.tensor([2.0, 0, 6, 4], dtype=torch.float64)
    assert iou_family(a, b).item() == pytest.approx(8 / 24)
    assert iou_family(a, b, "giou").item() == pytest.approx(8 / 24)
    assert iou_family(a, b, "diou").item() == pytest.approx(8 / 24 - 4 / 52)
    assert iou_family(a, b, "ciou").item() == pytest.approx(8 / 24 - 4 / 52)
    far = torch.tensor([10.0, 0, 14, 4], dtype=torch.float64)
    assert iou_family(a, far, "giou").item() == pytest.approx(-24 / 56)
    flat = torch.tensor([0.0, 0, 8, 2], dtype=torch.float64)
    v = 4 / math.pi**2 * (math.atan(4) - math.atan(1)) ** 2
    iou = 8 / 24
    want = iou - (4 + 1) / (64 + 16) - v * v / (v - iou + 1)
    assert iou_family(a, flat, "ciou").item() == pytest.approx(want, rel=1e-6)


def test_alpha_carries_no_gradient() -> None:
    a = torch.tensor([0.0, 0, 4, 4], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.0, 0, 8, 2], dtype=torch.float64)
    (ciou,) = torch.autograd.grad(iou_family(a, b, "ciou"), a)
    (diou,) = torch.autograd.grad(iou_family(a, b, "diou"), a)
    v = 4 / math.pi**2 * (torch.atan(torch.tensor(4.0)) - torch.atan((a[2] - a[0]) / (a[3] - a[1]))) ** 2
    alpha = (v / (v - iou_family(a, b) + 1)).item()
    (aspect,) = torch.autograd.grad(v, a)
    assert torch.allclose(ciou, diou - alpha * aspect, atol=1e-6)


def test_unknown_kind() -> None:
    with pytest.raises(FineSpotError, match=r"unknown overlap 'ciuo'; did you mean ciou"):
        iou_family(torch.zeros(4), torch.zeros(4), "ciuo")
