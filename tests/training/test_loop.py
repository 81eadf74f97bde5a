"""The loop with a task small enough to repeat by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
from rich.console import Console
from torch import Tensor, nn

from finespot.data import Augment
from finespot.errors import FineSpotError
from finespot.training.checkpoint import random_states, set_random_states
from finespot.training.log import Log
from finespot.training.loop import Loop
from finespot.training.recipe import AdamW, Ema, Schedule, Sgd, Val

Make = Callable[..., Loop]
Weights = Callable[[Loop], Tensor]


def test_same_as_a_plain_torch_loop(make_loop: Make, weights_of: Weights) -> None:
    loop = make_loop(clip=0.0)
    loop.fit()
    other = make_loop()
    model, data = other.task.model, list(other.loader.epoch(0, Augment()))
    for epoch in range(3):
        lr = 0.1 * ((1 - epoch / 3) * 0.99 + 0.01)
        for batch in data:
            images = batch.images.float() / 255
            loss = 1.5 * (model(images).mean((1, 2, 3)) - images.mean((1, 2, 3))).square().mean() * len(batch)
            grads = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, grad in zip(model.parameters(), grads):
                    parameter -= lr * grad
    assert torch.allclose(weights_of(loop), weights_of(other), atol=1e-6)
    assert loop.task.epochs == [0, 1, 2]
    assert loop.task.edits == loop.progress.steps == 12


def test_accumulated_batches_equal_one_big_batch(make_loop: Make, weights_of: Weights, toys: type) -> None:
    many = make_loop(batch=2, nominal_batch=8)
    one = make_loop(loader=toys.Loader(batch=8), batch=8, nominal_batch=8)
    many.fit()
    one.fit()
    assert many.progress.steps == one.progress.steps == 3
    assert torch.allclose(weights_of(many), weights_of(one), atol=1e-6)


def test_an_epoch_leaves_no_gradient_behind(make_loop: Make) -> None:
    """Four batches, three to a step: the fourth is a step of its own."""
    loop = make_loop(nominal_batch=6, epochs=2)
    loop.fit()
    assert loop.progress.steps == 4
    assert all(p.grad is None for p in loop.task.model.parameters())


def test_accumulation_rises_in_the_warmup(make_loop: Make, toys: type) -> None:
    loop = make_loop(loader=toys.Loader(pictures=16), epochs=2, nominal_batch=8, schedule=Schedule(warmup_epochs=1))
    loop.fit()
    assert [loop.schedule.accumulate(i) for i in (0, 4, 8)] == [1, 2, 4]
    assert loop.progress.steps > 4


def test_clip_bounds_the_step(make_loop: Make, weights_of: Weights) -> None:
    before = weights_of(make_loop())
    loop = make_loop(epochs=1, clip=1e-4)
    loop.fit()
    free = make_loop(epochs=1, clip=0.0)
    free.fit()
    assert float((weights_of(loop) - before).norm()) <= 4 * 0.1 * 1e-4 * 1.01
    assert float((weights_of(free) - before).norm()) > 4 * 0.1 * 1e-4 * 10


def test_not_finite_stops_at_once_and_names_the_pictures(make_loop: Make, weights_of: Weights, toys: type) -> None:
    task = toys.Task()
    task.poison = 5
    loop = make_loop(task)
    with pytest.raises(FineSpotError, match=r"the loss is nan in epoch 1, iteration 2, for the pictures 4.jpg, 5.jpg"):
        loop.fit()
    assert bool(torch.isfinite(weights_of(loop)).all())
    assert loop.progress.steps == 2


def test_not_finite_is_found_before_saving_where_it_is_read_late(make_loop: Make, toys: type) -> None:
    """As on a GPU; the picture that caused it is still named."""
    task = toys.Task()
    task.poison = 2
    loop = make_loop(task=task)
    loop.read_every = 100
    with pytest.raises(FineSpotError, match=r"the loss is nan in epoch 1, iteration 1, for the pictures 2.jpg, 3.jpg"):
        loop.fit()
    assert loop.progress.iteration == 4
    assert loop.keeper.rows == []
    loop = make_loop(task=toys.Task())
    loop.read_every = 3
    reads: list[int] = []
    loop.read_checks, read = lambda: (reads.append(len(loop.unread)), read())[1], loop.read_checks  # type: ignore[method-assign]
    loop.train_epoch(0)
    assert reads == [3, 3]


def test_gradient_not_finite_stops(make_loop: Make, toys: type) -> None:
    class Steep(toys.Task):  # type: ignore[name-defined, misc]
        def step(self, batch):  # type: ignore[no-untyped-def]
            losses = super().step(batch)
            losses.terms["dfl"] = (self.model[0].weight * 0).abs().sum().sqrt()
            return losses

    with pytest.raises(FineSpotError, match="the gradient is nan in epoch 1, iteration 0"):
        make_loop(Steep()).fit()


def test_early_stop(make_loop: Make) -> None:
    rising = [0.1, 0.3, 0.2, 0.25, 0.9, 0.95]
    loop = make_loop(epochs=6, patience=2, scores=lambda epoch: rising[epoch - 1])
    loop.fit()
    assert (loop.progress.epoch, loop.progress.best, loop.progress.best_epoch) == (4, 0.3, 2)
    patient = make_loop(epochs=6, patience=0, scores=lambda epoch: rising[epoch - 1])
    patient.fit()
    assert (patient.progress.epoch, patient.progress.best_epoch) == (6, 6)
    assert loop.keeper.best == [True, True, False, False]


def test_validation_every_other_epoch_and_the_last(make_loop: Make) -> None:
    loop = make_loop(epochs=5, val=Val(every=2), scores=lambda call: call / 10)
    loop.fit()
    assert ["val/AP" in row for row in loop.keeper.rows] == [False, True, False, True, True]
    never = make_loop(epochs=2, val=Val(every=0))
    never.fit()
    assert not any("val/AP" in row for row in never.keeper.rows)


def test_close_mosaic_and_augment_reach_the_loader(make_loop: Make) -> None:
    loop = make_loop(epochs=4, close_mosaic=2, augment=Augment(mosaic=0.7, mixup=0.2, degrees=3.0))
    loop.fit()
    assert [(epoch, a.mosaic, a.mixup, a.degrees) for epoch, a in loop.loader.asked] == [
        (0, 0.7, 0.2, 3.0),
        (1, 0.7, 0.2, 3.0),
        (2, 0.0, 0.0, 3.0),
        (3, 0.0, 0.0, 3.0),
    ]
    assert [row["augment/mosaic"] for row in loop.keeper.rows] == [0.7, 0.7, 0.0, 0.0]


def test_row_of_an_epoch(make_loop: Make) -> None:
    loop = make_loop(
        freeze=["2"], optimizer=Sgd(lr=0.1, momentum=0.9), multi_scale=0.25, drop_small=3.0, repeat_rare=0.5
    )
    loop.fit()
    row = loop.keeper.rows[1]
    assert row["epoch"] == 2
    assert row["train/total"] == pytest.approx(row["train/box"] + row["train/cls"])
    assert (row["targets"], row["boxes_dropped"], row["dropped_reasons"]) == (8, 4, "too small:4")
    assert row["lr/weight"] == pytest.approx(0.1 * (2 / 3 * 0.99 + 0.01))
    assert (row["momentum"], row["accumulate"], row["frozen"]) == (0.9, 1, "2")
    assert (row["multi_scale"], row["drop_small"], row["repeat_rare"]) == (0.25, 3.0, 0.5)
    assert row["pictures_per_s"] == pytest.approx(8 / row["seconds"])
    assert row["memory_mb"] > 10


def test_momentum_is_absent_without_one(make_loop: Make) -> None:
    loop = make_loop(epochs=1, optimizer=AdamW())
    loop.fit()
    assert "momentum" not in loop.keeper.rows[0]


def test_first_three_batches_are_shown_once(make_loop: Make) -> None:
    loop = make_loop()
    loop.fit()
    assert [batch.indices for batch in loop.keeper.batches] == [(0, 1), (2, 3), (4, 5)]


def test_frozen_parts_stay_bit_for_bit(make_loop: Make, toys: type) -> None:
    loop = make_loop(toys.Task(norm=True), freeze=["0", "1"])
    before = {name: value.clone() for name, value in loop.task.model.state_dict().items()}
    loop.fit()
    after = loop.task.model.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (not name.startswith("2.")), name
    free = make_loop(toys.Task(norm=True))
    free.fit()
    assert not torch.equal(free.task.model.state_dict()["1.running_mean"], before["1.running_mean"])


def test_unknown_frozen_part(make_loop: Make) -> None:
    with pytest.raises(FineSpotError, match="freeze: unknown part of the model to freeze 'backbone'"):
        make_loop(freeze=["backbone"])


def test_average_is_updated_after_every_step(make_loop: Make) -> None:
    loop = make_loop(ema=Ema(decay=0.9, tau=10.0))
    loop.fit()
    assert loop.ema.steps == 12
    still = make_loop(ema=Ema(decay=0.0, tau=1.0))
    still.fit()
    for average, value in zip(still.ema.model.parameters(), still.task.model.parameters()):
        assert torch.equal(average, value)


def test_resumed_equals_uninterrupted(make_loop: Make, weights_of: Weights, toys: type) -> None:
    keys = {"optimizer": Sgd(lr=0.1), "scores": lambda call: 0.5}

    def noisy() -> object:
        class Noisy(toys.Task):  # type: ignore[name-defined, misc]
            def step(self, batch):  # type: ignore[no-untyped-def]
                losses = super().step(batch)
                losses.terms["box"] = losses.terms["box"] * torch.rand(())
                return losses

        return Noisy(norm=True)

    torch.manual_seed(5)
    whole = make_loop(noisy(), **keys)
    whole.fit()
    state = whole.keeper.states[0]
    torch.manual_seed(77)
    resumed = make_loop(noisy(), **keys)
    resumed.load_state(state)
    assert resumed.progress.epoch == 1
    resumed.fit()
    assert torch.equal(weights_of(whole), weights_of(resumed))
    for one, other in zip(whole.ema.model.state_dict().values(), resumed.ema.model.state_dict().values()):
        assert torch.equal(one, other)
    assert whole.progress == resumed.progress


def test_checkpoint_that_does_not_fit(make_loop: Make, toys: type) -> None:
    loop = make_loop(epochs=1)
    loop.fit()
    state = loop.keeper.states[0]
    with pytest.raises(FineSpotError, match=r"resume: the run had 4 batches an epoch, but .* now give 8"):
        make_loop(loader=toys.Loader(pictures=16)).load_state(state)
    message = (
        r"resume: the checkpoint does not fit this model \(tensors that it lacks: 5 of 9, first '1.weight'\); did "
    )
    with pytest.raises(FineSpotError, match=message) as caught:
        make_loop(toys.Task(norm=True)).load_state(state)
    assert "\n" not in str(caught.value)
    normed = make_loop(toys.Task(norm=True), epochs=1)
    normed.fit()
    with pytest.raises(FineSpotError, match=r"\(tensors without a place: 5 of 9, first '1.weight'\)"):
        make_loop().load_state(normed.keeper.states[0])
    state["ema"]["model"]["2.bias"] = torch.zeros(7)
    with pytest.raises(FineSpotError, match=r"\(tensors of another shape: 1 of 4, first '2.bias'\)"):
        make_loop().load_state(state)
    with pytest.raises(FineSpotError, match=r"what no run writes \(the optimizer keeps exp_avg, exp_avg_sq, step but"):
        make_loop(optimizer=AdamW()).load_state(loop_state(make_loop, optimizer=Sgd(lr=0.1)))


def loop_state(make_loop: Make, **keys: Any) -> dict[str, Any]:
    loop = make_loop(epochs=1, **keys)
    loop.fit()
    return loop.keeper.states[0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("progress", "epoch"), "x"),
        (("progress", "epoch"), -1),
        (("progress", "iteration"), 1.5),
        (("progress", "best"), [1]),
        (("model", "0.weight"), 3),
        (("ema", "model"), 3),
        (("ema", "steps"), "three"),
        (("order", "per_epoch"), None),
        (("optimizer", "param_groups"), 7),
        (("optimizer", "param_groups"), []),
        (("optimizer", "state"), {0: 3}),
        (("optimizer", "state"), {0: {"momentum_buffer": "x"}}),
        (("optimizer", "state"), {0: {"momentum_buffer": torch.zeros(3)}}),
        (("random",), 3),
        (("random",), [3]),
        (("random", 0, "python"), None),
        (("random", 0, "numpy"), ["x"]),
        (("random", 0, "torch"), "x"),
        (("random", 0, "torch"), torch.zeros(3, dtype=torch.uint8)),
    ],
    ids=str,
)
def test_odd_values_in_a_checkpoint_are_one_line(make_loop: Make, place: tuple[Any, ...], value: object) -> None:
    before = random_states()
    state = loop_state(make_loop, optimizer=Sgd(lr=0.1))
    inner: Any = state
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(FineSpotError) as caught:
        make_loop(optimizer=Sgd(lr=0.1)).load_state(state)
    set_random_states(before)
    assert str(caught.value).startswith("resume: the ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_odd_settings_in_a_checkpoint_do_not_count(make_loop: Make, weights_of: Weights) -> None:
    whole = make_loop(epochs=2, optimizer=Sgd(lr=0.1))
    whole.fit()
    state = whole.keeper.states[0]
    for group in state["optimizer"]["param_groups"]:
        del group["kind"]
        group.update({"nesterov": "x", "weight_decay": None})
    resumed = make_loop(epochs=2, optimizer=Sgd(lr=0.1))
    resumed.load_state(state)
    resumed.fit()
    assert torch.equal(weights_of(whole), weights_of(resumed))


@pytest.mark.parametrize("asked", [True, False])
def test_channels_last_reaches_pictures_and_weights(make_loop: Make, toys: type, asked: bool) -> None:
    seen: set[tuple[bool, bool]] = set()

    class Watching(toys.Task):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.model[0] = nn.Conv2d(3, 4, 3)

        def step(self, batch):  # type: ignore[no-untyped-def]
            tensors = batch.images, self.model[0].weight
            seen.add(tuple(one.is_contiguous(memory_format=torch.channels_last) for one in tensors))
            return super().step(batch)

    make_loop(Watching(), epochs=1, channels_last=asked).fit()
    assert seen == {(asked, asked)}


def test_bf16_computes_in_bf16(make_loop: Make, toys: type) -> None:
    kinds: list[torch.dtype] = []
    task = toys.Task()
    task.model[0].register_forward_hook(lambda module, inputs, output: kinds.append(output.dtype))
    make_loop(task, epochs=1, precision="bf16-mixed").fit()
    assert set(kinds) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in task.model.parameters())


@pytest.mark.slow
def test_fp16_scales_and_leaves_an_overflowing_step_out(make_loop: Make, weights_of: Weights) -> None:
    """A gradient scaler on the CPU: 2^127 overflows at first and is halved until a step fits."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    loop = make_loop(epochs=40, precision=MixedPrecision("16-mixed", "cpu", scaler))
    before = weights_of(loop)
    loop.train_epoch(0)
    assert torch.equal(weights_of(loop), before)
    assert scaler.get_scale() == 2.0**123
    loop.fit()
    assert bool(torch.isfinite(weights_of(loop)).all())
    assert not torch.equal(weights_of(loop), before)
    state = loop.keeper.states[-1]
    assert state["scaler"]["scale"] == scaler.get_scale()
    other = make_loop(epochs=41, precision=MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu")))
    other.load_state(state)
    assert other.scaler.get_scale() == scaler.get_scale()


def notes(loop: Loop) -> str:
    """What is said while a loop trains."""
    loop.log = Log(console=Console(file=io.StringIO(), width=200))
    loop.fit()
    return loop.log.console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_dropped_boxes_are_said_after_the_first_epoch(make_loop: Make) -> None:
    said = notes(make_loop(epochs=3))
    assert said.count("dropped") == 1
    assert said.index("boxes dropped as targets in epoch 1: 4 (too small:4); metrics.csv") < said.index("epoch 1/3")


def test_close_mosaic_of_all_epochs_is_said(make_loop: Make) -> None:
    said = "close_mosaic: 3, so none of the 3 epochs joins pictures"
    assert notes(make_loop(epochs=3, close_mosaic=3)).count(said) == 1
    assert "close_mosaic" not in notes(make_loop(epochs=3, close_mosaic=2))
    assert "close_mosaic" not in notes(make_loop(epochs=3, close_mosaic=3, augment=Augment.off()))


def test_a_warmup_that_is_cut_is_said_once(make_loop: Make) -> None:
    short = Schedule(warmup_epochs=3)
    said = "warmup_epochs: 1 instead of 3, which leaves an epoch of the run"
    assert notes(make_loop(epochs=2, schedule=short)).count(said) == 1
    assert "warmup_epochs" not in notes(make_loop(epochs=4, schedule=short))


def test_shapes_of_a_batch_reach_the_task(make_loop: Make) -> None:
    loop = make_loop()
    batch = next(iter(loop.loader.epoch(0, Augment())))
    assert loop.to_device(batch).shapes is None
    shapes = torch.ones((len(batch), 1, 4, 4), dtype=torch.bool)
    moved = loop.to_device(replace(batch, shapes=shapes))
    assert moved.shapes is not None
    assert moved.shapes.equal(shapes)
    assert (moved.indices, moved.placements) == (batch.indices, batch.placements)
