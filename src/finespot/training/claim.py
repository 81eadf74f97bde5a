"""What a paper claims for a training, and how it is told beside the training's own result.

Small differences in how a score is made move it by more than most methods do, so figures are only put side by side
with all that decides them, and each difference is said. On other data nothing is put side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, field
from rich.console import Console, Group, RenderableType
from rich.text import Text

from finespot.training.settings import Whole
from finespot.writers.table import ResultTable

if TYPE_CHECKING:
    from finespot.training.recipe import Recipe

Percent = Annotated[float, Meta(ge=0, le=100)]
NotNegative = Annotated[float, Meta(ge=0)]


class Other(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the same source, data, split and protocol: what is printed for another model or another side of the input."""

    model: str
    imgsz: int | None = None
    scores: dict[str, Percent]
    costs: dict[str, NotNegative] = field(default_factory=dict)
    note: str = ""


class Claim(Whole, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is printed elsewhere, and under which conditions; what is empty or null is not said there.

    `scores` are in percent by the names of our protocols, `costs` are `parameters` and `gflops`. `protocol` is the name
    of ours only where the scores were made by the same rules, else words. `data` is a format's word with options, as
    `ai-tod,version=2`. Without scores and costs, `note` says why.

    Where a source has figures of several networks or sides, `others` holds those beside the first, and every `model` is
    a name of the zoo: only those of the network that is trained are told (see `of`).
    """

    scores: dict[str, Percent] = field(default_factory=dict)
    costs: dict[str, NotNegative] = field(default_factory=dict)
    protocol: str = ""
    data: str = ""
    split: str = ""
    model: str = ""
    imgsz: int | None = None
    epochs: int | None = None
    source: str
    note: str = ""
    hours: str = "not said"
    others: list[Other] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.scores and not self.protocol:
            raise ValueError("expected a protocol with the scores")
        if not self.source:
            raise ValueError("expected a source")
        if not self.values and not self.note:
            raise ValueError("expected a note where nothing is claimed")
        if self.others and not self.model:
            raise ValueError("expected a model where there are others")

    def of(self, model: str, imgsz: int) -> Claim:
        """What is claimed of a network, for this side of the input where that is printed.

        A network as published and our form of it are one here: that they differ is said where they stand side by side.
        Where there are figures of several networks or sides and none are of this network, the claim has no scores.
        """
        if not self.others:
            return self
        own = [self, *(self._with(one) for one in self.others)]
        fitting = [one for one in own if _unpublished(one.model) == _unpublished(model)]
        if not fitting:
            none = f"of {model} none are known, only of {', '.join(dict.fromkeys(one.model for one in own))}"
            return msgspec.structs.replace(self, scores={}, costs={}, model=model, imgsz=None, note=none, others=[])
        return next((one for one in fitting if one.imgsz == imgsz), fitting[0])

    def _with(self, other: Other) -> Claim:
        row = {name: getattr(other, name) for name in ("model", "imgsz", "scores", "costs")}
        return msgspec.structs.replace(self, **row, note=other.note or self.note, others=[])

    @property
    def values(self) -> dict[str, float]:
        """Scores and costs."""
        return {**self.scores, **self.costs}

    def covers(self, data: str) -> bool:
        """Whether a data set, named as for `--data`, is the one that the scores are of, as far as its name tells."""
        word, options = _word(data)
        own, needed = _word(self.data)
        return word == own and all(options.get(key, value) == value for key, value in needed.items())

    def brief(self) -> str:
        """The scores in one line."""
        if not self.scores:
            return f"claimed: no scores ({self.note}; {self.source})"
        scores = ", ".join(f"{name} {value:.1f}" for name, value in self.scores.items())
        return f"claimed: {scores} on {self.data or 'data not said'} {self.split} ({self.source})"


@dataclass(frozen=True)
class Scored:
    """What our scores were made of: data as named for `--data`, split, protocol, network, input side, epochs of the
    recipe, and which weights.
    """

    data: str
    split: str
    protocol: str
    model: str
    imgsz: int
    epochs: int
    weights: str

    @classmethod
    def of(cls, recipe: Recipe) -> Scored:
        """What a run scores at its end."""
        return cls(
            data=recipe.data,
            split=recipe.splits.val,
            protocol=recipe.val.protocol,
            model=recipe.model,
            imgsz=recipe.imgsz,
            epochs=recipe.epochs,
            weights="the best of the epochs scored on this split",
        )


def beside(claim: Claim, ours: Scored, scores: Mapping[str, float | None]) -> RenderableType:
    """A claim beside our scores (0 to 1, by name), with what is the same and what is not.

    One line where nothing is claimed, nothing was scored, or the data are others.
    """
    claim = claim.of(ours.model, ours.imgsz)
    if not claim.scores or not scores:
        return Text(claim.brief())
    if not claim.covers(ours.data):
        return Text(f"{claim.brief()}: not for these data ({ours.data.partition(':')[0]}), so not comparable")
    table = ResultTable(("percent",), ("ours", "claimed"))
    for name, value in claim.scores.items():
        own = scores.get(name)
        table.row(name, "-" if own is None else f"{100 * own:.1f}", f"{value:.1f}")
    return Group(table, *map(Text, _conditions(claim, ours)))


def tell_claim(recipe: Recipe, scores: Mapping[str, float | None], console: Console) -> None:
    """Print what is claimed for a run, where anything is, beside the scores at its end."""
    if recipe.claimed is not None:
        console.print(beside(recipe.claimed, Scored.of(recipe), scores))


def _conditions(claim: Claim, ours: Scored) -> list[str]:
    pairs = {
        "data": (ours.data.partition(":")[0], claim.data),
        "split": (ours.split, claim.split),
        "protocol": (ours.protocol, claim.protocol),
        "model": (ours.model, claim.model),
        "imgsz": (ours.imgsz, claim.imgsz),
        "epochs": (ours.epochs, claim.epochs),
    }
    unsaid = [name for name, (_, theirs) in pairs.items() if theirs in ("", None)]
    other = [name for name, (own, theirs) in pairs.items() if name not in unsaid and own != theirs]
    lines = [
        "ours: " + "; ".join([*(f"{name} {own}" for name, (own, _) in pairs.items()), ours.weights]),
        "claimed: "
        + "; ".join([*(f"{name} {theirs}" for name, (_, theirs) in pairs.items() if name not in unsaid), claim.source]),
    ]
    if claim.costs:
        lines.append("claimed with it: " + ", ".join(f"{name} {value:,.10g}" for name, value in claim.costs.items()))
    if claim.note:
        lines.append(f"note: {claim.note}")
    lines.append(f"hours of the claimed training: {claim.hours}")
    if other:
        lines.append(f"not the same in {', '.join(other)}: the difference of the scores is not one of methods alone")
    if unsaid:
        lines.append(f"not said of the claim: {', '.join(unsaid)}")
    return lines


def _unpublished(model: str) -> str:
    return model.removesuffix("-published")


def _word(data: str) -> tuple[str, dict[str, str]]:
    """The format and the options in the name of a data set."""
    word, *options = data.partition(":")[0].split(",")
    return word, {key: value for key, _, value in (one.partition("=") for one in options)}
