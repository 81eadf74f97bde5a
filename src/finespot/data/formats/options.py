"""Options of formats, which come as text: `name,option=value:FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence

from finespot.errors import unknown


def choice(name: str, value: str, choices: Sequence[str]) -> str:
    """The value, which must be one of `choices`."""
    if value not in choices:
        raise unknown(f"value of the option {name}", value, choices)
    return value


def switch(name: str, value: str) -> bool:
    """`true` or `false`."""
    return choice(name, value, ("true", "false")) == "true"
