"""Learning rate, momentum and accumulation against the formulas, and as the optimizer shows them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from finespot.training.optimizer import build_optimizer
from finespot.training.recipe import AdamW, Recipe, Sgd
from finespot.training.recipe import Schedule as Settings
from finespot.training.schedule import Schedule, full_accumulation


def schedule(per_epoch: int = 10, **keys: object) -> Schedule:
    return Schedule.of(Recipe(**keys), per_epoch)  # type: ignore[arg-type]


def warmup(plan: Schedule) -> int:
    return plan.warmup(plan.stages.every[0])


def test_table_of_rates_is_what_the_optimizer_gets() -> None:
    """Ten iterations an epoch, 100 epochs: warm-up over 30 iterations, then one step down an epoch."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = build_optimizer(model, Sgd(), weight_decay=5e-4)
    plan = schedule()
    table = {
        # iteration: (weights, biases, momentum)
        0: (0.0, 0.1, 0.8),
        15: (0.01 * (0.99 * 0.99 + 0.01) / 2, 0.1 + (0.01 * (0.99 * 0.99 + 0.01) - 0.1) / 2, 0.8685),
        30: (0.01 * (0.97 * 0.99 + 0.01), 0.01 * (0.97 * 0.99 + 0.01), 0.937),
        39: (0.01 * (0.97 * 0.99 + 0.01), 0.01 * (0.97 * 0.99 + 0.01), 0.937),
        999: (0.01 * (0.01 * 0.99 + 0.01), 0.01 * (0.01 * 0.99 + 0.01), 0.937),
    }
    for iteration, (weights, biases, momentum) in table.items():
        plan.apply(optimizer, iteration)
        groups = {group["kind"]: group for group in optimizer.param_groups}
        assert groups["weight"]["lr"] == pytest.approx(weights)
        assert groups["norm"]["lr"] == pytest.approx(weights)
        assert groups["bias"]["lr"] == pytest.approx(biases)
        assert [group["momentum"] for group in groups.values()] == pytest.approx([momentum] * 3)


def test_cosine() -> None:
    plan = schedule(schedule=Settings(name="cosine", final=0.1, warmup_epochs=0))
    for epoch in (0, 25, 50, 99):
        expected = 0.01 * ((1 - math.cos(math.pi * epoch / 100)) / 2 * (0.1 - 1) + 1)
        assert plan.lr(epoch * 10) == pytest.approx(expected)


def test_final_share_and_warmup_epochs_have_an_effect() -> None:
    assert schedule(schedule=Settings(final=1.0)).lr(990) == pytest.approx(0.01)
    assert schedule(schedule=Settings(warmup_epochs=0)).lr(0) == pytest.approx(0.01)
    assert warmup(schedule(schedule=Settings(warmup_epochs=1.5))) == 15


def test_warmup_leaves_one_epoch() -> None:
    assert warmup(schedule(epochs=2)) == 10
    assert warmup(schedule(epochs=1)) == 0


def test_adamw_has_no_momentum_and_cold_biases() -> None:
    plan = schedule(optimizer=AdamW())
    assert plan.momentum(0) is None
    assert plan.lr(0, "bias") == 0.0
    model = nn.Conv2d(3, 4, 1)
    optimizer = build_optimizer(model, AdamW(betas=(0.8, 0.99)), weight_decay=0.1)
    plan.apply(optimizer, 100)
    assert all(group["betas"] == (0.8, 0.99) for group in optimizer.param_groups)


def test_sgd_warmup_keys_have_an_effect() -> None:
    plan = schedule(optimizer=Sgd(warmup_momentum=0.5, warmup_bias_lr=0.05))
    assert plan.momentum(0) == 0.5
    assert plan.lr(0, "bias") == 0.05


@pytest.mark.parametrize(
    ("batch", "nominal", "full"), [(8, 64, 8), (16, 64, 4), (64, 64, 1), (128, 64, 1), (24, 64, 3), (4, 8, 2)]
)
def test_accumulation(batch: int, nominal: int, full: int) -> None:
    recipe = Recipe(batch=batch, nominal_batch=nominal)
    plan = Schedule.of(recipe, 10)
    assert full_accumulation(recipe) == full
    assert plan.accumulate(0) == 1
    assert plan.accumulate(30) == full


@given(st.integers(0, 2000), st.integers(1, 50), st.integers(1, 40))
def test_rates_stay_between_start_and_end(iteration: int, per_epoch: int, epochs: int) -> None:
    plan = schedule(per_epoch, epochs=epochs)
    iteration = min(iteration, epochs * per_epoch - 1)
    assert 0 <= plan.lr(iteration) <= 0.01 + 1e-12
    assert 0 <= plan.lr(iteration, "bias") <= 0.1
    assert 1 <= plan.accumulate(iteration) <= 4


def test_rates_never_rise_after_the_warmup() -> None:
    rates = torch.tensor([schedule().lr(i) for i in range(30, 1000)])
    assert bool((rates.diff() <= 0).all())
