"""What the loop knows of what it trains: a task, not a family of networks."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from finespot.structures import Batch, LossTerms


class Task(Protocol):
    """A model with what is needed to improve it.

    Attributes
    ----------
    model:
        What is averaged, validated and saved.
    trainable:
        What the optimizer gets: the model, or a module that holds it and more (alignment layers of a distillation).
        The loop replaces it with the wrapper that brings precision and gradient exchange, so `step` must call it,
        not `model`.
    """

    model: nn.Module
    trainable: nn.Module

    def step(self, batch: Batch) -> LossTerms:
        """The losses of a batch whose tensors are on the device: mean over its pictures, already weighted."""
        ...

    def before_step(self) -> None:
        """Called when the gradients of an optimizer step are complete and clipped; may edit them."""
        ...

    def epoch_start(self, epoch: int, closing: bool) -> None:
        """Called before the first step of an epoch (counted from 0); `closing` where pictures are no longer joined."""
        ...

    def epoch_end(self, epoch: int) -> None:
        """Called after the last step of an epoch (counted from 0), before its validation."""
        ...
