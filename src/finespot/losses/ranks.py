"""Statistics over all ranks of a distributed run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def all_reduced(values: Tensor, operation: Literal["sum", "max"]) -> Tensor:
    """`values` combined over all ranks, each of which must call this; as they are outside a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        operations = {"sum": torch.distributed.ReduceOp.SUM, "max": torch.distributed.ReduceOp.MAX}
        torch.distributed.all_reduce(values, operations[operation])
    return values
