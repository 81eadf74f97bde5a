"""The command line: `finespot VERB ...`, one thin module a verb.

This module decides which verb is meant and turns errors into one line and an exit code; it loads neither torch nor
numpy, and a verb's module only when that verb is called. Exit codes: 0 done, 1 a check or comparison failed or the
reader of a pipe left, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple


class Verb(NamedTuple):
    """What the overview says of one verb; its module is `finespot.cli.<name>`, a blank in the name a dot, where
    `module` names no other.
    """

    group: str
    summary: str
    example: str
    module: str = ""


VERBS = {
    "train": Verb(
        "Learn", "train a detector, or a seeker, on labelled pictures", "finespot train yolo11n --data pictures.yaml"
    ),
    "val": Verb("Measure", "evaluate weights on a data set", "finespot val hit-uav-n --data hit-uav:DIR"),
    "score": Verb("Measure", "evaluate a file of detections", "finespot score --gt truth.json --dt found.json"),
    "ablate": Verb(
        "Measure", "train variants at equal budgets and compare them", "finespot ablate p2 --data hit-uav:DIR --show"
    ),
    "predict": Verb("Run", "find objects in pictures or video", "finespot predict hit-uav-n pictures/"),
    "compare": Verb(
        "Run",
        "show what several weights find, side by side",
        "finespot compare a.safetensors hit-uav-n --source pictures/",
    ),
    "data convert": Verb(
        "Data sets",
        "write a data set in another layout",
        "finespot data convert visdrone:DIR yolo:OUT --paint-ignore gray",
    ),
    "data split": Verb(
        "Data sets", "divide pictures into splits", "finespot data split coco:DIR coco:OUT --ratios train=0.8,val=0.2"
    ),
    "data check": Verb("Data sets", "find what is wrong before training", "finespot data check pictures.yaml"),
    "data stats": Verb("Data sets", "sizes, classes, and advice", "finespot data stats pictures.yaml --imgsz 1024"),
    "data tile": Verb("Data sets", "cut pictures into tiles", "finespot data tile pictures.yaml yolo:OUT --size 640"),
    "data untile": Verb(
        "Data sets",
        "bring detections in tiles back to the pictures",
        "finespot data untile found.json OUT.json --data yolo:TILES --split val",
    ),
    "data results": Verb(
        "Data sets",
        "write detections as an official result file",
        "finespot data results found.json OUT --format visdrone --data visdrone:DIR --split val",
    ),
    "data shapes": Verb(
        "Data sets",
        "the shapes of labelled objects, for heat maps",
        "finespot data shapes pictures.yaml --out SHAPES --model facebook/sam-vit-base",
    ),
    "weights import": Verb(
        "Weights",
        "take over a checkpoint of another toolkit",
        "finespot weights import yolo11n.pt yolo11n.safetensors",
        "weights.take",
    ),
    "weights dump": Verb(
        "Weights", "write weights under the original's names", "finespot weights dump hit-uav-n state.pt"
    ),
    "weights calibrate": Verb(
        "Weights",
        "choose the threshold of a seeker or a network on windows",
        "finespot weights calibrate esod.safetensors OUT.safetensors --data visdrone:DIR",
    ),
    "info": Verb("Look", "parameters, operations, memory and time of a network", "finespot info yolo11n-p2"),
    "models": Verb("Look", "list architectures and bundled weights", "finespot models"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # Parts of a user's own (`my_parts:Neck`) are found beside where the command is typed, after everything installed.
    sys.path.append(os.getcwd())
    _spell_out()
    try:
        code = _dispatch(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # Python flushes once more when it ends; into nothing, so that it has nothing to complain of.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        from finespot.errors import FineSpotError

        if debug or not isinstance(error, FineSpotError):
            raise
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _spell_out() -> None:
    """Letters that the output cannot take (in ASCII: most) are written as escapes instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def module_of(verb: str) -> str:
    """The module with a verb's function."""
    return f"finespot.cli.{VERBS[verb].module or verb.replace(' ', '.')}"


def overview() -> str:
    """The text of `finespot --help`."""
    lines = ["FineSpot finds small objects in large pictures.", "", "Usage: finespot VERB [OPTIONS]", ""]
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines.append(f"{group}:")
        lines += [*_lines([name for name, verb in VERBS.items() if verb.group == group]), ""]
    return "\n".join(
        [
            *lines,
            "finespot VERB --help lists a verb's options; key=value words mean the same as --key value.",
            "finespot --version prints the version; --debug shows a traceback where something fails.",
        ]
    )


def _lines(names: Sequence[str]) -> list[str]:
    """The overview's two lines of each verb: what it does and an example."""
    return [
        line for name in names for line in (f"  {name:<19}{VERBS[name].summary}", f"  {'':<21}{VERBS[name].example}")
    ]


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "version"):
        from finespot import __version__

        print(f"finespot {__version__}")
        return 0
    group = [name for name in VERBS if name.startswith(f"{words[0]} ")]
    if group and (len(words) == 1 or words[1] in ("--help", "-h", "help")):
        print("\n".join(["", *_lines(group)]))
        return 0
    name, rest = (" ".join(words[:2]), words[2:]) if group else (words[0], words[1:])
    if name not in VERBS:
        from finespot.errors import unknown

        raise unknown("verb", name, VERBS)
    module = import_module(module_of(name))
    from finespot.cli.words import run

    return run(name, module.command, rest, VERBS[name].example)
