"""What the losses of all heads share: the chosen assigner and box loss, gains by name, figures for the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from finespot.assigners import Assigner, Assignment
from finespot.errors import FineSpotError, unknown
from finespot.losses import BoxLoss, box_loss
from finespot.losses.pairs import cost_of_pairs
from finespot.registry import make
from finespot.structures import Size, Targets

# Sides (square root of the area, input pixels) that part the size bins of the counts.
SIZE_EDGES = (8.0, 16.0, 32.0)
SIZE_NAMES = ("to_8px", "to_16px", "to_32px", "above_32px")
# In which epochs the term l1 counts.
L1Epochs = Literal["all", "closing"]


class Criterion(nn.Module):
    """The loss of a head. A family's own fills in the constants; None means there is no such choice.

    Terms are divided by figures of the pictures on this process (points, weights); of several processes the gradients
    are averaged then. `SetLoss` alone counts objects over all processes, as its original does.

    Parameters
    ----------
    assigner, box_loss:
        Text for `registry.make`, such as `atss(topk=9)`, or ready objects; None takes the family's. A box loss that is
        a module has its buffers saved with the head.
    gains:
        Factors of the terms; those not named keep the family's. A gain `l1` of 0 leaves that term out.
    l1_epochs:
        "all", or "closing" for the last epochs only, in which it is 0 before; None takes the family's.

    Attributes
    ----------
    closing:
        Set by training in the last epochs, those without joined pictures (mosaic, mixup).

    Raises
    ------
    FineSpotError
        A gain, assigner or box loss is unknown, the family has no such choice, or the assigner is for other heads; or
        `l1_epochs` is given to a loss that has no such term, or leaves it out.
    """

    GAINS: ClassVar[Mapping[str, float]] = {}
    ASSIGNER: ClassVar[str | None] = None
    BOX_LOSS: ClassVar[str | None] = None
    L1_EPOCHS: ClassVar[L1Epochs] = "all"
    # Whether the assigner matches sets (see `Hungarian`) or answers for the points of a dense head.
    MATCHES_SETS: ClassVar[bool] = False

    def __init__(
        self,
        assigner: str | Assigner | None = None,
        box_loss: str | BoxLoss | None = None,
        gains: Mapping[str, float] | None = None,
        l1_epochs: L1Epochs | None = None,
    ) -> None:
        super().__init__()
        for name in gains or {}:
            if name not in self.GAINS:
                raise unknown("loss gain", name, self.GAINS)
        self.gains = {**self.GAINS, **(gains or {})}
        self.closing = False
        self.l1_epochs = self._l1_epochs(l1_epochs)
        self.assigner = self._assigner(assigner)
        self.box_loss = self._box_loss(box_loss)

    @property
    def l1_acts(self) -> bool:
        """Whether the term l1 counts in this epoch."""
        return self.closing or self.l1_epochs == "all"

    def box_costs(self, boxes: Tensor, aim: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor) -> Tensor:
        """The box loss (P,) of boxes (P, 4) and their targets, at levels of stride (P,) in pictures (P,).

        All pairs of the batch come in one call: a loss may compare them, over levels and pictures.
        """
        assert self.box_loss is not None
        return cost_of_pairs(self.box_loss, boxes, aim, stride=stride, image_size=image_size, picture=picture)

    def _l1_epochs(self, chosen: L1Epochs | None) -> L1Epochs:
        if chosen is None:
            return self.L1_EPOCHS
        if chosen not in get_args(L1Epochs):
            raise unknown("epochs of the L1 term", chosen, get_args(L1Epochs))
        if not self.gains.get("l1"):
            hint = "give it a gain too, loss.l1 (docs/losses.md)" if "l1" in self.gains else "leave it out"
            raise FineSpotError("this loss has no L1 term that could be told its epochs", where="l1_epochs", hint=hint)
        return chosen

    def _assigner(self, chosen: str | Assigner | None) -> Assigner | None:
        if chosen is not None and self.ASSIGNER is None:
            raise FineSpotError("this head has an assignment of its own that cannot be exchanged", where="assigner")
        named = self.ASSIGNER if chosen is None else chosen
        made: Assigner | None = make("assigner", named) if isinstance(named, str) else named
        if made is not None and bool(getattr(made, "matches_sets", False)) != self.MATCHES_SETS:
            own, other = ("a set", "points") if self.MATCHES_SETS else ("points", "a set")
            raise FineSpotError(
                f"this head predicts {own}, but '{named}' assigns {other}",
                where="assigner",
                hint=f"leave it out for the head's own, {self.ASSIGNER}",
            )
        return made

    def _box_loss(self, chosen: str | BoxLoss | None) -> BoxLoss | None:
        named = self.BOX_LOSS if chosen is None else chosen
        return box_loss(named) if isinstance(named, str) else named


def ignored_entries(shape: torch.Size, assignment: Assignment) -> Tensor | None:
    """Mask (R, classes) of entries that bear no class loss, or None where there are none."""
    rows, labels = assignment.ignored_rows, assignment.ignored_labels
    if len(rows) == 0:
        return None
    mask = torch.zeros(shape, dtype=torch.bool, device=rows.device)
    mask[rows[labels < 0]] = True
    mask[rows[labels >= 0], labels[labels >= 0]] = True
    return mask


def soft_targets(logits: Tensor, targets: Targets, assignment: Assignment) -> Tensor:
    """Class targets (R, classes) of logits: the weight of a positive point at its target's label, 0 elsewhere."""
    aim = torch.zeros_like(logits)
    aim[assignment.rows, targets.labels[assignment.targets]] = assignment.weights.to(aim.dtype)
    return aim


def heard(costs: Tensor, assignment: Assignment) -> Tensor:
    """Class costs (R, classes) with those of ignored entries set to 0."""
    ignored = ignored_entries(costs.shape, assignment)
    return costs if ignored is None else costs.masked_fill(ignored, 0.0)


def counts(targets: Targets, positives: Tensor) -> dict[str, Tensor]:
    """Figures for the log: targets, positives, starved (targets without a positive), these by size.

    `positives` (T,) is how many points of weight above 0 each target got.
    """
    real = ~targets.ignore
    starved = real & (positives == 0)
    side = (targets.boxes[:, 2:] - targets.boxes[:, :2]).prod(1).sqrt()
    size = torch.bucketize(side, torch.tensor(SIZE_EDGES, device=side.device))
    found = {"targets": real.sum(), "positives": positives.sum(), "starved": starved.sum()}
    bins = len(SIZE_NAMES)
    for name, which in (("targets", real), ("starved", starved)):
        by_size = torch.bincount(size[which], minlength=bins)
        found.update({f"{name}_{SIZE_NAMES[i]}": by_size[i] for i in range(bins)})
    return found
