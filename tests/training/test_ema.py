"""The moving average against its formula, written as a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from finespot.training.ema import Ema


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_average_follows_the_formula() -> None:
    model = network()
    ema = Ema(model, decay=0.9, tau=5.0)
    slow: dict[str, Tensor] = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(1, 8):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        ema.update(model)
        keep = 0.9 * (1 - math.exp(-step / 5.0))
        for name, value in model.state_dict().items():
            slow[name] = keep * slow[name] + (1 - keep) * value if value.is_floating_point() else value.clone()
    for name, value in ema.model.state_dict().items():
        assert torch.allclose(value, slow[name], rtol=1e-5, atol=1e-7), name
    assert int(ema.model.state_dict()["1.num_batches_tracked"]) == 7
    assert not torch.equal(ema.model.state_dict()["1.running_mean"], torch.zeros(4))


def test_decay_and_tau_have_an_effect() -> None:
    assert Ema(network(), 0.9999, 2000).share(2000) == pytest.approx(0.9999 * (1 - math.exp(-1)))
    assert Ema(network(), 0.5, 2000).share(10**6) == pytest.approx(0.5)
    assert Ema(network(), 0.9999, 1).share(2000) == pytest.approx(0.9999)


def test_average_is_still_and_detached() -> None:
    model = network()
    ema = Ema(model)
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    before = ema.model[0].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    assert torch.equal(ema.model[0].weight, before)


def test_state_survives() -> None:
    model = network()
    ema = Ema(model, 0.9, 5)
    with torch.no_grad():
        model[0].weight.add_(1)
    ema.update(model)
    other = Ema(network(), 0.9, 5)
    other.load_state_dict(ema.state_dict())
    assert other.steps == 1
    for name, value in ema.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value)
    ema.update(model)
    other.update(model)
    assert torch.equal(other.model[0].weight, ema.model[0].weight)


def test_channels_last_weights_average_alike() -> None:
    plain, last = network(), network().to(memory_format=torch.channels_last)
    averages = [Ema(plain, 0.9, 5), Ema(last, 0.9, 5)]
    for model, ema in zip((plain, last), averages):
        with torch.no_grad():
            model[0].weight.mul_(2)
        ema.update(model)
    assert torch.equal(averages[0].model[0].weight, averages[1].model[0].weight)
