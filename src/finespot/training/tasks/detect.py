"""The ordinary task: a detector learns from boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from finespot import weights, zoo
from finespot.errors import FineSpotError, some
from finespot.registry import register
from finespot.structures import Architecture, Batch, Classes, LossTerms, Normalization, Targets
from finespot.training.plan import Facts, Note, plan, plan_box_loss
from finespot.training.recipe import LOSS_GAINS, Recipe


class _Truth:
    """Keeps targets out of the reach of Fabric, which would convert the tensors of an argument to half precision."""

    def __init__(self, targets: Targets | None) -> None:
        self.targets = targets


class _Forward(nn.Module):
    """The part of a step that runs under the wrapper for precision and gradient exchange."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, truth: _Truth) -> Any:
        return self.model(images, truth.targets)


class Start(NamedTuple):
    """What a run starts from: the network, freshly built, the weights to take over, if any, and what these (or the
    network) expect of their input.
    """

    model: zoo.Detector
    weights: Path | None
    normalization: Normalization


@register("task", "detect")
class Detect:
    """A detector of the recipe's model for the data set's classes.

    `model` is a name of the zoo, or a weight file or the name of bundled weights: then their architecture is built
    and their weights are taken over. The recipe's `weights` name another source of weights. What the training data
    decide (anchors, the number of queries, NWD's constant) is planned from `facts` and said.
    """

    def __init__(self, recipe: Recipe, classes: Classes, note: Note, facts: Facts | None = None) -> None:
        start = find_start(recipe, len(classes), note, facts)
        self.model, self.normalization = start.model, start.normalization
        set_loss(self.model, recipe, note, facts)
        if isinstance(self.model, zoo.WindowedDetector):
            for line in on_windows(self.model, recipe):
                note(line)
        self.source: str | None = None
        self.source_licence = ""
        if start.weights is not None:
            report = weights.transfer(self.model, classes, start.weights)
            note(report.summary())
            for line in report.by_part():
                note(line)
            self.source, self.source_licence = start.weights.name, report.data_licence
        self.trainable: nn.Module = _Forward(self.model)

    def step(self, batch: Batch) -> LossTerms:
        """The losses of head and relay for pictures as the network expects them."""
        assert batch.targets is not None
        raw = self.trainable(normalized(batch.images, self.normalization), _Truth(batch.targets))
        if not self.model.relay_learns:
            return self.model.loss(raw, batch.targets)
        return self.model.loss(raw, batch.targets, content_of(batch), batch.shapes)

    def epoch_start(self, epoch: int, closing: bool) -> None:
        """The head's loss may change when pictures are joined no longer (YOLOX adds a term)."""
        self.model.head.criterion.closing = closing

    def before_step(self) -> None:
        """Nothing to edit."""

    def epoch_end(self, epoch: int) -> None:
        """Nothing to do."""


def on_windows(model: zoo.WindowedDetector, recipe: Recipe) -> list[str]:
    """What runs on windows is said: how they lie, and which layers see another thing in them than in pictures."""
    rule = model.windows
    fires = (
        f"windows run where the heat is {rule.threshold:g} or more, which finespot weights calibrate chooses by recall"
    )
    threshold = [fires] if rule.select == "seeker" else []
    if {"backbone", "neck", "head"} <= set(recipe.freeze):
        return ["only the seeker learns: a step runs what it reads and itself, no windows", *threshold]
    cores = f"cores of {rule.core} cells with a halo of {rule.halo}, {rule.share:.0%} of them or more in a step"
    about = cores if rule.form == "cores" else f"{rule.sides} x {rule.sides}, all of them in a step"
    lines = [f"windows at stride {model.cut}: {about}", *threshold]
    for kind, names in model.changed_layers().items():
        lines.append(f"in windows they see less than in pictures: {kind} ({some(names, 4)})")
    return lines


def normalized(images: Tensor, rule: Normalization) -> Tensor:
    """uint8 pictures (B, 3, H, W) as float: (value / 255 - mean) / std."""
    inputs = images.float().div_(255)
    if any(rule.mean):
        inputs.sub_(inputs.new_tensor(rule.mean).view(1, -1, 1, 1))
    if any(value != 1 for value in rule.std):
        inputs.div_(inputs.new_tensor(rule.std).view(1, -1, 1, 1))
    return inputs


def content_of(batch: Batch) -> Tensor:
    """Where the pictures lie in the input, as far as their placements say: (B, 4) xyxy in its pixels."""
    corners = [one.to_input(np.array([[0, 0, one.size[1], one.size[0]]], np.float32)) for one in batch.placements]
    return torch.from_numpy(np.concatenate(corners)).to(batch.images.device, non_blocking=True)


def set_loss(model: zoo.Detector, recipe: Recipe, note: Note = lambda text: None, facts: Facts | None = None) -> None:
    """Give head and relay what the recipe says of their losses; what that leaves open stays their own.

    Raises
    ------
    FineSpotError
        The model has no term of a gain, or nothing in it learns from the shapes that the recipe names.
    """
    loss = recipe.loss
    gains = {name: gain for name in LOSS_GAINS if (gain := getattr(loss, name)) is not None}
    relay: Any = model.relay
    own = {name: gains.pop(name) for name in getattr(relay, "gains", {}) if name in gains}
    terms = getattr(getattr(model.head, "criterion", None), "gains", None)
    for name in gains:
        if terms is not None and name not in terms:
            raise FineSpotError(
                f"unknown loss gain '{name}': the loss of this network has the terms {', '.join((*terms, *own))}",
                where=f"loss.{name}",
                hint=f"say loss.{name}=null where a recipe has it",
            )
    box_loss = loss.box_loss or getattr(model.head, "own_box_loss", None)
    if box_loss is not None and facts is not None:
        box_loss = plan_box_loss(box_loss, facts.sizes, note)
    model.head.set_loss(assigner=loss.assigner, box_loss=box_loss, gains=gains, l1_epochs=loss.l1_epochs)
    if own:
        relay.set_gains(own)
    if recipe.shapes is not None and not model.relay_learns:
        raise FineSpotError(
            "nothing in this model learns from the shapes of objects",
            where="shapes",
            hint="leave it out, or take a model with a seeker",
        )


def find_start(recipe: Recipe, classes: int, note: Note = lambda text: None, facts: Facts | None = None) -> Start:
    """The network that `model` means, for `classes` classes, and the weights to begin with.

    Raises
    ------
    FineSpotError
        The model or the file is unknown, or the file names code outside FineSpot that the recipe does not name too.
    """
    source = weights.resolve(recipe.weights) if recipe.weights else None
    if not _means_file(recipe.model):
        architecture = zoo.architecture(recipe.model, classes=classes, **recipe.options)
        architecture = plan(architecture, recipe, facts, note)
        expected = zoo.normalization_of(architecture) if source is None else weights.read_card(source).normalization
        return Start(zoo.build(architecture), source, expected)
    path = weights.resolve(recipe.model)
    card = weights.read_card(path)
    known = card.architecture
    foreign = [part for part in card.own_parts() if part not in recipe.options.values()]
    if foreign:
        raise FineSpotError(
            f"the weights name code outside FineSpot ({', '.join(foreign)})",
            where=path,
            hint=f"if the code is yours, name it in the recipe too, for example options.neck={foreign[0]}",
        )
    options = {**known.options, **recipe.options}
    architecture = Architecture(known.family, known.size, classes, options, known.channels)
    with weights.naming(path):
        architecture = plan(architecture, recipe, facts, note)
    expected = card.normalization if source is None else weights.read_card(source).normalization
    return Start(weights.build(path, architecture), source or path, expected)


def _means_file(model: str) -> bool:
    """Whether a word means a weight file or bundled weights; else it means an architecture."""
    path = Path(model)
    if zoo.is_name(model):
        return False
    if path.suffix and not path.is_file() and zoo.is_name(path.stem):
        raise FineSpotError(
            "expected a weight file but there is none",
            where=model,
            hint=f"'{path.stem}' is the architecture, to be trained from the start",
        )
    return model in weights.bundled() or path.is_file() or path.name != model or path.suffix != ""
