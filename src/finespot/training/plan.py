"""What the data decide before training: anchors, the number of queries, NWD's constant, the cap on detections.

The choice is said at the start with its reason; a number that a person gave stays, with a warning where it is too low.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finespot import zoo
from finespot.data import Dataset
from finespot.data.crowds import MOST, Crowds, crowds
from finespot.data.stats import check_anchors
from finespot.structures import Architecture
from finespot.training.recipe import Recipe
from finespot.weights import ObjectScale

Note = Callable[[str], None]
# The usual numbers of queries and detections, from which crowded data lead upwards.
QUERIES = MAX_DET = 300
_STEP = 50
# NWD in the text of a box loss, its constant left to the data; a loss of the user's own has a colon before the name.
_AUTO_NWD = re.compile(r"(?<![\w:.])nwd\(\s*constant\s*=\s*auto\s*\)")


@dataclass(frozen=True)
class Facts:
    """What a plan is made from: how crowded the training data are, (N, 2) width and height of their objects in pixels
    of the network input, and how many of these pixels the median object has for one of its picture.
    """

    crowds: Crowds
    sizes: NDArray[np.float64]
    factor: float = 1.0

    @classmethod
    def of(cls, dataset: Dataset, recipe: Recipe) -> Facts:
        """The facts of a data set, at the recipe's input size; ignore regions left out."""
        rows = dataset.rows
        sides = [max(dataset.size(i)) for i in range(len(dataset))] if recipe.tile.size is None else []
        pictures = np.repeat(np.arange(len(dataset)), np.diff(rows.starts))
        longest = np.array(sides, np.float64)[pictures] if sides else np.float64(recipe.tile.size or 1)
        factors = np.broadcast_to(recipe.imgsz / longest, len(rows.boxes))
        wh = (rows.boxes[:, 2:] - rows.boxes[:, :2]).astype(np.float64) * factors[:, None]
        middle = float(np.median(factors[~rows.ignore])) if not rows.ignore.all() else 1.0
        return cls(crowds(dataset, recipe.tile), wh[~rows.ignore], middle)

    def object_scale(self) -> ObjectScale | None:
        """How large the network sees objects; None without any that has a size."""
        side = float(np.median(np.sqrt(self.sizes.prod(1)))) if len(self.sizes) else 0.0
        return ObjectScale(side=side, factor=self.factor) if side > 0 else None


def plan(architecture: Architecture, recipe: Recipe, facts: Facts | None, note: Note) -> Architecture:
    """The architecture with what the training data decide, where it has such an option and the recipe none."""
    found: dict[str, Any] = {}
    if facts is None:
        return architecture
    if zoo.head_takes(architecture, "queries"):
        found["queries"] = plan_queries(facts.crowds, recipe.options, note)
    if zoo.head_takes(architecture, "anchors"):
        anchors = plan_anchors(facts.sizes, _anchors_of(architecture), "anchors" in recipe.options, note)
        if anchors is not None:
            found["anchors"] = anchors
    return replace(architecture, options={**architecture.options, **found})


def plan_anchors(
    sizes: NDArray[np.float64], anchors: Sequence[Sequence[tuple[float, float]]], given: bool, note: Note
) -> list[list[list[float]]] | None:
    """Better anchors (width and height by level) where those that the network has miss objects, else None."""
    checked = check_anchors(sizes, anchors)
    share = f"{100 * checked.recall:.1f} % of the objects can match one"
    if given or not checked.changed:
        warning = "warning: " if given and checked.changed else ""
        note(f"{warning}anchors: {'as given' if given else 'the usual ones'} ({share})")
        return None
    found = [[list(pair) for pair in level] for level in checked.anchors]
    shown = "; ".join(" ".join(f"{w:g}x{h:g}" for w, h in level) for level in checked.anchors)
    before = f"of the usual ones {100 * checked.recall:.1f} %"
    note(f"anchors: {shown} ({100 * checked.recall_after:.1f} % of the objects can match one, {before})")
    return found


def _anchors_of(architecture: Architecture) -> Sequence[Sequence[tuple[float, float]]]:
    """The anchors that a network of this architecture has."""
    with torch.device("meta"):
        sizes = getattr(zoo.build(architecture).head, "anchor_sizes", None)
    return sizes or ()


def plan_queries(crowds: Crowds, options: Mapping[str, Any], note: Note) -> int:
    """Queries of a network whose detections are chosen among them: at least as many as an input holds objects."""
    most, what = crowds.in_input(), _what(crowds)
    if "queries" in options:
        given = int(options["queries"])
        if given < most:
            note(f"warning: {given} queries cannot find all: {MOST} % of the {what} hold {most} objects or fewer")
        return given
    planned = _up(most, QUERIES)
    note(f"queries: {planned} ({MOST} % of the {what} hold {most} objects or fewer)")
    return planned


def plan_max_det(crowds: Crowds, given: int | None, note: Note) -> int:
    """The most detections in a picture that the weight file will say; `given` is the recipe's `val.max_det`."""
    most = crowds.in_picture()
    planned = _up(most, MAX_DET)
    if planned > MAX_DET:
        note(f"max_det: {planned} ({MOST} % of the pictures hold {most} objects or fewer)")
    if given is not None and given < most:
        note(f"warning: val.max_det {given} is too low: {MOST} % of the pictures hold {most} objects or fewer")
    return planned


def plan_box_loss(text: str, sizes: NDArray[np.float64], note: Note) -> str:
    """A box loss with the mean side (root of width x height) of the training data's objects as NWD's constant, where
    it says `nwd(constant=auto)`; `sizes` (N, 2) are those at the network.
    """
    if not _AUTO_NWD.search(text):
        return text
    side = float(np.sqrt(sizes.prod(1)).mean()) if len(sizes) else 0.0
    if not side > 0:
        note("nwd: the usual constant (there are no objects to take it from)")
        return _AUTO_NWD.sub("nwd", text)
    note(f"nwd: constant {side:.4g} (the mean side of the objects at the network, in pixels)")
    return _AUTO_NWD.sub(f"nwd(constant={side:.4g})", text)


def _what(crowds: Crowds) -> str:
    return "pictures" if crowds.per_input is crowds.per_picture else "tiles"


def _up(count: int, least: int) -> int:
    return max(least, -(-count // _STEP) * _STEP)
