"""One line of advice."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """What to do about `topic`, and the numbers it follows from."""

    topic: str
    text: str
    reason: str
