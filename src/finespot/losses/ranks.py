"""Statistics over all ranks of a distributed run."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def all_reduced(values: Tensor, operation: Literal["sum", "mean", "max"]) -> Tensor:
    """`values` combined over all ranks, each of which must call this; as they are outside a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        kind = torch.distributed.ReduceOp.MAX if operation == "max" else torch.distributed.ReduceOp.SUM
        torch.distributed.all_reduce(values, kind)
        if operation == "mean":
            values /= torch.distributed.get_world_size()
    return values
