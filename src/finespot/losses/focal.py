"""Class losses that turn away from what is easy: focal, quality focal, varifocal.

After "Focal Loss for Dense Object Detection" (2017), "Generalized Focal Loss" (2020) and "VarifocalNet" (2021).
Elementwise on logits of any shape, in float32 or better; targets are 0..1, and reductions are the head's. With soft
targets the focal loss still costs something at p = y: those are for the other two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this a base of a power is taken as this, so that powers below 1 have a gradient.
_TINY = 1e-30


def focal(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Cross entropy times alpha (1 - alpha for negatives) times the probability of the wrong answer to the gamma."""
    x, y = _full(logits, targets)
    wrong = y * torch.sigmoid(-x) + (1 - y) * torch.sigmoid(x)
    balance = y * alpha + (1 - y) * (1 - alpha)
    return balance * wrong.clamp(min=_TINY) ** gamma * _cross_entropy(x, y)


def quality_focal(logits: Tensor, quality: Tensor, beta: float = 2.0) -> Tensor:
    """Cross entropy times |quality - p|^beta; `quality` is the IoU of positives and 0 elsewhere."""
    x, y = _full(logits, quality)
    return (y - torch.sigmoid(x)).abs().clamp(min=_TINY) ** beta * _cross_entropy(x, y)


def varifocal(
    logits: Tensor, quality: Tensor, positive: Tensor | None = None, alpha: float = 0.75, gamma: float = 2.0
) -> Tensor:
    """Cross entropy times the quality where `positive` (None: where it is above 0), and times alpha p^gamma elsewhere.

    No gradient through the weights. A positive of quality 0 costs nothing; without `positive` it counts as a negative.
    """
    x, y = _full(logits, quality)
    weight = torch.where(y > 0 if positive is None else positive, y, alpha * torch.sigmoid(x.detach()) ** gamma)
    return weight * _cross_entropy(x, y)


def _full(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    x = logits if logits.dtype == torch.float64 else logits.float()
    return x, targets.to(x.dtype)


def _cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(x, y, reduction="none")
