"""One verb's function as a command: typer for the options, `key=value` words for people's habits from other tools."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import typer
from typer.main import get_command

from finespot.cli import sahi
from finespot.errors import FineSpotError, unknown

# What a shell says of a command that was stopped by hand.
INTERRUPTED = 130

# The words behind the verb that runs, as options: to say them again with more of them.
typed: ContextVar[Sequence[str]] = ContextVar("typed", default=())

_KEY_VALUE = re.compile(r"^([A-Za-z_][\w.-]*)=(.*)$", re.DOTALL)
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def run(verb: str, function: Callable[..., Any], words: Sequence[str], example: str) -> int:
    """Parse `words` for `function`, call it and return the exit code.

    Usage errors print typer's message and give code 2; the function's own int result is the code, None means 0.
    An interrupt goes up as one: the parser would turn it into a code without a word.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    # Alone, a verb that needs something shows its help; one that needs nothing (`models`) runs.
    needs = any(one.default is one.empty for one in inspect.signature(function).parameters.values())
    app.command(name=verb, epilog=f"Example: {example}", no_args_is_help=needs)(function)
    command = get_command(app)
    try:
        typed.set(expand(words, command.params, verb))
        result = command.main(args=list(typed.get()), prog_name=f"finespot {verb}", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Usage errors of the parser know how to print themselves; everything else goes up.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", 2))
    if result == INTERRUPTED:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def expand(words: Sequence[str], params: Sequence[Any], verb: str) -> list[str]:
    """Turn bare `key=value` words into options: `--key value`, or `--set key=value` where the verb takes it.

    The value of a preceding option and everything that is not of this form stay as they are.

    Raises
    ------
    FineSpotError
        The verb has no such option and takes no `--set`, or a flag is given another value than true or false.
    """
    options = {name: param for param in params for name in getattr(param, "opts", ()) if name.startswith("--")}
    out: list[str] = []
    for word in sahi.translate(words, options) if "--merge" in options else words:
        before = options.get(out[-1]) if out else None
        match = _KEY_VALUE.match(word)
        if match is None or (before is not None and not before.is_flag):
            out.append(word)
            continue
        key, value = match.groups()
        option = "--" + key.replace("_", "-")
        if option in options and options[option].is_flag:
            if value.lower() not in _TRUE + _FALSE:
                raise FineSpotError(f"expected true or false but got '{value}'", where=key)
            # `images=false` is the flag's other name, --no-images; a flag without one is off when it is left out.
            out += [option] if value.lower() in _TRUE else list(options[option].secondary_opts[:1])
        elif option in options:
            out += [option, value]
        elif "--set" in options:
            out += ["--set", word]
        else:
            raise unknown(f"option of '{verb}'", key, [name[2:] for name in options if name != "--help"])
    return out
