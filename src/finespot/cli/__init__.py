"""The command line: `finespot VERB ...`, one thin module a verb.

This module decides which verb is meant and turns errors into one line and an exit code; it loads neither torch nor
numpy, and a verb's module only when that verb is called. Exit codes: 0 done, 1 a check or comparison failed, 2 bad
input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple


class Verb(NamedTuple):
    """What the overview says of one verb; its module is `finespot.cli.<name>`."""

    group: str
    summary: str
    example: str


VERBS = {
    "train": Verb("Learn", "train a detector on labelled pictures", "finespot train yolo11n --data pictures.yaml"),
    "val": Verb("Measure", "evaluate weights on a data set", "finespot val hit-uav-n --data hit-uav:DIR"),
    "score": Verb("Measure", "evaluate a file of detections", "finespot score --gt truth.json --dt found.json"),
    "predict": Verb("Run", "find objects in pictures or video", "finespot predict hit-uav-n pictures/"),
    "models": Verb("Look", "list architectures and bundled weights", "finespot models"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # Parts of a user's own (`my_parts:Neck`) are found beside where the command is typed, after everything installed.
    sys.path.append(os.getcwd())
    try:
        code = _dispatch(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        from finespot.errors import FineSpotError

        if debug or not isinstance(error, FineSpotError):
            raise
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


def overview() -> str:
    """The text of `finespot --help`."""
    lines = ["FineSpot finds small objects in large pictures.", "", "Usage: finespot VERB [OPTIONS]", ""]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines.append(f"{group}:")
        for name, verb in VERBS.items():
            if verb.group == group:
                lines += [f"  {name:<10}{verb.summary}", f"  {'':<10}  {verb.example}"]
        lines.append("")
    return "\n".join(
        [
            *lines,
            "finespot VERB --help lists a verb's options; key=value words mean the same as --key value.",
            "finespot --version prints the version; --debug shows a traceback where something fails.",
        ]
    )


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "version"):
        from finespot import __version__

        print(f"finespot {__version__}")
        return 0
    if words[0] not in VERBS:
        from finespot.errors import unknown

        raise unknown("verb", words[0], VERBS)
    module = import_module(f"finespot.cli.{words[0]}")
    from finespot.cli.words import run

    return run(words[0], module.command, words[1:], VERBS[words[0]].example)
