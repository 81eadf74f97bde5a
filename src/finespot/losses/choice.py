"""A box loss by what a person types."""

from __future__ import annotations

import inspect
from typing import cast

from finespot.losses.overlap import BoxLoss
from finespot.registry import lookup, make, parse_call


def box_loss(text: str) -> BoxLoss:
    """The box loss of a text: a registered name or a dotted path, with options in brackets.

    A dotted path may name the loss itself (a function of boxes) or what makes one.
    """
    name, _ = parse_call(text)
    found = lookup("box_loss", name)
    if ":" in name and not inspect.isclass(found):
        try:
            inspect.signature(found).bind(None, None, stride=None, image_size=None)
        except TypeError:
            pass
        else:
            return cast(BoxLoss, found)
    return cast(BoxLoss, make("box_loss", text))
