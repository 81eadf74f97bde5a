"""Frozen parts of a model: no gradients, and BatchNorm statistics that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from finespot.errors import unknown


def freeze(model: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Take the gradients off the modules of these dotted names; returns the modules.

    Raises
    ------
    FineSpotError
        The model has no module of such a name.
    """
    modules = dict(model.named_modules())
    names = [name for name in modules if name]
    frozen = []
    for prefix in prefixes:
        if prefix not in names:
            raise unknown("part of the model to freeze", prefix, names, where="freeze")
        frozen.append(modules[prefix].requires_grad_(False))
    return frozen


def set_training(model: nn.Module, frozen: Sequence[nn.Module]) -> None:
    """Put the model into training mode, its frozen parts into eval mode."""
    model.train()
    for module in frozen:
        module.eval()
