"""Parameter groups and what they decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.training.optimizer import build_optimizer, load_optimizer, parameter_groups, scaled_decay
from finespot.training.recipe import AdamW, Sgd


@pytest.mark.parametrize("name", ["yolo11n", "yolov8n"])
def test_groups_of_a_detector(name: str) -> None:
    """Every bias in one group, every norm weight in another; the head's fixed bins in none."""
    model = zoo.build(zoo.architecture(name, classes=80))
    groups = {kind: {id(p) for p in members} for kind, members in parameter_groups(model).items()}
    norms = {id(m.weight) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    biases = {id(p) for key, p in model.named_parameters() if "bias" in key}
    assert groups["norm"] == norms
    assert groups["bias"] == biases
    assert sum(len(members) for members in groups.values()) == len(list(model.parameters())) - 1


def test_every_trainable_parameter_is_in_one_group() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.LayerNorm(4))
    model[2].weight.requires_grad_(False)
    model.append(model[0])
    found = [id(p) for group in parameter_groups(model).values() for p in group]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_only_weights_decay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = build_optimizer(model, Sgd(), weight_decay=0.1)
    assert {group["kind"]: group["weight_decay"] for group in optimizer.param_groups} == {
        "bias": 0.0,
        "norm": 0.0,
        "weight": 0.1,
    }


def test_decay_follows_the_pictures_in_a_step() -> None:
    assert scaled_decay(5e-4, 8, 8, 64) == pytest.approx(5e-4)
    assert scaled_decay(5e-4, 128, 1, 64) == pytest.approx(1e-3)
    assert scaled_decay(5e-4, 24, 3, 64) == pytest.approx(5e-4 * 72 / 64)


def test_the_recipe_says_which_optimizer() -> None:
    model = nn.Conv2d(3, 4, 1)
    sgd = build_optimizer(model, Sgd(momentum=0.5, nesterov=False), weight_decay=0.0)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.5, False)
    adamw = build_optimizer(model, AdamW(lr=0.1, betas=(0.5, 0.6)), weight_decay=0.0)
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["lr"], adamw.defaults["betas"]) == (0.1, (0.5, 0.6))


def test_momentum_zero_needs_no_nesterov() -> None:
    assert not build_optimizer(nn.Conv2d(3, 4, 1), Sgd(momentum=0.0), weight_decay=0.0).defaults["nesterov"]


def stepped(settings: Sgd | AdamW, weight_decay: float = 0.0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 1)
    optimizer = build_optimizer(model, settings, weight_decay=weight_decay)
    model(torch.ones(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("settings", [Sgd(), AdamW(), Sgd(momentum=0.0)], ids=["sgd", "adamw", "no momentum"])
def test_moments_are_taken_over_and_settings_are_not(settings: Sgd | AdamW) -> None:
    saved = stepped(settings, 0.5)[1].state_dict()
    for group in saved["param_groups"]:
        group.update({"kind": 3, "weight_decay": "x", "lr": 7.0})
    _, optimizer = stepped(settings)
    optimizer.state.clear()
    load_optimizer(optimizer, saved)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, 0]
    assert {group["kind"] for group in optimizer.param_groups} == {"bias", "weight"}
    for own, other in zip(optimizer.state_dict()["state"].values(), saved["state"].values()):
        assert own.keys() == other.keys()
        assert all(a is b is None or torch.equal(a, b) for a, b in zip(own.values(), other.values()))


@pytest.mark.parametrize(("own", "other"), [(Sgd(), AdamW()), (AdamW(), Sgd())])
def test_moments_of_another_optimizer_are_refused(own: Sgd | AdamW, other: Sgd | AdamW) -> None:
    with pytest.raises(ValueError, match=r"the optimizer keeps .* but got "):
        load_optimizer(stepped(own)[1], stepped(other)[1].state_dict())


def test_moments_of_other_shapes_are_refused() -> None:
    saved = stepped(Sgd())[1].state_dict()
    saved["state"][0]["momentum_buffer"] = torch.zeros(9)
    with pytest.raises(ValueError, match=r"momentum_buffer does not fit a parameter of shape \(4,\)"):
        load_optimizer(stepped(Sgd())[1], saved)
