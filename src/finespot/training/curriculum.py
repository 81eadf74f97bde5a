"""A curriculum: a training in stages, as data.

A YAML file (the name of one in the package, or a path) with the keys of `Curriculum`; a recipe takes it up whole, so
that a run folder says all that the run does. What a stage leaves out is the curriculum's, and what that leaves out is
the recipe's. `stages.Stages` gives the stages their epochs.

The settings follow "HCP-400" of YOLO-SOD, with four differences: borders move with the number of epochs where they are
given as shares of them; the optimizer must be named where a stage has a learning rate of its own; a level that is off
is left out of assignment, loss and prediction, where the original set its logits to zero; and frozen parts keep their
BatchNorm statistics too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from finespot.data import Augment
from finespot.errors import FineSpotError, unknown
from finespot.training import recipe as recipes
from finespot.training import settings
from finespot.training.recipe import AdamW, NotNegative, Positive, Recipe, Schedule, Sgd, Share

FOLDER = recipes.FOLDER / "curricula"
# The first epoch of something: its number, counted from 1, or the share of the epochs that come before it.
First = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0, lt=1)]
# What joins pictures, which the last `close_mosaic` epochs do without.
JOINING = ("mosaic", "mixup", "copy_paste")


class StageSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a stage does differently.

    first: its first epoch. lr: the learning rate that it starts from; lr_factor: the same as a multiple of the
    optimizer's. final, warmup_epochs: as in a recipe's schedule; a stage after the first has no warm-up of itself.
    augment: keys of a recipe's augment. freeze: parts without gradients and with fixed norm statistics, besides the
    recipe's, until the stage ends.
    """

    first: First
    optimizer: Sgd | AdamW | None = None
    lr: Positive | None = None
    lr_factor: Positive | None = None
    final: Share | None = None
    warmup_epochs: NotNegative | None = None
    augment: dict[str, float] = {}
    freeze: list[str] = []


class Curriculum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Stages in their order, with what they share.

    decay: whether the learning rate falls once over the whole run or anew in each stage. levels: by name (`p2`) or
    stride (4), the levels that come on later, and from which epoch on.
    """

    name: str = ""
    optimizer: Sgd | AdamW | None = None
    schedule: Schedule | None = None
    decay: Literal["run", "stage"] = "run"
    levels: dict[int | str, First] = {}
    stages: list[StageSettings]


def curriculum_names() -> list[str]:
    """The curricula that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_curriculum(source: str | Mapping[str, Any]) -> Curriculum:
    """The curriculum of a name, a YAML file or a mapping of plain values.

    Raises
    ------
    FineSpotError
        There is none of this name, a key is unknown, or two settings contradict each other.
    """
    if isinstance(source, Mapping):
        return _build({"name": "unnamed", **source}, "curriculum", {})
    path = _find(source)
    tree, lines = settings.read_yaml(path)
    return _build({"name": path.stem, **tree}, path, lines)


def curriculum_of(recipe: Recipe) -> Curriculum | None:
    """The curriculum that a recipe names or holds."""
    return None if recipe.curriculum is None else read_curriculum(recipe.curriculum)


def settled(recipe: Recipe) -> Recipe:
    """The recipe with its curriculum written out, in place of a name."""
    curriculum = curriculum_of(recipe)
    if curriculum is None:
        return recipe
    # As a file gives it back, so that a run folder's recipe equals the one that the run was given.
    return msgspec.structs.replace(recipe, curriculum=settings.parse(settings.dump(curriculum)))


def refuse_overruled(curriculum: Curriculum, given: Mapping[str, Any]) -> None:
    """Refuse recipe keys (dotted) that a person gave and every stage sets: they would have no effect."""
    stages = curriculum.stages
    optimizer = curriculum.optimizer is not None or all(stage.optimizer is not None for stage in stages)
    final = curriculum.schedule is not None or all(stage.final is not None for stage in stages)
    warmup = curriculum.schedule is not None or stages[0].warmup_epochs is not None
    overruled = {
        "schedule": curriculum.schedule is not None,
        "schedule.name": curriculum.schedule is not None,
        "schedule.final": final,
        "schedule.warmup_epochs": warmup,
        "augment": all(set(Augment.__struct_fields__) <= stage.augment.keys() for stage in stages),
        **{f"augment.{key}": all(key in stage.augment for stage in stages) for key in Augment.__struct_fields__},
    }
    for key, value in _flat(given):
        if overruled.get(key, optimizer and key.partition(".")[0] == "optimizer"):
            raise FineSpotError(
                f"the curriculum '{curriculum.name}' sets it in every stage, so that {value} would have no effect",
                where=key,
                hint="change it in the recipe that --show-recipe prints, and give that by --recipe",
            )


def _flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value


def _find(source: str) -> Path:
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FineSpotError("no such curriculum file", where=path)
        return path
    if source in curriculum_names():
        return FOLDER / f"{source}.yaml"
    raise unknown("curriculum", source, curriculum_names())


def _build(tree: Mapping[str, Any], where: object, lines: Mapping[str, int]) -> Curriculum:
    listed = tree.get("stages")
    if not isinstance(listed, list) or not listed:
        raise FineSpotError(f"expected a list of stages at 'stages' but got {listed!r}", where=where)
    stages = [_build_stage(one, f"{where}, stage {number}") for number, one in enumerate(listed, 1)]
    curriculum = settings.build(Curriculum, {**tree, "stages": stages}, where, lines)
    for number, stage in enumerate(stages, 1):
        _check(stage, curriculum, f"{where}, stage {number}")
    if stages[0].first not in (0, 1):
        raise FineSpotError(
            f"expected a first stage that begins the training but got first: {stages[0].first}",
            where=f"{where}, stage 1",
            hint="write first: 0",
        )
    return curriculum


def _build_stage(tree: Any, where: str) -> StageSettings:
    if not isinstance(tree, Mapping):
        raise FineSpotError(f"expected keys with values but got {tree!r}", where=where)
    if "first" not in tree:
        raise FineSpotError(
            "expected the key 'first' but it is not there", where=where, hint="a share of the epochs, or an epoch"
        )
    augment = tree.get("augment")
    for key, value in augment.items() if isinstance(augment, Mapping) else ():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FineSpotError(f"expected a number at 'augment.{key}' but got {value!r}", where=where)
    stage = settings.build(StageSettings, tree, where)
    for key in stage.augment:
        if key not in Augment.__struct_fields__:
            raise unknown("key of augment", key, Augment.__struct_fields__, where=where)
    try:
        Augment(**stage.augment)
    except FineSpotError as error:
        raise FineSpotError(f"{error.where}: {error.what}", where=where, hint=error.hint) from error
    return stage


def _check(stage: StageSettings, curriculum: Curriculum, where: str) -> None:
    if stage.lr is not None and stage.lr_factor is not None:
        raise FineSpotError(f"expected lr or lr_factor but got both, {stage.lr:g} and {stage.lr_factor:g}", where=where)
    if stage.lr is not None and stage.optimizer is None and curriculum.optimizer is None:
        raise FineSpotError(
            f"the learning rate {stage.lr:g} says nothing without its optimizer",
            where=where,
            hint="name one, in the stage or for all, as optimizer: {name: adamw}; or take lr_factor",
        )
    if stage.final is not None and curriculum.decay == "run":
        raise FineSpotError(
            f"the learning rate falls once over the whole run, but the stage has a final of {stage.final:g}",
            where=where,
            hint="write decay: stage",
        )
