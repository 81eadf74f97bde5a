"""What the data decide before the network is built: the number of queries, the cap on detections.

The choice is said at the start with its reason; a number that a person gave stays, with a warning where it is too low.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from finespot.data.crowds import MOST, Crowds

Note = Callable[[str], None]
# The usual numbers of queries and detections, from which crowded data lead upwards.
QUERIES = MAX_DET = 300
_STEP = 50


def plan_queries(crowds: Crowds, options: Mapping[str, Any], note: Note) -> int:
    """Queries of a network whose detections are chosen among them: at least as many as an input holds objects."""
    most, what = crowds.in_input(), _what(crowds)
    if "queries" in options:
        given = int(options["queries"])
        if given < most:
            note(f"warning: {given} queries cannot find all: {MOST} % of the {what} hold {most} objects or fewer")
        return given
    planned = _up(most, QUERIES)
    note(f"queries: {planned} ({MOST} % of the {what} hold {most} objects or fewer)")
    return planned


def plan_max_det(crowds: Crowds, given: int | None, note: Note) -> int:
    """The most detections in a picture that the weight file will say; `given` is the recipe's `val.max_det`."""
    most = crowds.in_picture()
    planned = _up(most, MAX_DET)
    if planned > MAX_DET:
        note(f"max_det: {planned} ({MOST} % of the pictures hold {most} objects or fewer)")
    if given is not None and given < most:
        note(f"warning: val.max_det {given} is too low: {MOST} % of the pictures hold {most} objects or fewer")
    return planned


def _what(crowds: Crowds) -> str:
    return "pictures" if crowds.per_input is crowds.per_picture else "tiles"


def _up(count: int, least: int) -> int:
    return max(least, -(-count // _STEP) * _STEP)
