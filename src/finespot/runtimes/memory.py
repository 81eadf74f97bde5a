"""Memory that does not suffice, said in one line: what was to be computed, and what would take less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from finespot.errors import FineSpotError

# What torch's allocators for the CPU say, which have no error type of their own.
_SIGNS = ("can't allocate memory", "not enough memory")


@contextmanager
def within_memory(what: str, hint: str) -> Iterator[None]:
    """Around the computation of `what`: where the memory of its device does not suffice, a `FineSpotError` says so."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not known and not any(sign in str(error) for sign in _SIGNS):
            raise
        raise FineSpotError(f"the memory does not suffice for {what}", hint=hint) from error
