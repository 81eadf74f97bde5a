"""The check of an option of a loss, where its type says too little."""

from __future__ import annotations

from finespot.errors import FineSpotError


def require(fits: bool, loss: str, option: str, expected: str, value: object) -> None:
    """Raise a FineSpotError unless `fits`: the option of the box loss was to be `expected`, for example "above 0"."""
    if not fits:
        raise FineSpotError(f"expected {option} {expected} but got {value}", where=f"box loss '{loss}'")
