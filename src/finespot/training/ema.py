"""The moving average of a model's weights, which is what gets validated and saved.

After optimizer step t, with d = decay * (1 - exp(-t / tau)): average = d * average + (1 - d) * weights, for every
floating entry of the state dict, BatchNorm statistics included; integer entries are copied. All entries move in one
foreach call.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Ema(Generic[M]):
    """Keeps `model`, an averaged copy in eval mode without gradients; `steps` counts the updates."""

    def __init__(self, model: M, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau, self.steps = decay, tau, 0
        self._source: nn.Module | None = None
        self._floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._others: list[tuple[Tensor, Tensor]] = []

    def share(self, step: int) -> float:
        """The share of the old average that step `step` (from 1) keeps."""
        return self.decay * (1 - math.exp(-step / self.tau))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model` (the one it was copied from, after an optimizer step)."""
        if model is not self._source:
            self._pair(model)
        self.steps += 1
        averages, values = self._floats
        torch._foreach_lerp_(averages, values, 1 - self.share(self.steps))
        for average, value in self._others:
            average.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Averaged weights and the number of updates."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state of `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.steps = int(state["steps"])

    def _pair(self, model: nn.Module) -> None:
        # State-dict tensors share memory with the model, so the pairs stay valid for as long as the model lives.
        source, own = model.state_dict(), self.model.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        self._floats = ([own[name] for name in floats], [source[name] for name in floats])
        self._others = [(own[name], source[name]) for name in own if not own[name].is_floating_point()]
        self._source = model
