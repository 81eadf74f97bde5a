"""What all heads share: the levels that they take, their classes, and the choice of their loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from finespot.assigners import Assigner
from finespot.errors import FineSpotError
from finespot.losses import BoxLoss
from finespot.nn.heads.criterion import Criterion, L1Epochs
from finespot.structures import Level


class Head(nn.Module):
    """A head on `levels` for a number of classes; a subclass calls `set_loss()` in its construction.

    `suppress` says whether doubles among its boxes are to be suppressed.

    Raises
    ------
    FineSpotError
        There is no class or no level, or two levels share a name.
    """

    suppress = True
    # How often each of `class_rows` holds all classes, one time behind the other: anchors a cell, where one layer has
    # the classes of all of them.
    class_repeats: int = 1

    def __init__(self, levels: Sequence[Level], classes: int) -> None:
        super().__init__()
        if classes < 1 or not levels:
            raise FineSpotError(
                f"expected a class and a level or more but got {classes} and {len(levels)}", where="head"
            )
        self.inputs = tuple(levels)
        self.classes = classes
        self.level_names = tuple(level.name for level in levels)
        if len(set(self.level_names)) < len(levels):
            strides = ", ".join(str(level.stride) for level in levels)
            raise FineSpotError(
                f"expected each stride at least twice the one before it but got {strides}", where="head"
            )

    def set_loss(
        self,
        assigner: str | Assigner | None = None,
        box_loss: str | BoxLoss | None = None,
        gains: Mapping[str, float] | None = None,
        l1_epochs: L1Epochs | None = None,
    ) -> None:
        """Choose assigner, box loss, gains and L1 epochs; what is None stays the head's own. See `Criterion`."""
        self.criterion = self.criterion_of(assigner=assigner, box_loss=box_loss, gains=gains, l1_epochs=l1_epochs)

    def criterion_of(self, **choice: Any) -> Criterion:
        """The loss for a choice of assigner, box_loss, gains and l1_epochs."""
        raise NotImplementedError

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes (times `class_repeats`)."""
        raise NotImplementedError
