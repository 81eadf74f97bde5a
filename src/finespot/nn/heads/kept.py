"""Tensors that follow from the size of the input alone, kept for the next input of that size."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
_MOST = 16


class Kept(dict[Hashable, T]):
    """What was made, by key; of more than 16 the oldest goes."""

    def get_or_make(self, key: Hashable, like: Tensor, make: Callable[[], T]) -> T:
        """What `make` gives, or gave for this key; nothing is kept where `like` belongs to a trace."""
        if type(like) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return make()  # tensors of a trace must not outlive it
        if key not in self:
            if len(self) >= _MOST:
                self.pop(next(iter(self)))
            with torch.inference_mode(False):  # autograd may not save tensors made in inference mode
                self[key] = make()
        return self[key]
