"""Focal, quality focal and varifocal loss: golden values, options, extreme logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from finespot.losses import focal, quality_focal, varifocal

CASES = json.loads((Path(__file__).parent / "data" / "box_golden.json").read_text())["classification"]
LOGITS = torch.tensor([case["logit"] for case in CASES], dtype=torch.float64)
TARGETS = torch.tensor([case["target"] for case in CASES], dtype=torch.float64)
LOSSES = {"focal_a0.25_g2": focal, "qfl_beta2": quality_focal, "vfl_a0.75_g2": varifocal}


@pytest.mark.parametrize("name", LOSSES)
def test_golden(name: str) -> None:
    wanted = [case[name] for case in CASES]
    assert LOSSES[name](LOGITS, TARGETS).tolist() == pytest.approx(wanted, abs=1e-9)
    assert LOSSES[name](LOGITS.float().reshape(2, 4), TARGETS.reshape(2, 4)).flatten().tolist() == pytest.approx(
        wanted, rel=1e-4, abs=1e-7
    )


def test_options_take_effect() -> None:
    x, y = torch.tensor([0.5]), torch.tensor([0.0])
    assert focal(x, y, alpha=0.5).item() == pytest.approx(focal(x, y).item() * 0.5 / 0.75)
    p = torch.sigmoid(x).item()
    assert focal(x, y, gamma=1.5).item() == pytest.approx(focal(x, y).item() / p**0.5)
    assert quality_focal(x, y, beta=1).item() == pytest.approx(quality_focal(x, y).item() / p)
    assert varifocal(x, y, alpha=0.5).item() == pytest.approx(varifocal(x, y).item() * 0.5 / 0.75)
    assert varifocal(x, y, gamma=1).item() == pytest.approx(varifocal(x, y).item() / p)


def test_no_gradient_through_the_weight_of_varifocal() -> None:
    x = torch.tensor([0.5], requires_grad=True)
    varifocal(x, torch.zeros(1)).sum().backward()
    p = torch.sigmoid(x.detach())
    assert x.grad.item() == pytest.approx((0.75 * p**2 * p).item())


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_in_float32_for_all_logits(power: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([-1e4, -100.0, -20, 0, 20, 100, 1e4], dtype=dtype)
    for quality in (0.0, 0.5, 1.0):
        for loss in (focal, quality_focal, varifocal):
            x = logits.clone().requires_grad_()
            y = torch.full_like(logits, quality)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value: Tensor = loss(x, y, beta=power) if loss is quality_focal else loss(x, y, gamma=power)  # type: ignore[call-arg]
            value.sum().backward()
            assert value.dtype == torch.float32
            assert torch.isfinite(value).all()
            assert torch.isfinite(x.grad).all()


def test_nothing_to_learn_at_the_quality() -> None:
    x = torch.logit(torch.tensor([0.7])).requires_grad_()
    quality_focal(x, torch.tensor([0.7])).sum().backward()
    assert x.grad.item() == pytest.approx(0, abs=1e-6)
