"""Distribution focal loss: against its definition, and at its edges."""

from __future__ import annotations

import pytest
import torch

from finespot.losses import distribution_focal


def slow(logits: torch.Tensor, distances: torch.Tensor) -> list[float]:
    bins, found = logits.shape[-1], []
    for pair, sides in zip(logits.double(), distances.double()):
        total = 0.0
        for row, distance in zip(pair, sides):
            aim = min(max(float(distance), 0.0), bins - 1.01)
            log_p, left = torch.log_softmax(row, 0), int(aim)
            total -= float(log_p[left]) * (left + 1 - aim) + float(log_p[left + 1]) * (aim - left)
        found.append(total / 4)
    return found


def test_against_the_definition() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20, 4, 16, generator=draw)
    distances = 20 * torch.rand(20, 4, generator=draw) - 2
    assert distribution_focal(logits, distances).tolist() == pytest.approx(slow(logits, distances), rel=1e-4)


def test_a_sure_and_right_distribution_costs_nothing() -> None:
    logits = torch.full((1, 4, 16), -50.0)
    logits[..., 7] = 50
    assert distribution_focal(logits, torch.full((1, 4), 7.0)).item() == pytest.approx(0, abs=1e-6)
    assert distribution_focal(logits, torch.full((1, 4), 3.0)).item() > 50


def test_gradient_is_finite_beyond_the_last_bin_and_without_pairs() -> None:
    logits = torch.zeros(2, 4, 16, requires_grad=True)
    distribution_focal(logits, torch.tensor([[-9.0, 0, 15, 1e6]] * 2)).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert distribution_focal(torch.zeros(0, 4, 16), torch.zeros(0, 4)).shape == (0,)
