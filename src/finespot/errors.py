"""The one error for what a person can mend, and the words it is made of.

A `FineSpotError` is a single line: where, what was expected and what was found, what to try. The command line
prints it without a traceback and exits with code 2. Bugs raise whatever Python raises.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType

# Characters of what is wrong, and of a hint, that a person still reads.
LONGEST = 600


class FineSpotError(Exception):
    """Something a person can mend, said in one line.

    Parameters
    ----------
    what:
        What is wrong, in the form "expected X but got Y". Of a very long text, such as a name of a damaged file, the
        middle is left out.
    where:
        The file, line, record or key it concerns; put in front.
    hint:
        What to do about it; put behind a semicolon.
    """

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        self.what, self.where = _shortened(" ".join(what.split())), where
        self.hint = _shortened(hint) if hint else hint
        line = f"{where}: {self.what}" if where is not None else self.what
        super().__init__(f"{line}; {self.hint}" if self.hint else line)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The `count` choices closest in spelling to `name`, best first (at least one, where there are any)."""
    names = sorted(set(choices))
    found = difflib.get_close_matches(name, names, n=count, cutoff=0.4)
    return found or names[:count]


def some(names: Sequence[str], most: int = 8) -> str:
    """Names in a row, those beyond `most` as a count."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unknown(kind: str, name: str, choices: Iterable[str], *, where: object = None) -> FineSpotError:
    """The error for a name that is not among `choices`, with the three nearest that are."""
    close = nearest(name, choices)
    hint = f"did you mean {', '.join(close)}?" if close else None
    return FineSpotError(f"unknown {kind} '{name}'", where=where, hint=hint)


def import_extra(module: str, extra: str) -> ModuleType:
    """Import a module that only the extra `extra` brings, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise FineSpotError(
            f"this needs the package '{module}' ({error})", hint=f"pip install 'finespot[{extra}]'"
        ) from error
