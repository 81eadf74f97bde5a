"""A seeker learns where objects are, from the boxes that a detector learns from.

The recipe's `imgsz` is the side of the reduced pictures that the network gets; `tile.size`, a piece of the picture that
becomes one of them, follows from the reduction. So pixels have the scale that they have in prediction, whatever the
size of the pictures.
"""

from __future__ import annotations

import msgspec
import numpy as np
from torch import Tensor, nn

from finespot import weights
from finespot.data import Dataset
from finespot.errors import FineSpotError, unknown
from finespot.nn.seeker import SeekerNet
from finespot.registry import check_values, register
from finespot.structures import Batch, LossTerms, Normalization
from finespot.training.plan import Note
from finespot.training.recipe import Loss, Recipe, Val
from finespot.training.tasks.detect import content_of, normalized
from finespot.weights import SeekerCard

MODEL = "seeker"
# What an object keeps of its side in the reduced picture, and the share of the objects that keep it.
TRACE, TRACED = 3.0, 0.99
MOST = 8
_OPTIONS = ("reduction", "stride", "width", "loss")
# Of the recipe, what says something about boxes and classes.
_LOSS = ("box", "cls", "dfl", "obj", "l1", "l1_epochs", "box_loss", "assigner")
_VAL = ("protocol", "conf", "iou", "nms", "max_det", "batch")
_TILE = ("whole", "merge", "metric")


def seeks(model: str) -> bool:
    """Whether a word for a model means a seeker: `seeker`, or the weight file of one."""
    if model == MODEL:
        return True
    try:
        return weights.is_seeker(model)
    except FineSpotError:
        return False  # what is wrong with the word is said where a detector is made of it


def settled_for_seeker(recipe: Recipe, dataset: Dataset, note: Note) -> Recipe:
    """The recipe with the reduction that the objects allow and the tiles that follow from it, which is said.

    Raises
    ------
    FineSpotError
        A key has no effect on a seeker, or an option is unknown or out of range.
    """
    _refuse_idle(recipe)
    card = _known_card(recipe)
    options = {**recipe.options}
    for name in options:
        if name not in _OPTIONS:
            raise unknown("option of a seeker", name, _OPTIONS)
    asked = options.get("reduction", "auto" if card is None else card.reduction)
    reduction = _reduction(dataset, note) if asked == "auto" else asked
    if isinstance(reduction, bool) or not isinstance(reduction, int):
        raise FineSpotError(f"expected a whole number or auto but got {reduction!r}", where="options.reduction")
    SeekerCard(reduction=reduction).check()
    side = reduction * recipe.imgsz
    if recipe.tile.size not in (None, side):
        raise FineSpotError(
            f"a seeker's tiles are imgsz x reduction, {side} px, but got {recipe.tile.size}", where="tile.size"
        )
    return msgspec.structs.replace(
        recipe,
        options={**options, "reduction": reduction},
        tile=msgspec.structs.replace(recipe.tile, size=side),
    )


@register("task", MODEL)
class Seek:
    """A seeker of the recipe's options, which `settled_for_seeker` has completed.

    `model` is the word `seeker`, or a seeker's weight file to go on from; the recipe's `weights` name such a file too.
    """

    def __init__(self, recipe: Recipe, note: Note) -> None:
        options = {key: value for key, value in recipe.options.items() if key != "reduction"}
        check_values("seeker", SeekerNet, options)
        source = _source(recipe)
        self.source: str | None = None
        self.source_licence = ""
        self.normalization = Normalization()
        if source is None:
            self.model = SeekerNet(**options)
        else:
            network, card = weights.read_seeker(source)
            options = {"stride": card.stride, "width": card.width, **options}
            self.model = SeekerNet(**options)
            if (self.model.stride, self.model.width) != (card.stride, card.width):
                raise FineSpotError(
                    f"expected its stride {card.stride} and width {card.width} but got {self.model.stride} and "
                    f"{self.model.width}",
                    where=source,
                )
            self.model.load_state_dict(network.state_dict())
            self.source, self.source_licence = weights.resolve(source).name, card.data_licence
            note(f"all parameters taken from {self.source}")
        if recipe.loss.heat is not None:
            self.model.set_gains({"heat": recipe.loss.heat})
        self.trainable: nn.Module = self.model
        reduction = recipe.options["reduction"]
        note(
            f"seeker: {sum(one.numel() for one in self.model.parameters())} parameters, cells of "
            f"{reduction * self.model.stride} px"
        )

    def step(self, batch: Batch) -> LossTerms:
        """The loss of the map for pictures as the network expects them."""
        assert batch.targets is not None
        logits: Tensor = self.trainable(normalized(batch.images, self.normalization))
        return self.model.loss(logits, batch.targets, content_of(batch), batch.shapes)

    def epoch_start(self, epoch: int, closing: bool) -> None:
        """Nothing to change."""

    def before_step(self) -> None:
        """Nothing to edit."""

    def epoch_end(self, epoch: int) -> None:
        """Nothing to do."""


def _reduction(dataset: Dataset, note: Note) -> int:
    """The largest reduction that leaves a trace of nearly all objects."""
    rows = dataset.rows
    boxes = rows.boxes[~rows.ignore]
    if not len(boxes):
        raise FineSpotError("there is no object to choose a reduction by", where=dataset.name)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(1))
    small = float(np.quantile(sides, 1 - TRACED))
    chosen = min(max(int(small / TRACE), 1), MOST)
    note(
        f"options.reduction: {chosen} ({TRACED:.0%} of the objects have a side of {small:.1f} px or more, which leaves "
        f"{small / chosen:.1f})"
    )
    return chosen


def _source(recipe: Recipe) -> str | None:
    """The weight file to go on from."""
    return recipe.weights or (None if recipe.model == MODEL else recipe.model)


def _known_card(recipe: Recipe) -> SeekerCard | None:
    source = _source(recipe)
    return None if source is None else weights.read_seeker_card(source)


def _refuse_idle(recipe: Recipe) -> None:
    for section, names, given, plain in (
        ("loss", _LOSS, recipe.loss, Loss()),
        ("val", _VAL, recipe.val, Val()),
        ("tile", _TILE, recipe.tile, type(recipe.tile)()),
    ):
        for name in names:
            if getattr(given, name) != getattr(plain, name):
                raise FineSpotError("has no effect on a seeker, which finds no boxes", where=f"{section}.{name}")
    if recipe.repeat_rare:
        raise FineSpotError("has no effect on a seeker, which knows no classes", where="repeat_rare")
