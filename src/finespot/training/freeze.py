"""Frozen parts of a model: no gradients, and BatchNorm statistics that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from finespot.errors import unknown


@dataclass(frozen=True)
class Frozen:
    """What `freeze` froze: the modules, and those of their parameters that had gradients before."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]

    def thaw(self) -> None:
        """Give the gradients back."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def freeze(model: nn.Module, prefixes: Sequence[str]) -> Frozen:
    """Take the gradients off the modules of these dotted names.

    Raises
    ------
    FineSpotError
        The model has no module of such a name.
    """
    modules = dict(model.named_modules())
    names = [name for name in modules if name]
    for prefix in prefixes:
        if prefix not in names:
            raise unknown("part of the model to freeze", prefix, names, where="freeze")
    frozen = [modules[prefix] for prefix in prefixes]
    parameters = {id(p): p for module in frozen for p in module.parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    return Frozen(frozen, list(parameters.values()))


def set_training(model: nn.Module, *frozen: Frozen) -> None:
    """Put the model into training mode, its frozen parts into eval mode."""
    model.train()
    for one in frozen:
        for module in one.modules:
            module.eval()
