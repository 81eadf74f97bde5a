"""Where a verb's output goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console that prints texts as they are: brackets and colons in a file's or class's name mean nothing."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
