"""How a box loss is called, by heads and by losses around another: with what it has parameters for."""

from __future__ import annotations

import inspect

from torch import Tensor

from finespot.losses.overlap import BoxLoss
from finespot.structures import Size


def cost_of_pairs(
    loss: BoxLoss, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor | None
) -> Tensor:
    """The loss (P,) of pairs; `picture` (P,) is which picture of the batch each is from, None where nobody knows.

    Only a loss that has a parameter `picture` is told, so that others need not care.
    """
    # A module's own call says nothing of its parameters.
    known = inspect.signature(getattr(loss, "forward", loss)).parameters
    told = {"picture": picture} if "picture" in known else {}
    return loss(pred, target, stride=stride, image_size=image_size, **told)
