"""The stages of a run in words, as they are printed before it begins."""

from __future__ import annotations

from finespot.data import Augment
from finespot.training.log import Log
from finespot.training.recipe import AdamW, Recipe, Sgd
from finespot.training.schedule import Schedule
from finespot.training.stages import Stage, Stages
from finespot.writers.table import ResultTable

_COLUMNS = ("stage", "epochs", "learning rate", "optimizer", "augmentation that differs", "frozen", "levels")


def tell_stages(schedule: Schedule, recipe: Recipe, fresh: bool, log: Log) -> None:
    """Print a row for each stage that the run has; `fresh` says that it does not go on from other weights."""
    stages = schedule.stages
    if stages.curriculum is None:
        return
    shown = [stage for stage in stages.every if stages.first <= stage.first < stages.end]
    title = f"curriculum {stages.curriculum}" if recipe.stage is None else f"of the curriculum {stages.curriculum}"
    table = ResultTable(_COLUMNS, (), title=title, box=None, pad_edge=False)
    before = recipe.augment
    for stage in shown:
        table.row(
            f"{stage.number} of {len(stages.every)}",
            f"{stage.first + 1} to {stage.end}",
            _rates(schedule, stage),
            _optimizer(stage.optimizer),
            _difference(before, stage.augment) or "none",
            ", ".join([*recipe.freeze, *stage.freeze]) or "none",
            _levels(stages, stage),
        )
        before = stage.augment
    log.console.print(table)
    if fresh and stages.first > 0:
        log.note(f"warning: stage {shown[0].number} begins with fresh weights; --weights takes those of the one before")


def _rates(schedule: Schedule, stage: Stage) -> str:
    """Of the first epoch, without its warm-up, and of the last."""
    first, last = (stage.optimizer.lr * schedule.factor(epoch) for epoch in (stage.first, stage.end - 1))
    return f"{first:.4g} to {last:.4g}"


def _optimizer(settings: Sgd | AdamW) -> str:
    kind = settings.__struct_config__.tag
    if isinstance(settings, Sgd):
        return f"{kind}, momentum {settings.momentum:g}, decay {settings.weight_decay:g}"
    return f"{kind}, betas {settings.betas[0]:g} {settings.betas[1]:g}, decay {settings.weight_decay:g}"


def _difference(before: Augment, after: Augment) -> str:
    names = [name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name)]
    return ", ".join(f"{name} {getattr(after, name):g}" for name in names)


def _levels(stages: Stages, stage: Stage) -> str:
    said = []
    for level, first in stages.levels.items():
        if stage.end <= first:
            said.append(f"{level} off")
        elif stage.first < first:
            said.append(f"{level} from epoch {first + 1}")
    return ", ".join(said) or "all"
