"""Checks of the options that assigners are made with; each names the option and what it must be."""

from __future__ import annotations

from collections.abc import Iterable

from finespot.errors import FineSpotError, unknown


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise FineSpotError unless `value` is a whole number of `least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FineSpotError(f"expected a whole number of {least} or more but got {value}", where=name)


def check_number(name: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise FineSpotError unless `value` is a number from `low` to `high`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        span = f"of {low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
        raise FineSpotError(f"expected a number {span} but got {value}", where=name)


def check_above(name: str, value: object, low: float = 0.0) -> None:
    """Raise FineSpotError unless `value` is a finite number above `low`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low < value < float("inf"):
        raise FineSpotError(f"expected a number above {low:g} but got {value}", where=name)


def check_flag(name: str, value: object) -> None:
    """Raise FineSpotError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise FineSpotError(f"expected true or false but got {value}", where=name)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise FineSpotError unless `value` is one of the words."""
    known = list(choices)
    if value not in known:
        raise unknown(name, str(value), known)
