"""The training loop.

Read it from `Loop.fit` downwards. It knows a `Task` and nothing of networks; Fabric brings devices, number formats
and the exchange of gradients. One iteration is one batch; an optimizer step sums the gradients of `accumulate`
batches (and takes what there is at the end of an epoch, so that an epoch leaves nothing behind that a checkpoint
would have to hold). The loss of a batch is the sum of its terms times its pictures, so that summing over batches
means summing over pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import msgspec
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from finespot.data import Augment
from finespot.errors import FineSpotError
from finespot.runtimes import within_memory
from finespot.structures import Batch, LossTerms
from finespot.training.checkpoint import random_states, refuse_misfit, set_random_states, uninterrupted
from finespot.training.ema import Ema
from finespot.training.figures import Figures
from finespot.training.freeze import freeze, set_training
from finespot.training.log import Log
from finespot.training.optimizer import build_optimizer, change_settings, load_optimizer, scaled_decay
from finespot.training.recipe import Count, Recipe
from finespot.training.schedule import Schedule, full_accumulation
from finespot.training.stages import Stage, switch_levels
from finespot.training.task import Task

# What odd values in a checkpoint raise where they are taken over.
_ODD = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError)
# Losses and gradient norms that a GPU run reads at once, which is every ten iterations where each makes a step.
_READ_EVERY = 20


class Loader(Protocol):
    """What the loop reads: the same epoch gives the same batches."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, augment: Augment) -> Iterable[Batch]: ...


class Keeper(Protocol):
    """Keeps what a run makes; called on the first process only."""

    def first_batches(self, batch: Batch) -> None: ...
    def epoch(self, row: dict[str, Any], model: nn.Module, best: bool, state: dict[str, Any]) -> None: ...


@dataclass
class Progress:
    """Where a run stands: finished epochs, iterations, optimizer steps, best score and when it came."""

    epoch: Count = 0
    iteration: Count = 0
    steps: Count = 0
    best: float | None = None
    best_epoch: Count = 0


# Validates the averaged model after an epoch and returns the scores by name; "fitness" decides what is best.
Validate = Callable[[nn.Module], dict[str, float | None]]


@contextmanager
def all_or_none(fabric: Fabric) -> Iterator[None]:
    """What processes do without each other, mostly the first one alone: where it fails on the first, all end.

    Every process must enter it. The others wait at its end, and end without a word of their own where the first one
    failed: they would wait for it forever.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    if fabric.broadcast(failure is not None) and not fabric.is_global_zero:
        raise SystemExit(1)
    if failure is not None:
        raise failure


class Loop:
    """Trains a task as a recipe says.

    Parameters
    ----------
    names:
        The file names of a batch's pictures, for the message when a loss is not finite.
    validate:
        Called with the averaged model on the first process; the others wait.
    """

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        loader: Loader,
        fabric: Fabric,
        *,
        keeper: Keeper,
        validate: Validate,
        names: Callable[[Batch], list[str]],
        log: Log,
    ) -> None:
        self.recipe, self.task, self.loader, self.fabric = recipe, task, loader, fabric
        self.keeper, self.validate, self.names, self.log = keeper, validate, names, log
        self.schedule = Schedule.of(recipe, len(loader))
        self.stages = self.schedule.stages
        self.stage = self.stages.at(self.stages.first)
        self.progress = Progress(epoch=self.stages.first, iteration=self.stages.first * len(loader))
        self.always_frozen = freeze(task.model, recipe.freeze)
        self.memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        task.trainable.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        # Made before the stage freezes anything: the optimizer has all that any stage trains.
        optimizer = build_optimizer(task.trainable, self.stage.optimizer, weight_decay=self.decay(self.stage))
        task.trainable, self.optimizer = fabric.setup(task.trainable, optimizer)
        self.frozen = freeze(task.model, self.stage.freeze)
        # Only the first process validates and saves, so only it averages.
        self.ema = Ema(task.model, recipe.ema.decay, recipe.ema.tau) if fabric.is_global_zero else None
        self.unread: list[tuple[Tensor, str, int, list[str]]] = []
        self.read_every = 1 if fabric.device.type == "cpu" else _READ_EVERY
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)

    def fit(self) -> None:
        """Train from where `progress` stands to the end, or until the score has not risen for `patience` epochs."""
        joins = self.recipe.augment != self.recipe.augment.closed()
        if joins and self.stages.curriculum is None and self.recipe.epochs <= self.recipe.close_mosaic:
            self.log.note(
                f"close_mosaic: {self.recipe.close_mosaic}, so none of the {self.recipe.epochs} epochs joins pictures "
                "(mosaic, mixup, copy-paste)"
            )
        for short in self.stages.shortened():
            self.log.note(short)
        while not self.finished():
            figures = self.train_epoch(self.progress.epoch)
            self.progress.epoch += 1
            self.close_epoch(figures)

    def finished(self) -> bool:
        """Whether there is nothing left to train; says so where the patience is what ended it."""
        if self.progress.epoch >= self.stages.end:
            return True
        waited = self.progress.epoch - self.progress.best_epoch
        if self.recipe.patience == 0 or self.progress.best is None or waited < self.recipe.patience:
            return False
        stage = f" (stage {self.stage.number} of {len(self.stages.every)})" if self.stages.curriculum else ""
        self.log.note(
            f"stopped after epoch {self.progress.epoch}{stage}: no better score since epoch {self.progress.best_epoch} "
            f"(patience {self.recipe.patience})"
        )
        return True

    def train_epoch(self, epoch: int) -> Figures:
        """One pass over the data."""
        self.enter(epoch)
        for text in self.stages.news(epoch):
            self.log.note(text)
        set_training(self.task.trainable, self.always_frozen, self.frozen)
        self.task.epoch_start(epoch, closing=self.closing(epoch))
        figures = Figures()
        pending = 0
        with self.log.epoch(epoch, self.recipe.epochs, len(self.loader)) as bar:
            for number, batch in enumerate(self.loader.epoch(epoch, self.augment(epoch)), start=1):
                if epoch == self.stages.first and number <= 3 and self.fabric.is_global_zero:
                    self.keeper.first_batches(batch)
                self.schedule.apply(self.optimizer, self.progress.iteration)
                pending += 1
                stepping = pending >= self.schedule.accumulate(self.progress.iteration) or number == len(self.loader)
                losses = self.backward(batch, sync=stepping)
                if stepping:
                    self.optimizer_step(batch)
                    pending = 0
                self.progress.iteration += 1
                figures.add(losses, batch)
                bar.step(figures.brief() if bar.due else None)
        self.task.epoch_end(epoch)
        return figures

    def enter(self, epoch: int) -> None:
        """Make levels, frozen parts and optimizer those of an epoch.

        The average of the weights goes on over the edge of a stage. So do the moments of the optimizer, unless the
        stage has another kind of it, which starts anew.
        """
        switch_levels(self.stages, epoch, [self.task.model, *([self.ema.model] if self.ema is not None else [])])
        before, self.stage = self.stage, self.stages.at(epoch)
        if self.stage == before:
            return
        self.frozen.thaw()
        settings, decay = self.stage.optimizer, self.decay(self.stage)
        if type(settings) is type(before.optimizer):
            change_settings(self.optimizer, settings, weight_decay=decay)
        else:
            optimizer = build_optimizer(self.task.trainable, settings, weight_decay=decay)
            self.optimizer = self.fabric.setup_optimizers(optimizer)
        self.frozen = freeze(self.task.model, self.stage.freeze)

    def decay(self, stage: Stage) -> float:
        """The weight decay of a stage, for the pictures that one optimizer step sums."""
        recipe = self.recipe
        return scaled_decay(stage.optimizer.weight_decay, recipe.batch, full_accumulation(recipe), recipe.nominal_batch)

    def backward(self, batch: Batch, sync: bool) -> LossTerms:
        """Forward and backward of one batch; gradients are exchanged between processes only where `sync` is set."""
        height, width = batch.images.shape[2:]
        wanted = f"a batch of {len(batch)} pictures of {width}x{height} px on {self.fabric.device}"
        with self.no_sync(not sync), within_memory(wanted, "lower batch or imgsz, or take a smaller model"):
            losses = self.task.step(self.to_device(batch))
            # Processes average their gradients; times their number, the sum over all pictures remains.
            total = losses.total * len(batch) * self.fabric.world_size
            self.check_finite(total, "loss", batch)
            self.fabric.backward(total)
        return losses

    def optimizer_step(self, batch: Batch) -> None:
        """Clip, step, average."""
        # Clipped at infinity where the recipe does not clip: the norm is wanted either way.
        norm = self.fabric.clip_gradients(
            self.task.trainable, self.optimizer, max_norm=self.recipe.clip or math.inf, error_if_nonfinite=False
        )
        if self.scaler is None:  # a scaler expects overflow now and then, and leaves such a step out
            self.check_finite(norm, "gradient", batch)
        self.task.before_step()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.steps += 1
        if self.ema is not None:
            self.ema.update(self.task.model)

    def close_epoch(self, figures: Figures) -> None:
        """Validate, keep weights, figures and checkpoint. The other processes wait for the first."""
        self.read_checks()
        row = {"epoch": self.progress.epoch, **figures.row(self.fabric), **self.settings_in_force()}
        if self.progress.epoch == self.stages.first + 1 and row["boxes_dropped"]:
            self.log.note(
                f"boxes dropped as targets in epoch {row['epoch']}: {row['boxes_dropped']} ({row['dropped_reasons']}); "
                "metrics.csv counts those of each epoch"
            )
        with all_or_none(self.fabric):
            scores = self.validate(self.ema.model) if self.ema is not None and self.validation_due() else {}
        states = self.gather(random_states())
        with all_or_none(self.fabric):
            if self.ema is not None:
                self.keep_epoch(self.ema.model, row, scores, states)
        self.progress = Progress(**self.fabric.broadcast(asdict(self.progress)))

    def keep_epoch(
        self, model: nn.Module, row: dict[str, Any], scores: dict[str, float | None], states: list[dict[str, Any]]
    ) -> None:
        """On the first process: note the best score and hand the epoch to the keeper."""
        fitness = scores.pop("fitness", None)
        best = fitness is not None and (self.progress.best is None or fitness > self.progress.best)
        if best:
            self.progress.best, self.progress.best_epoch = fitness, self.progress.epoch
        row.update({f"val/{name}": value for name, value in scores.items()})
        with uninterrupted():
            self.keeper.epoch(row, model, best, self.state(states))
        self.log.epoch_line(row, self.recipe.epochs, best)

    def augment(self, epoch: int) -> Augment:
        """The augmentation of an epoch: its stage's, without mixing of pictures in the last `close_mosaic` ones."""
        augment = self.stages.at(epoch).augment
        return augment.closed() if self.closing(epoch) else augment

    def closing(self, epoch: int) -> bool:
        """Whether an epoch is one of the last `close_mosaic`."""
        return epoch >= self.recipe.epochs - self.recipe.close_mosaic

    def settings_in_force(self) -> dict[str, Any]:
        """What the finished epoch was trained with: the last iteration's rates, augmentation, frozen parts."""
        row: dict[str, Any] = {f"lr/{group['kind']}": float(group["lr"]) for group in self.optimizer.param_groups}
        momentum = self.schedule.momentum(self.progress.iteration - 1)
        if momentum is not None:
            row["momentum"] = momentum
        row["accumulate"] = self.schedule.accumulate(self.progress.iteration - 1)
        augment = self.augment(self.progress.epoch - 1)
        row.update({f"augment/{name}": getattr(augment, name) for name in augment.__struct_fields__})
        row.update({name: getattr(self.recipe, name) for name in ("multi_scale", "drop_small", "repeat_rare")})
        row["frozen"] = " ".join([*self.recipe.freeze, *self.stage.freeze])
        if self.stages.curriculum is not None:
            row["stage"] = self.stage.number
        if self.stages.levels:
            row["levels_off"] = " ".join(self.task.model.levels_off)  # type: ignore[arg-type, union-attr]
        return row

    def validation_due(self) -> bool:
        """Whether the epoch just finished is validated: every `val.every`th, and the last."""
        every, epoch = self.recipe.val.every, self.progress.epoch
        return bool(every) and (epoch % every == 0 or epoch == self.stages.end)

    def check_finite(self, value: Tensor, what: str, batch: Batch) -> None:
        """Stop where a value is not finite: at once on a CPU, before it gets into the weights.

        Reading a value waits for a GPU to finish, so there they are read a few at a time, and before anything is saved.
        """
        self.unread.append((value.detach(), what, self.progress.iteration, self.names(batch)))
        if len(self.unread) >= self.read_every:
            self.read_checks()

    def read_checks(self) -> None:
        """Read the values that `check_finite` has put off, the oldest first."""
        unread, self.unread = self.unread, []
        if not unread or bool(torch.isfinite(torch.stack([value.float() for value, *_ in unread])).all()):
            return
        value, what, iteration, names = next(entry for entry in unread if not bool(torch.isfinite(entry[0])))
        raise FineSpotError(
            f"the {what} is {float(value)} in epoch {iteration // len(self.loader) + 1}, iteration {iteration}, "
            f"for the pictures {', '.join(names)}",
            hint="try a lower lr, a longer warm-up, or precision=fp32",
        )

    def to_device(self, batch: Batch) -> Batch:
        """The batch on the device, pictures in the recipe's memory layout."""
        device = self.fabric.device
        images = batch.images.to(device, non_blocking=True).contiguous(memory_format=self.memory_format)
        targets = batch.targets.to(device) if batch.targets is not None else None
        shapes = batch.shapes.to(device, non_blocking=True) if batch.shapes is not None else None
        return replace(batch, images=images, targets=targets, shapes=shapes)

    def no_sync(self, enabled: bool) -> AbstractContextManager[Any]:
        """Leave the exchange of gradients out while they only add up."""
        context: AbstractContextManager[Any] = self.fabric.no_backward_sync(self.task.trainable, enabled=enabled)
        return context

    def gather(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """One value of every process."""
        if self.fabric.world_size == 1:
            return [state]
        everybody: list[Any] = [None] * self.fabric.world_size
        torch.distributed.all_gather_object(everybody, state)
        return everybody

    def state(self, states: list[dict[str, Any]]) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "progress": asdict(self.progress),
            "model": self.task.trainable.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.fabric.strategy.precision.state_dict(),
            "order": {"seed": self.recipe.seed, "per_epoch": len(self.loader), "world": self.fabric.world_size},
            "random": states,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the random generators of processes that there were not before keep theirs.

        Raises
        ------
        FineSpotError
            The state is of another model or holds odd values, or the data give another number of batches.
        """
        if state["order"]["per_epoch"] != len(self.loader):
            raise FineSpotError(
                f"the run had {state['order']['per_epoch']} batches an epoch, but data, batch and processes now give "
                f"{len(self.loader)}",
                where="resume",
            )
        refuse_misfit(state["model"], self.task.trainable.state_dict())
        if self.ema is not None:
            refuse_misfit(state["ema"]["model"], self.ema.model.state_dict())
        try:
            self.take_over(state)
        except _ODD as error:
            first = str(error).strip().partition("\n")[0][:200]
            raise FineSpotError(f"the checkpoint holds what no run writes ({first})", where="resume") from error

    def take_over(self, state: dict[str, Any]) -> None:
        """Set everything to a state that fits."""
        self.progress = msgspec.convert(state["progress"], Progress)
        self.task.trainable.load_state_dict(state["model"])
        # The stage that the state is of; the next epoch may begin another.
        self.enter(max(self.progress.epoch - 1, self.stages.first))
        load_optimizer(self.optimizer, state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        if state["scaler"]:  # empty where the run did not compute in fp16 before
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
        if self.fabric.global_rank < len(state.get("random", [])):
            set_random_states(state["random"][self.fabric.global_rank])
