"""Stages as a run carries them out: what optimizer, loader and network hold at each edge."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
from tiny_detector import LEVELS, Objects, TinyTask
from torch import nn

from finespot import registry, zoo
from finespot.data import Augment, TrainLoader, loader, open_dataset
from finespot.errors import FineSpotError
from finespot.structures import Features
from finespot.training.freeze import freeze
from finespot.training.loop import Loop
from finespot.training.metrics_csv import MetricsCsv
from finespot.training.optimizer import build_optimizer
from finespot.training.plots import changing_augmentation, edges, plot_run
from finespot.training.recipe import AdamW, Recipe, Sgd
from finespot.training.schedule import Schedule
from finespot.training.stages import Stages

Make = Callable[..., Loop]
DATA = f"hit-uav:{Path(__file__).parents[2] / 'samples' / 'hit-uav'}"
# Six epochs: SGD; then AdamW with a frozen backbone; then SGD again. The finest level comes on inside the second.
THREE: dict[str, Any] = {
    "name": "three",
    "levels": {"p2": 4},
    "stages": [
        {"first": 0, "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.05}},
        {"first": 3, "optimizer": {"name": "adamw", "lr": 0.002}, "freeze": ["backbone"], "augment": {"mosaic": 0.5}},
        {"first": 5, "lr": 0.003, "optimizer": {"name": "sgd", "momentum": 0.5}, "augment": {"mosaic": 0.0}},
    ],
}
SIX: dict[str, Any] = {"epochs": 6, "curriculum": THREE}


def networks(loop: Loop) -> list[dict[str, torch.Tensor]]:
    """The network after each epoch."""
    return [{key[6:]: value for key, value in state["model"].items()} for state in loop.keeper.states]


def watch(loop: Loop, look: Callable[[Loop], Any]) -> list[Any]:
    """Train, and look at the loop in each backward pass."""
    seen: list[Any] = []
    backward = loop.backward

    def looking(*args: Any, **keys: Any) -> Any:
        seen.append(look(loop))
        return backward(*args, **keys)

    loop.backward = looking  # type: ignore[method-assign]
    loop.fit()
    return seen


def test_rates_of_a_preset_are_those_of_its_table() -> None:
    """Ten iterations an epoch; read back from the optimizer. A stage of n epochs ends n - 1 steps of its fall later."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = build_optimizer(model, AdamW(), weight_decay=0)
    plan = Schedule.of(Recipe(curriculum="hcp-400", epochs=400, batch=64), 10)

    def rates(epoch: int, iteration: int = 0) -> float:
        plan.apply(optimizer, 10 * (epoch - 1) + iteration)
        (rate,) = {group["lr"] for group in optimizer.param_groups}
        return float(rate)

    assert rates(1) == 0
    assert rates(2, 5) == pytest.approx(0.002 * (0.98 * 0.99 + 0.01) / 2)
    for first, last, lr in ((1, 50, 0.002), (51, 150, 0.001), (151, 350, 0.0006), (351, 400, 0.0003)):
        if first > 1:
            assert rates(first) == rates(first, 9) == pytest.approx(lr)
        assert rates(last) == pytest.approx(lr * (0.99 / (last - first + 1) + 0.01))


def test_rates_over_the_whole_run_by_factors() -> None:
    curriculum = {"stages": [{"first": 0}, {"first": 0.5, "lr_factor": 0.1}]}
    plan = Schedule.of(Recipe(curriculum=curriculum, epochs=10, optimizer=Sgd(lr=0.2)), 2)
    plain = Schedule.of(Recipe(epochs=10, optimizer=Sgd(lr=0.2)), 2)
    assert [plan.lr(i) for i in range(10)] == [plain.lr(i) for i in range(10)]
    assert [plan.lr(i) for i in range(10, 20)] == pytest.approx([plain.lr(i) / 10 for i in range(10, 20)])


def test_a_stage_with_a_warmup_of_its_own() -> None:
    stages = [{"first": 0}, {"first": 5, "warmup_epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}}]
    plan = Schedule.of(Recipe(curriculum={"stages": stages, "decay": "stage"}, epochs=8, batch=16), 10)
    assert [plan.lr(i) for i in (40, 50, 59)] == pytest.approx(
        [0, 0.05 * (0.75 * 0.99 + 0.01), 0.095 * 0.7525], abs=1e-3
    )
    assert plan.lr(60) == pytest.approx(0.1 * (0.5 * 0.99 + 0.01))
    assert plan.lr(40, "bias") == pytest.approx(0.1)
    assert [plan.momentum(i) for i in (39, 40, 60)] == [0.937, 0.8, 0.937]
    assert [plan.accumulate(i) for i in (39, 40, 60)] == [4, 1, 4]


@pytest.mark.slow
def test_each_edge_of_a_run_is_that_of_the_table(
    make_loop: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight epochs of hcp-400: rates from the optimizer, augmentation from where workers compose pictures, levels."""
    used = tmp_path / "used.jsonl"

    class Watched(loader.Composer):
        def compose(self, *args: Any, **keys: Any) -> Any:
            with used.open("a") as file:
                file.write(json.dumps([os.getpid(), msgspec.to_builtins(self.augment)]) + "\n")
            return super().compose(*args, **keys)

    monkeypatch.setattr(loader, "Composer", Watched)
    pictures = TrainLoader(open_dataset(DATA, "train"), imgsz=64, batch=8, workers=1, stride=32)
    keys = {"epochs": 8, "batch": 8, "nominal_batch": 8, "optimizer": Sgd()}
    loop = make_loop(TinyTask(), pictures, curriculum="hcp-400", **keys)
    seen = watch(
        loop,
        lambda loop: (
            {group["lr"] for group in loop.optimizer.param_groups},
            loop.task.model.levels_off,
            loop.ema.model.levels_off,
            type(loop.optimizer.optimizer).__name__,
        ),
    )
    stage = [0, 1, 1, 2, 2, 2, 2, 3]
    falls = [1.0, 1.0, 0.505, 1.0, 0.7525, 0.505, 0.2575, 1.0]
    lr = [(0.002, 0.001, 0.0006, 0.0003)[one] * fall for one, fall in zip(stage, falls)]
    assert [rates.pop() for rates, *_ in seen] == pytest.approx(lr)
    assert [off for _, off, *_ in seen] == [off for _, _, off, _ in seen] == [["p2"], *[[]] * 7]
    assert {kind for *_, kind in seen} == {"AdamW"}
    made = [json.loads(line) for line in used.read_text().splitlines()]
    composed = [made[start : start + 8] for start in range(0, 64, 8)]
    assert os.getpid() not in {process for process, _ in made}
    for key, table in {
        "mosaic": (1.0, 1.0, 0.8, 0.0),
        "mixup": (0.1, 0.1, 0.05, 0.0),
        "copy_paste": (0.1, 0.1, 0.05, 0.0),
        "degrees": (10, 10, 8, 5),
        "hsv_h": (0.015, 0.015, 0.010, 0.005),
        "perspective": (1e-4, 1e-4, 1e-4, 0),
    }.items():
        assert [{augment[key] for _, augment in epoch} for epoch in composed] == [{table[one]} for one in stage]
        assert [row[f"augment/{key}"] for row in loop.keeper.rows] == [table[one] for one in stage]
    assert [row["stage"] for row in loop.keeper.rows] == [one + 1 for one in stage]
    assert [row["levels_off"] for row in loop.keeper.rows] == ["p2", *[""] * 7]
    assert [row["lr/weight"] for row in loop.keeper.rows] == pytest.approx(lr)


@pytest.mark.slow
def test_a_frozen_part_stands_still_in_its_stage_and_moves_before_and_after(make_loop: Make) -> None:
    """Weights and BatchNorm statistics, under momentum and decay; all else moves on."""
    frozen = {"stages": [{"first": 0}, {"first": 3, "freeze": ["backbone"]}, {"first": 5}]}
    task = TinyTask()
    trainable = [parameter.requires_grad for parameter in task.model.parameters()]
    loop = make_loop(task, Objects(), epochs=6, curriculum=frozen, optimizer=Sgd(lr=0.01, weight_decay=0.1))
    seen = watch(
        loop, lambda loop: {n.partition(".")[0] for n, p in loop.task.model.named_parameters() if p.requires_grad}
    )
    parts, held = {"backbone", "neck", "head"}, {"neck", "head"}
    assert seen == [parts] * 4 + [held] * 4 + [parts] * 4
    after = networks(loop)
    names = {name for name in after[0] if name.startswith("backbone.")}
    for epoch, still in enumerate([False, True, True, False, False], 1):
        moved = {name for name in after[0] if not torch.equal(after[epoch - 1][name], after[epoch][name])}
        assert moved & names == (set() if still else names), epoch
        assert moved - names
    assert [parameter.requires_grad for parameter in task.model.parameters()] == trainable
    assert [row["frozen"] for row in loop.keeper.rows] == ["", "", "backbone", "backbone", "", ""]


@pytest.mark.slow
def test_thawing_leaves_what_was_frozen_before(make_loop: Make) -> None:
    model = TinyTask().model
    freeze(model, ["neck.lateral.0"])
    held = freeze(model, ["neck", "head"])
    held.thaw()
    off = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert off == {"head.bins", *(name for name, _ in model.named_parameters() if name.startswith("neck.lateral.0."))}
    stages = {"stages": [{"first": 0, "freeze": ["neck"]}, {"first": 2}]}
    loop = make_loop(TinyTask(), Objects(), freeze=["backbone"], curriculum=stages)
    loop.fit()
    assert [row["frozen"] for row in loop.keeper.rows] == ["backbone neck", "backbone", "backbone"]
    first, *_, last = networks(loop)
    assert all(torch.equal(first[name], last[name]) for name in first if name.startswith("backbone."))
    assert any(not torch.equal(first[name], last[name]) for name in first if name.startswith("neck."))


@pytest.mark.slow
def test_another_optimizer_is_really_another(make_loop: Make) -> None:
    loop = make_loop(TinyTask(), Objects(), **SIX)
    seen = watch(
        loop,
        lambda loop: (
            type(loop.optimizer.optimizer).__name__,
            len(loop.optimizer.state),
            {group.get("momentum") for group in loop.optimizer.param_groups},
            {group["weight_decay"] for group in loop.optimizer.param_groups if group["kind"] == "weight"},
            loop.ema.steps,
        ),
    )
    assert [steps for *_, steps in seen] == list(range(12)), "the average goes on"
    assert [kind for kind, *_ in seen] == ["SGD"] * 4 + ["AdamW"] * 4 + ["SGD"] * 4
    assert [count > 0 for _, count, *_ in seen] == [False, True, True, True] * 3, "a new one starts without moments"
    assert [momentum for *_, momentum, _, _ in seen] == [{0.9}] * 4 + [{None}] * 4 + [{0.5}] * 4
    assert [decay for *_, decay, _ in seen] == [{0.05}] * 4 + [{5e-4}] * 8


@pytest.mark.slow
def test_moments_stay_where_the_kind_stays(make_loop: Make) -> None:
    changed = {"name": "adamw", "betas": [0.5, 0.9], "weight_decay": 0.3}
    curriculum = {"optimizer": {"name": "adamw"}, "stages": [{"first": 0}, {"first": 3, "optimizer": changed}]}
    loop = make_loop(TinyTask(), Objects(), epochs=4, curriculum=curriculum)
    seen = watch(
        loop,
        lambda loop: (
            max((int(state["step"]) for state in loop.optimizer.state.values()), default=0),
            {(group["betas"], group["weight_decay"]) for group in loop.optimizer.param_groups},
        ),
    )
    assert [step for step, _ in seen] == list(range(8))
    assert [settings for _, settings in seen] == [{((0.9, 0.999), 5e-4), ((0.9, 0.999), 0.0)}] * 4 + [
        {((0.5, 0.9), 0.3), ((0.5, 0.9), 0.0)}
    ] * 4
    nesterov = {"optimizer": {"name": "sgd", "nesterov": False}}
    stages = [{"first": 0}, {"first": 2, **nesterov}, {"first": 3, "optimizer": {"name": "sgd", "momentum": 0.0}}]
    loop = make_loop(TinyTask(), Objects(), curriculum={"stages": stages}, optimizer=Sgd(lr=0.01))
    seen = watch(loop, lambda loop: {(g["momentum"], g["nesterov"]) for g in loop.optimizer.param_groups})
    assert seen == [{(0.937, True)}] * 2 + [{(0.937, False)}] * 2 + [{(0.0, False)}] * 2


@pytest.mark.slow
def test_another_optimizer_under_a_gradient_scaler(make_loop: Make) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loop = make_loop(TinyTask(), Objects(), precision=MixedPrecision("16-mixed", "cpu", scaler), **SIX)
    loop.fit()
    after = networks(loop)
    assert all(
        not torch.equal(a["head.class_branches.p3.predict.weight"], b["head.class_branches.p3.predict.weight"])
        for a, b in pairwise(after)
    )


@pytest.mark.slow
def test_a_run_that_goes_on_ends_with_identical_numbers(make_loop: Make) -> None:
    """From inside the second stage, from the edge of the third and from inside it."""
    whole = make_loop(TinyTask(), Objects(), **SIX)
    whole.fit()
    for done in (3, 4, 5):
        rest = make_loop(TinyTask(), Objects(), **SIX)
        rest.load_state(whole.keeper.states[done - 1])
        rest.fit()
        assert [row["epoch"] for row in rest.keeper.rows] == list(range(done + 1, 7))
        for key in ("stage", "lr/weight", "frozen", "levels_off", "train/total", "augment/mosaic"):
            assert [row[key] for row in rest.keeper.rows] == [row[key] for row in whole.keeper.rows[done:]]
        for one, other in zip(networks(rest), networks(whole)[done:]):
            assert all(torch.equal(one[name], other[name]) for name in other)
        ours, theirs = rest.keeper.states[-1], whole.keeper.states[-1]
        assert all(torch.equal(value, ours["ema"]["model"][name]) for name, value in theirs["ema"]["model"].items())


@pytest.mark.slow
def test_one_stage_alone(make_loop: Make) -> None:
    """Its epochs have the numbers, rates and pictures that they have in the whole run."""
    whole = make_loop(TinyTask(), Objects(), **SIX)
    whole.fit()
    alone = make_loop(TinyTask(), Objects(), stage=2, scores=lambda call: 0.5, **SIX)
    alone.fit()
    assert [row["epoch"] for row in alone.keeper.rows] == [3, 4]
    assert [epoch for epoch, _ in alone.loader.asked] == [2, 3]
    for key in ("stage", "lr/weight", "lr/bias", "frozen", "levels_off", "augment/mosaic"):
        assert [row[key] for row in alone.keeper.rows] == [row[key] for row in whole.keeper.rows[2:4]]
    assert alone.progress.steps == 4
    assert len(alone.keeper.batches) == 2, "the first batches are drawn"
    assert alone.finished()
    late = make_loop(TinyTask(), Objects(), stage=3, **SIX)
    late.fit()
    assert [row["levels_off"] for row in late.keeper.rows] == ["", ""], "the level came on before"


@pytest.mark.slow
def test_close_mosaic_in_the_last_stage(make_loop: Make) -> None:
    curriculum = {"stages": [{"first": 0}, {"first": 3, "augment": {"mosaic": 0.5, "degrees": 5}}]}
    task = TinyTask()
    loop = make_loop(task, Objects(), epochs=5, close_mosaic=2, curriculum=curriculum, augment=Augment(mixup=0.2))
    loop.fit()
    asked = [(a.mosaic, a.mixup, a.degrees) for _, a in loop.loader.asked]
    assert asked == [(1.0, 0.2, 0.0)] * 2 + [(0.5, 0.2, 5.0)] + [(0.0, 0.0, 5.0)] * 2
    assert task.closing == [False] * 3 + [True] * 2


def test_loss_with_a_level_off_is_that_of_a_head_without_it() -> None:
    """On the same maps. Setting the level's logits to zero, as the original does, makes a loss that is no loss."""
    model = TinyTask(classes=10).model.train()
    others = registry.make("head", "anchor_free", levels=model.head.inputs[1:], classes=10, reg_max=4)
    others.load_state_dict({key: value for key, value in model.head.state_dict().items() if key in others.state_dict()})
    maps: list[Features] = []
    model.head.register_forward_pre_hook(lambda head, args: maps.append(args[0]))
    batch = next(iter(Objects().epoch(0, None)))
    images = batch.images.float() / 255
    whole = model(images)
    everything = model.loss(whole, batch.targets)
    model.switch_off(["p2"])
    terms = model.loss(model(images), batch.targets).terms
    given = Features(maps[-1].maps[1:], maps[-1].levels[1:])
    alone = others.loss(others.train()(given), batch.targets).terms
    assert {name: value.item() for name, value in terms.items()} == {n: value.item() for n, value in alone.items()}
    model.switch_off([])
    zeroed = {**whole, "scores": whole["scores"].clone()}
    zeroed["scores"][..., : 16 * 16] = 0
    assert terms["cls"] < 2 * everything.terms["cls"]
    assert model.loss(zeroed, batch.targets).terms["cls"] > 30 * terms["cls"]


@pytest.mark.slow
def test_loss_of_the_first_epoch_with_a_level_off_is_of_ordinary_size(make_loop: Make) -> None:
    off = make_loop(TinyTask(), Objects(), epochs=2, curriculum={"levels": {4: 2}, "stages": [{"first": 0}]})
    on = make_loop(TinyTask(), Objects(), epochs=2)
    off.fit()
    on.fit()
    assert 0.2 < off.keeper.rows[0]["train/cls"] / on.keeper.rows[0]["train/cls"] < 2
    head = "head.class_branches.p2."
    first, second = networks(off)
    start = TinyTask().model.state_dict()
    assert all(torch.equal(first[name], start[name]) for name in start if name.startswith(head))
    assert any(not torch.equal(second[name], start[name]) for name in start if name.startswith(head))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"levels": {"p1": 2}}, "levels: the head has no level p1; it has p2 .stride 4., p3"),
        ({"levels": {2: 2}}, "levels: the head has no level 2; it has p2 .stride 4., p3"),
        (
            {"levels": {"p2": 2, 8: 2, "p4": 2, "p5": 3}},
            "levels: no level would be on: the head has only p2, p3, p4, p5",
        ),
        ({"levels": {"p2": 2, 4: 3}}, "levels: p2 and 4 are the same level"),
        ({"stages": [{"first": 0, "freeze": ["backbon"]}]}, "freeze: unknown part .* 'backbon'; did you mean backbone"),
        (
            {"stages": [{"first": 0, "freeze": ["backbone", "neck"]}]},
            "freeze: nothing is left to train in stage 1 where head, ",
        ),
    ],
)
def test_what_a_network_cannot_do(keys: dict[str, Any], message: str) -> None:
    model = TinyTask().model
    freeze(model, ["head"])
    before = [parameter.requires_grad for parameter in model.parameters()]
    stages = Stages.of(Recipe(curriculum={"stages": [{"first": 0}], **keys}))
    with pytest.raises(FineSpotError, match=message) as caught:
        stages.check(model, ["head"])
    assert "\n" not in str(caught.value)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_levels_of_a_head_that_has_them_all_at_once() -> None:
    with torch.device("meta"):
        model = zoo.build(zoo.architecture("rtdetr-r18", classes=2))
    stages = Stages.of(Recipe(curriculum={"levels": {8: 2}, "stages": [{"first": 0}]}))
    with pytest.raises(
        FineSpotError, match=r"levels: the head .* predicts from all its levels at once, so none can be"
    ):
        stages.check(model, [])
    with pytest.raises(FineSpotError, match="levels: the model has no levels that can come on later"):
        stages.check(nn.Linear(2, 2), [])
    fine = Stages.of(Recipe(curriculum={"stages": [{"first": 0, "freeze": ["backbone"]}]}))
    fine.check(model, [])
    assert all(parameter.requires_grad for parameter in model.backbone.stages.parameters())


def test_a_network_is_as_before_the_check() -> None:
    model = TinyTask().model
    Stages.of(Recipe(epochs=6, curriculum=THREE, close_mosaic=0)).check(model, [])
    assert model.levels_off == []
    assert len(LEVELS) == sum(model.head.active)


def test_a_warmup_of_a_stage_that_is_cut_is_said_where_the_stage_is_run() -> None:
    curriculum = {"stages": [{"first": 0}, {"first": 0.5, "warmup_epochs": 5}]}
    keys: dict[str, Any] = {"epochs": 8, "curriculum": curriculum}
    said = ["warmup_epochs: 3 instead of 5, which leaves an epoch of stage 2"]
    assert Stages.of(Recipe(**keys)).shortened() == said
    assert Stages.of(Recipe(stage=2, **keys)).shortened() == said
    assert Stages.of(Recipe(stage=1, **keys)).shortened() == []


def test_a_level_that_is_on_from_the_start_is_no_news() -> None:
    keys: dict[str, Any] = {"epochs": 8, "curriculum": {"stages": [{"first": 0}], "levels": {"p2": 1, "p3": 2}}}
    stages = Stages.of(Recipe(**keys))
    assert stages.news(0) == ["epoch 1: stage 1 of 1 begins"]
    assert stages.news(1) == ["epoch 2: level p3 is on from here"]


@pytest.mark.slow
def test_curves_show_where_a_stage_begins(make_loop: Make, tmp_path: Path) -> None:
    loop = make_loop(TinyTask(), Objects(), **SIX)
    loop.fit()
    table = MetricsCsv(tmp_path / "metrics.csv")
    for row in loop.keeper.rows:
        table.add(row)
    assert edges(table.rows) == [3, 5]
    shares, columns = changing_augmentation(table.rows)
    assert columns == ["augment/mosaic 1"]
    assert [row["augment/mosaic 1"] for row in shares] == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    alike = [{"augment/mosaic": m, "augment/scale": m / 2, "augment/degrees": d} for m, d in ((1.0, 4.0), (0.5, 0.0))]
    assert changing_augmentation(alike)[1] == ["augment/mosaic 1, scale 0.5", "augment/degrees 4"]
    drawn = {path.name for path in plot_run(table.rows, tmp_path)}
    assert drawn >= {"losses.png", "learning_rate.png", "augmentation.png"}
    plain = make_loop(TinyTask(), Objects())
    plain.fit()
    assert edges(plain.keeper.rows) == []
    assert changing_augmentation(plain.keeper.rows)[1] == []
