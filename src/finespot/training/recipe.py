"""The recipe of a training run: every setting, typed, with its default.

A recipe is a YAML file with the keys of `Recipe`; what it leaves out has the default written here, which
`recipes/default.yaml` repeats in full. Nothing in it is decided behind the person's back: what the recipe says is
what happens, and the few `auto` values are printed with the reason for what they became. Defaults are those of the
YOLO family's usual SGD training, so that comparisons start equal. A file with `base: NAME` has the settings of that
recipe (or file) where it says none itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from finespot.data import Augment, TileSettings
from finespot.errors import FineSpotError, unknown
from finespot.training import settings
from finespot.training.claim import Claim
from finespot.weights import LARGEST_SIDE
from finespot.writers import write_atomic

FOLDER = Path(__file__).parent.parent / "recipes"

AtLeastOne = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]
# What the generators of torch take.
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Splits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The names of the data set's splits to learn from and to validate on."""

    train: str = "train"
    val: str = "val"


class Sgd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name", tag="sgd"):
    """Stochastic gradient descent. In the warm-up, momentum rises from `warmup_momentum`, and the biases' learning
    rate falls from `warmup_bias_lr` while all others rise from 0.
    """

    lr: Positive = 0.01
    momentum: BelowOne = 0.937
    nesterov: bool = True
    weight_decay: NotNegative = 5e-4
    warmup_momentum: BelowOne = 0.8
    warmup_bias_lr: NotNegative = 0.1


class AdamW(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name", tag="adamw"):
    """AdamW. The warm-up leaves its betas alone."""

    lr: Positive = 0.001
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NotNegative = 5e-4
    warmup_bias_lr: NotNegative = 0.0


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The learning rate falls from its start to `final` times its start, once an epoch, after a warm-up."""

    name: Literal["linear", "cosine"] = "linear"
    final: Share = 0.01
    warmup_epochs: NotNegative = 3.0


class Loss(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gains of the loss terms; box loss and assigner by registered name or dotted path, with options in brackets.

    What is null is the model's own; a gain of a term that the model does not have is refused.
    """

    box: NotNegative | None = None
    cls: NotNegative | None = None
    dfl: NotNegative | None = None
    obj: NotNegative | None = None
    l1: NotNegative | None = None
    l1_epochs: Literal["all", "closing"] | None = None
    heat: NotNegative | None = None
    box_loss: str | None = None
    assigner: str | None = None


LOSS_GAINS = ("box", "cls", "dfl", "obj", "l1", "heat")


class Ema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The moving average of the weights: after step t it keeps the share decay * (1 - exp(-t / tau))."""

    decay: BelowOne = 0.9999
    tau: Positive = 2000.0


class Val(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Validation in the loop. `every` 0 means never; `nms` null is greedy; `max_det` null takes the protocol's;
    `batch` null twice the training batch.
    """

    every: Count = 1
    protocol: str = "coco"
    conf: Share = 0.001
    iou: Share = 0.7
    nms: str | None = None
    max_det: AtLeastOne | None = None
    batch: AtLeastOne | None = None


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides a training run; see `recipes/default.yaml` for each key in words."""

    model: str = "yolo11n"
    options: dict[str, Any] = {}
    data: str = ""
    data_licence: str = ""
    gsd: Positive | None = None
    splits: Splits = Splits()
    weights: str | None = None
    name: str = "run"
    epochs: AtLeastOne = 100
    imgsz: Side = 640
    batch: AtLeastOne = 16
    nominal_batch: AtLeastOne = 64
    optimizer: Sgd | AdamW = Sgd()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    tile: TileSettings = TileSettings()
    augment: Augment = Augment()
    close_mosaic: Count = 10
    multi_scale: BelowOne = 0.0
    drop_small: NotNegative = 0.0
    repeat_rare: Share = 0.0
    shapes: str | None = None
    ema: Ema = Ema()
    curriculum: str | dict[str, Any] | None = None
    stage: AtLeastOne | None = None
    clip: NotNegative = 10.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    workers: Count | Literal["auto"] = "auto"
    cache: Literal["ram", "disk"] | None = None
    cache_folder: str | None = None
    seed: Seed = 0
    deterministic: bool = False
    patience: Count = 100
    freeze: list[str] = []
    val: Val = Val()
    device: str = "auto"
    devices: AtLeastOne | Literal["auto"] = "auto"
    strategy: Literal["auto", "ddp", "ddp_spawn"] = "auto"
    save_every: Count = 0
    claimed: Claim | None = None


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_recipe(
    source: str | Path = "default", overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe (the name of one in the package, or a YAML file) and apply overrides.

    Parameters
    ----------
    source:
        `default`, another of `recipe_names()`, or a path.
    overrides:
        Words `key=value`; a key is dotted (`optimizer.lr=0.02`) or, where only one key ends so, bare (`lr=0.02`).
    values:
        The same with Python values, for example `{"epochs": 3, "optimizer": {"name": "adamw"}}`.

    Raises
    ------
    FineSpotError
        The recipe is unknown, has an unknown key, or a value of the wrong type.
    """
    return apply(_read(_find(source), ()), {**parse_words(overrides), **(values or {})})


def _read(path: Path, above: tuple[Path, ...]) -> settings.Tree:
    """The tree of a recipe file laid over that of its base, and so on; `above` are the files that build upon it."""
    tree, lines = settings.read_yaml(path)
    base = tree.pop("base", None)
    if base is not None:
        where = f"{path}:{lines['base']}"
        if not isinstance(base, str):
            raise FineSpotError(f"expected the name of a recipe as base but got {base!r}", where=where)
        below = _find(path.parent / base if base.endswith((".yaml", ".yml")) else base)
        if below in (*above, path):
            raise FineSpotError(f"builds on itself (base: {base})", where=where)
        tree = settings.merge(Recipe, _read(below, (*above, path)), tree)
    settings.build(Recipe, tree, path, lines)
    return tree


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """Words `key=value` of a command line as full keys and typed values; of a key said twice, the last counts."""
    return dict(settings.read_word(Recipe, word) for word in words)


def apply(tree: settings.Tree, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a tree of plain values with some of its keys (dotted or bare) set anew."""
    # The kind of a section first: changing it later would discard the keys set before.
    for key in sorted(values, key=lambda key: key not in ("optimizer", "optimizer.name")):
        settings.put(Recipe, tree, key, values[key])
    return settings.build(Recipe, tree)


def read_recipe(path: Path) -> Recipe:
    """The recipe that a run folder holds."""
    tree, lines = settings.read_yaml(path)
    return settings.build(Recipe, tree, path, lines)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write every key of a recipe as YAML."""
    write_atomic(path, settings.dump(recipe))


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The dotted keys in which two recipes differ."""
    first, second = _flat(one), _flat(other)
    absent = object()
    return [key for key in {**first, **second} if first.get(key, absent) != second.get(key, absent)]


def _flat(recipe: Recipe) -> dict[str, Any]:
    tree = msgspec.to_builtins(recipe)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        parted = isinstance(value, dict) and key != "claimed"
        flat.update({f"{key}.{k}": v for k, v in value.items()} if parted else {key: value})
    return flat


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FineSpotError("no such recipe file", where=path)
        return path
    if str(source) in recipe_names():
        return FOLDER / f"{source}.yaml"
    raise unknown("recipe", str(source), recipe_names())
