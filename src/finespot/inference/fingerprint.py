"""Marks of what decides a result, so that a run goes on only as what it was."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def digest(network: nn.Module) -> str:
    """A mark of the names and values of a network's state."""
    mark = hashlib.sha256()
    for name, value in network.state_dict().items():
        mark.update(name.encode())
        mark.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return mark.hexdigest()
