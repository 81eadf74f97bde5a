"""The stages of a run: for each epoch, the optimizer, augmentation, frozen parts and levels that it trains with.

Made from a recipe and its curriculum once the number of epochs is known; a recipe without one has a single stage. All
else asks here: the schedule for learning rates, the loop for what changes where a stage begins. Epochs are those of
the whole curriculum, counted from 0, also where only one stage of it is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec
from torch import nn

from finespot.data import Augment
from finespot.errors import FineSpotError, some
from finespot.training.curriculum import JOINING, Curriculum, StageSettings, curriculum_of
from finespot.training.freeze import freeze
from finespot.training.recipe import AdamW, Recipe, Sgd


@dataclass(frozen=True)
class Stage:
    """The epochs from `first` to before `end`.

    The learning rate starts at `optimizer.lr` and falls to `final` times that, over `decay_epochs` epochs counted from
    `decay_first`; `warmup` is in epochs, and less than the `wanted` ones where the stage is too short for them.
    """

    number: int
    first: int
    end: int
    optimizer: Sgd | AdamW
    decay_first: int
    decay_epochs: int
    final: float
    warmup: float
    wanted: float
    augment: Augment
    freeze: tuple[str, ...]


@dataclass(frozen=True)
class Stages:
    """All stages, and which of their epochs are run: those from `first` to before `end`.

    `curriculum` is its name, None where the recipe has none; `shape` is that of the decay; `levels` are the levels
    that come on later, with their first epochs.
    """

    curriculum: str | None
    every: tuple[Stage, ...]
    shape: str
    levels: Mapping[int | str, int]
    first: int
    end: int

    @classmethod
    def of(cls, recipe: Recipe) -> Stages:
        """The stages of a recipe.

        Raises
        ------
        FineSpotError
            Stages are out of order, without an epoch or beyond the last, or contradict `close_mosaic`; or there is
            no such stage to run alone.
        """
        curriculum = curriculum_of(recipe)
        given = curriculum or Curriculum(stages=[StageSettings(first=0)])
        schedule = given.schedule or recipe.schedule
        every = tuple(_stages(given, recipe))
        first, end = 0, recipe.epochs
        if recipe.stage is not None:
            if curriculum is None:
                raise FineSpotError("without a curriculum there are no stages", where="stage", hint="name a curriculum")
            if recipe.stage > len(every):
                raise FineSpotError(
                    f"expected one of the {len(every)} stages of '{given.name}' but got {recipe.stage}", where="stage"
                )
            first, end = every[recipe.stage - 1].first, every[recipe.stage - 1].end
        if curriculum is not None:
            run = [(one, stage) for one, stage in zip(given.stages, every) if first <= stage.first < end]
            _check_closing(run, recipe)
        levels = {level: _epoch(start, recipe.epochs, f"levels.{level}") for level, start in given.levels.items()}
        return cls(None if curriculum is None else given.name, every, schedule.name, levels, first, end)

    def at(self, epoch: int) -> Stage:
        """The stage of an epoch."""
        return next(stage for stage in reversed(self.every) if epoch >= stage.first)

    def off(self, epoch: int) -> list[int | str]:
        """The levels that are off in an epoch."""
        return [level for level, first in self.levels.items() if epoch < first]

    def check(self, model: Any, frozen: Sequence[str]) -> None:
        """Try on the model all that the stages ask of it; afterwards it is as before.

        Raises
        ------
        FineSpotError
            It lacks a level or a part to freeze, its levels cannot be switched, or a stage has nothing to train.
        """
        for stage in self.every:
            held = freeze(model, stage.freeze)
            left = any(parameter.requires_grad for parameter in model.parameters())
            held.thaw()
            if not left:
                names = ", ".join([*frozen, *stage.freeze])
                raise FineSpotError(
                    f"nothing is left to train in stage {stage.number} where {names} are frozen", where="freeze"
                )
        if self.levels:
            if not hasattr(model, "switch_off"):
                raise FineSpotError("the model has no levels that can come on later", where="levels")
            named: dict[str, int | str] = {}
            for level in self.levels:
                model.switch_off([level])
                (name,) = model.levels_off
                if name in named:
                    raise FineSpotError(f"{named[name]} and {level} are the same level", where="levels")
                named[name] = level
            for epoch in (0, *self.levels.values()):
                model.switch_off(self.off(epoch))
            model.switch_off([])

    def news(self, epoch: int) -> list[str]:
        """What is new in an epoch, in words: a stage, a level."""
        if self.curriculum is None:
            return []
        stage = self.at(epoch)
        said = [f"epoch {epoch + 1}: stage {stage.number} of {len(self.every)} begins"] if epoch == stage.first else []
        return said + [
            f"epoch {epoch + 1}: level {level} is on from here"
            for level, first in self.levels.items()
            if epoch == first and epoch > 0
        ]

    def shortened(self) -> list[str]:
        """The stages that are run whose warm-up does not fit, in words."""
        return [
            f"warmup_epochs: {stage.warmup:g} instead of {stage.wanted:g}, which leaves an epoch "
            + ("of the run" if self.curriculum is None else f"of stage {stage.number}")
            for stage in self.every
            if self.first <= stage.first < self.end and stage.warmup < stage.wanted
        ]


def switch_levels(stages: Stages, epoch: int, models: Sequence[nn.Module]) -> None:
    """Switch the levels of models on and off as an epoch has them."""
    if stages.levels:
        for model in models:
            model.switch_off(stages.off(epoch))  # type: ignore[operator]


def _stages(given: Curriculum, recipe: Recipe) -> list[Stage]:
    epochs, schedule = recipe.epochs, given.schedule or recipe.schedule
    firsts = [_epoch(one.first, epochs, f"stage {number}") for number, one in enumerate(given.stages, 1)]
    for number, (before, first) in enumerate(pairwise(firsts), 2):
        if first <= before:
            raise FineSpotError(
                f"expected stage {number} to begin after epoch {before + 1}, where stage {number - 1} begins, but got "
                f"epoch {first + 1} of {epochs}",
                where="curriculum",
                hint="give it more epochs, or the stages in their order",
            )
    made = []
    for number, (one, first, end) in enumerate(zip(given.stages, firsts, [*firsts[1:], epochs]), 1):
        whole = given.decay == "run"
        warmup = one.warmup_epochs if one.warmup_epochs is not None else schedule.warmup_epochs if number == 1 else 0.0
        stage = Stage(
            number=number,
            first=first,
            end=end,
            optimizer=_optimizer(one, given, recipe),
            decay_first=0 if whole else first,
            decay_epochs=epochs if whole else end - first,
            final=one.final if one.final is not None else schedule.final,
            warmup=min(warmup, end - first - 1),
            wanted=warmup,
            augment=msgspec.structs.replace(recipe.augment, **one.augment),
            freeze=tuple(one.freeze),
        )
        made.append(stage)
    return made


def _optimizer(stage: StageSettings, given: Curriculum, recipe: Recipe) -> Sgd | AdamW:
    """A stage's optimizer, with the learning rate that the stage starts from."""
    optimizer = stage.optimizer or given.optimizer or recipe.optimizer
    lr = stage.lr if stage.lr is not None else optimizer.lr * (stage.lr_factor or 1.0)
    return msgspec.structs.replace(optimizer, lr=lr)


def _epoch(start: float, epochs: int, what: str) -> int:
    """An epoch, counted from 0, of its number counted from 1 or of the share of the epochs before it."""
    first = math.floor(start * epochs + 0.5) if isinstance(start, float) else max(start - 1, 0)
    if first >= epochs:
        raise FineSpotError(
            f"{what} begins with epoch {first + 1}, but the training ends after {epochs}",
            where="curriculum",
            hint="give it more epochs, or an earlier beginning",
        )
    return first


def _check_closing(run: Sequence[tuple[StageSettings, Stage]], recipe: Recipe) -> None:
    """Refuse a `close_mosaic` that takes from a stage that is run what it asks for."""
    closed = max(recipe.epochs - recipe.close_mosaic, 0)
    for one, stage in run:
        asked = [name for name in JOINING if one.augment.get(name)]
        last = stage.end == recipe.epochs
        if asked and recipe.close_mosaic and (closed <= stage.first if last else closed < stage.end):
            room = recipe.epochs - stage.first - 1 if last else recipe.epochs - stage.end
            raise FineSpotError(
                f"the last {recipe.close_mosaic} epochs join no pictures, but stage {stage.number} (epochs "
                f"{stage.first + 1} to {stage.end}) asks for {some(asked)}",
                where="close_mosaic",
                hint=f"set close_mosaic to at most {room}",
            )
