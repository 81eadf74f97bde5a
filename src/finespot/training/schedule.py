"""Learning rate, momentum and accumulation as functions of the position in training.

Pure arithmetic on (epoch, iteration), so that a resumed run needs no state of its own: per epoch a linear or cosine
factor; per iteration of the first epochs of a stage (its warm-up, at most all its epochs but one) a linear rise
towards it. Piecewise over the stages of a curriculum; nothing else sets a learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from finespot.training.optimizer import BIAS
from finespot.training.recipe import Recipe, Sgd
from finespot.training.stages import Stage, Stages


@dataclass(frozen=True)
class Schedule:
    """What each iteration uses. `per_epoch` is the number of batches of one epoch, `nominal` the batches whose
    gradients one step sums after a warm-up (not rounded).
    """

    stages: Stages
    per_epoch: int
    nominal: float

    @classmethod
    def of(cls, recipe: Recipe, per_epoch: int) -> Schedule:
        """The schedule of a recipe, once the number of batches of an epoch is known."""
        return cls(Stages.of(recipe), per_epoch, recipe.nominal_batch / recipe.batch)

    def factor(self, epoch: int) -> float:
        """The share of its stage's starting learning rate that epoch `epoch` (from 0) uses after the warm-up."""
        stage = self.stages.at(epoch)
        done, final = (epoch - stage.decay_first) / stage.decay_epochs, stage.final
        if self.stages.shape == "cosine":
            return (1 - math.cos(math.pi * done)) / 2 * (final - 1) + 1
        return max(1 - done, 0) * (1 - final) + final

    def lr(self, iteration: int, kind: str = "weight") -> float:
        """The learning rate of a parameter group at an iteration (counted from 0 over the whole run)."""
        optimizer = self.stage(iteration).optimizer
        target = optimizer.lr * self.factor(iteration // self.per_epoch)
        return self._rise(iteration, optimizer.warmup_bias_lr if kind == BIAS else 0.0, target)

    def momentum(self, iteration: int) -> float | None:
        """The momentum at an iteration; None for an optimizer that has none."""
        optimizer = self.stage(iteration).optimizer
        if not isinstance(optimizer, Sgd):
            return None
        return self._rise(iteration, optimizer.warmup_momentum, optimizer.momentum)

    def accumulate(self, iteration: int) -> int:
        """How many batches' gradients one optimizer step sums: rises from 1 during a warm-up."""
        return max(round(self._rise(iteration, 1.0, self.nominal)), 1)

    def apply(self, optimizer: Optimizer, iteration: int) -> None:
        """Set learning rates and momentum of all groups for an iteration."""
        momentum = self.momentum(iteration)
        for group in optimizer.param_groups:
            group["lr"] = self.lr(iteration, group["kind"])
            if momentum is not None:
                group["momentum"] = momentum

    def stage(self, iteration: int) -> Stage:
        """The stage of an iteration."""
        return self.stages.at(iteration // self.per_epoch)

    def warmup(self, stage: Stage) -> int:
        """Iterations of a stage's warm-up."""
        return round(stage.warmup * self.per_epoch)

    def _rise(self, iteration: int, start: float, target: float) -> float:
        stage = self.stage(iteration)
        done, length = iteration - stage.first * self.per_epoch, self.warmup(stage)
        return target if done >= length else start + (target - start) * done / length


def full_accumulation(recipe: Recipe) -> int:
    """Batches per optimizer step after the warm-up: max(round(nominal / batch), 1)."""
    return max(round(recipe.nominal_batch / recipe.batch), 1)
