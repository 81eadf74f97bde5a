"""Similarities of pairs: all with all, symmetries, scales, and the parts they are made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finespot.boxes import gaussian, geometry, penalized
from finespot.boxes.overlap import pairwise_iou

MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "iou": geometry.iou,
    "nwd": gaussian.nwd,
    "gcd": gaussian.gcd,
    "kld": gaussian.kld,
    "safit": gaussian.safit,
    "dotd": gaussian.dotd,
    "simd": gaussian.simd,
    "eiou": penalized.eiou,
    "siou": penalized.siou,
    "shape_iou": penalized.shape_iou,
    "inner_iou": penalized.inner_iou,
    "focaler_iou": penalized.focaler_iou,
    "mpdiou": lambda a, b: penalized.mpdiou(a, b, (480, 640)),
}


def boxes(count: int, seed: int) -> Tensor:
    corners = 30 * torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat((corners[:, 0], corners[:, 0] + 1 + corners[:, 1]), 1)


@pytest.mark.parametrize("name", MEASURES)
def test_all_with_all_is_pair_by_pair(name: str) -> None:
    a, b = boxes(4, 0), boxes(7, 1)
    table = MEASURES[name](a[:, None], b[None])
    assert table.shape == (4, 7)
    for row, column in ((0, 0), (3, 6), (2, 5)):
        assert table[row, column].item() == pytest.approx(MEASURES[name](a[row], b[column]).item(), rel=1e-6)
    assert MEASURES[name](a[:0, None], b[None]).shape == (0, 7)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999))
def test_best_with_itself(seed: int) -> None:
    a, b = boxes(5, seed), boxes(5, seed + 1000)
    for name, measure in MEASURES.items():
        assert measure(a, a).tolist() == pytest.approx([1] * 5, abs=1e-5), name
        assert (measure(a, b) < 1).all() or name == "focaler_iou"
        if name in ("iou", "nwd", "gcd", "dotd", "simd", "siou", "inner_iou"):
            assert torch.allclose(measure(a, b), measure(b, a), atol=1e-6), name
        if name in ("iou", "gcd", "kld", "simd", "eiou", "siou", "shape_iou"):
            assert torch.allclose(measure(3 * a, 3 * b), measure(a, b), atol=1e-5), name


def test_offsets_far_below_a_pixel_count() -> None:
    a, b = torch.tensor([[0.0, 0, 3, 3], [0.1, 0.05, 3.1, 3.05]], dtype=torch.float64)
    for measure in (geometry.iou, penalized.siou, penalized.eiou, penalized.shape_iou, gaussian.gcd, gaussian.kld):
        assert measure(a / 1000, b / 1000).item() == pytest.approx(measure(a, b).item(), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 9999), near=st.sampled_from([1e-7, 1e-6, 1e-3, 1]))
def test_iou_is_never_above_1(seed: int, near: float) -> None:
    a, b = boxes(50, seed), boxes(50, seed + 1)
    assert (geometry.iou(a, a + near * (b - a)) <= 1).all()


def test_iou_agrees_with_the_matrix() -> None:
    a, b = boxes(9, 2), boxes(5, 3)
    assert torch.allclose(geometry.iou(a[:, None], b[None]), pairwise_iou(a, b), atol=1e-6)


def test_boxes_are_grown_about_their_centers() -> None:
    box = torch.tensor([[10.0, 10, 10.5, 14]])
    assert geometry.at_least(box, 1.0).tolist() == [[9.75, 10, 10.75, 14]]
    assert geometry.scaled(box, 2.0).tolist() == [[9.75, 8, 10.75, 16]]


def test_constants_take_effect() -> None:
    a, b = boxes(1, 4), boxes(1, 5)
    assert gaussian.nwd(a, b, 64.0) > gaussian.nwd(a, b, 12.8)
    assert gaussian.dotd(a, b, 64.0) > gaussian.dotd(a, b, 12.7)
    assert gaussian.safit(a, b, 64.0) != gaussian.safit(a, b, 32.0)
    assert gaussian.simd(a, b, m=9.0) < gaussian.simd(a, b) < gaussian.simd(a, b, n=3.0)
    # Of extreme sides and powers too.
    assert torch.isfinite(penalized.shape_iou(a, torch.tensor([0.0, 0, 1e5, 1e-3]), 50.0)).all()


def test_coarse_boxes_are_widened() -> None:
    box = torch.tensor([[0.0, 0, 512, 512]], dtype=torch.float16)
    for name, measure in MEASURES.items():
        assert measure(box, box).dtype == torch.float32, name
        assert measure(box, box).item() == pytest.approx(1, abs=1e-6), name
