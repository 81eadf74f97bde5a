"""Learning rate, momentum and accumulation as functions of the position in training.

Pure arithmetic on (epoch, iteration), so that a resumed run needs no state of its own: per epoch a linear or cosine
factor; per iteration of the first `warmup_epochs` (at most all epochs but one) a linear warm-up towards it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from finespot.training.optimizer import BIAS
from finespot.training.recipe import AdamW, Recipe, Sgd


@dataclass(frozen=True)
class Schedule:
    """What each iteration uses. `per_epoch` is the number of batches of one epoch, `batch` the pictures in each."""

    optimizer: Sgd | AdamW
    name: str
    final: float
    epochs: int
    per_epoch: int
    warmup: int
    nominal: float

    @classmethod
    def of(cls, recipe: Recipe, per_epoch: int) -> Schedule:
        """The schedule of a recipe, once the number of batches of an epoch is known."""
        warmup = round(min(recipe.schedule.warmup_epochs, recipe.epochs - 1) * per_epoch)
        return cls(
            recipe.optimizer,
            recipe.schedule.name,
            recipe.schedule.final,
            recipe.epochs,
            per_epoch,
            max(warmup, 0),
            recipe.nominal_batch / recipe.batch,
        )

    def factor(self, epoch: int) -> float:
        """The share of the starting learning rate that epoch `epoch` (from 0) uses after the warm-up."""
        if self.name == "cosine":
            return (1 - math.cos(math.pi * epoch / self.epochs)) / 2 * (self.final - 1) + 1
        return max(1 - epoch / self.epochs, 0) * (1 - self.final) + self.final

    def lr(self, iteration: int, kind: str = "weight") -> float:
        """The learning rate of a parameter group at an iteration (counted from 0 over the whole run)."""
        target = self.optimizer.lr * self.factor(iteration // self.per_epoch)
        start = self.optimizer.warmup_bias_lr if kind == BIAS else 0.0
        return self._rise(iteration, start, target)

    def momentum(self, iteration: int) -> float | None:
        """The momentum at an iteration; None for an optimizer that has none."""
        if not isinstance(self.optimizer, Sgd):
            return None
        return self._rise(iteration, self.optimizer.warmup_momentum, self.optimizer.momentum)

    def accumulate(self, iteration: int) -> int:
        """How many batches' gradients one optimizer step sums: rises from 1 during the warm-up."""
        return max(round(self._rise(iteration, 1.0, self.nominal)), 1)

    def apply(self, optimizer: Optimizer, iteration: int) -> None:
        """Set learning rates and momentum of all groups for an iteration."""
        momentum = self.momentum(iteration)
        for group in optimizer.param_groups:
            group["lr"] = self.lr(iteration, group["kind"])
            if momentum is not None:
                group["momentum"] = momentum

    def _rise(self, iteration: int, start: float, target: float) -> float:
        if iteration >= self.warmup:
            return target
        return start + (target - start) * iteration / self.warmup


def full_accumulation(recipe: Recipe) -> int:
    """Batches per optimizer step after the warm-up: max(round(nominal / batch), 1)."""
    return max(round(recipe.nominal_batch / recipe.batch), 1)
