"""Binary cross entropy of class logits whose target is zero nearly everywhere.

The usual form needs a dense target as large as the logits. Here the few targets come as a list, and one function
gives value and gradient in one pass each over the logits: for 8 pictures of 8400 points and 80 classes that is what
the class loss costs.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def sparse_bce(logits: Tensor, rows: Tensor, labels: Tensor, values: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Sum over all (row, class) of the binary cross entropy of `logits` (R, C) in float32.

    The target is values[i] at (rows[i], labels[i]), each place named once, and 0 elsewhere. Entries where `ignored`
    (R, C) is set cost nothing and get no gradient.
    """
    flat = logits.float().contiguous()
    places = rows * flat.shape[1] + labels
    return cast(Tensor, _SparseBCE.apply(flat, places, values.float(), ignored))


class _SparseBCE(torch.autograd.Function):
    """Sum of softplus(x) - target * x; its gradient is sigmoid(x) - target."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, places: Tensor, values: Tensor, ignored: Tensor | None) -> Tensor:
        ctx.save_for_backward(logits, places, values, ignored)
        costs = F.softplus(logits)
        if ignored is not None:
            costs.masked_fill_(ignored, 0.0)
        return costs.sum() - (logits.view(-1)[places] * values).sum()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, places, values, ignored = ctx.saved_tensors
        out = torch.sigmoid(logits)
        out.view(-1)[places] -= values
        if ignored is not None:
            out.masked_fill_(ignored, 0.0)
        return out.mul_(gradient), None, None, None
