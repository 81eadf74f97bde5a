"""The names that SAHI has for options of tiled prediction, read as ours: `--slice-height 640` is `--slice 640`.

Each stands for one of our options and changes no other one; defaults stay ours. Underscores and `key=value` are read
too. Beside the option that it stands for, a name is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finespot.errors import FineSpotError, unknown

_AGNOSTIC = "postprocess-class-agnostic"
# SAHI's name -> our option.
NAMES = {
    "slice-height": "--slice",
    "slice-width": "--slice",
    "overlap-height-ratio": "--slice-overlap",
    "overlap-width-ratio": "--slice-overlap",
    "postprocess-type": "--merge",
    _AGNOSTIC: "--merge",
    "postprocess-match-metric": "--merge-metric",
    "postprocess-match-threshold": "--iou",
}
# SAHI's operators; LSNMS gives the result of NMS.
OPERATORS = {"NMS": "greedy", "GREEDYNMM": "nmm", "NMM": "nmm(transitive=true)", "LSNMS": "greedy"}
METRICS = {"IOU": "iou", "IOS": "ios"}


def translate(words: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """The words of a command with our options in place of SAHI's; `options` are those of the verb, by name.

    Raises
    ------
    FineSpotError
        A value is missing or unknown, height and width differ, or an option is given under both names.
    """
    out: list[str] = []
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        before = options.get(out[-1]) if out else None
        name, equals, value = word.removeprefix("--").partition("=")
        key = name.replace("_", "-")
        is_value = before is not None and not before.is_flag
        if key not in NAMES or is_value or not (equals or word.startswith("--")):
            out.append(word)
            continue
        if not equals and key == _AGNOSTIC:
            flag = bool(rest) and rest[0].lower() in ("true", "false")
            value = rest.pop(0) if flag else "true"
        elif not equals:
            if not rest:
                raise FineSpotError("expected a value but got none", where=key)
            value = rest.pop(0)
        if key in given:
            raise FineSpotError("is given twice", where=key)
        given[key] = value
    return out + _ours(given, out)


def _ours(given: Mapping[str, str], words: Sequence[str]) -> list[str]:
    written = {_option(word) for word in words}
    for key in given:
        if NAMES[key] in written:
            raise FineSpotError(
                f"means the same as {NAMES[key]}, which is given too", where=key, hint="give one of them"
            )
    found: list[str] = []
    for high, wide in (("slice-height", "slice-width"), ("overlap-height-ratio", "overlap-width-ratio")):
        values = {given[key] for key in (high, wide) if key in given}
        if len(values) > 1:
            raise FineSpotError(
                f"expected the same as {high}, as tiles are square, but got {given[high]} and {given[wide]}", where=wide
            )
        found += [word for value in values for word in (NAMES[high], value)]
    if "postprocess-type" in given or given.get(_AGNOSTIC, "false").lower() != "false":
        operator = _one_of(OPERATORS, given.get("postprocess-type", "GREEDYNMM"), "postprocess-type")
        found += [NAMES["postprocess-type"], _agnostic(operator) if _is_true(given.get(_AGNOSTIC)) else operator]
    if "postprocess-match-metric" in given:
        key = "postprocess-match-metric"
        found += [NAMES[key], _one_of(METRICS, given[key], key)]
    if "postprocess-match-threshold" in given:
        found += ["--iou", given["postprocess-match-threshold"]]
    return found


def _option(word: str) -> str:
    """Which of our options a word gives, if any: `--slice`, `--slice=640` and `slice=640` are one; so is `overlap`."""
    name = word.partition("=")[0]
    dashed = name if name.startswith("--") else f"--{name.replace('_', '-')}"
    return "--slice-overlap" if dashed == "--overlap" else dashed


def _is_true(text: str | None) -> bool:
    if text is not None and text.lower() not in ("true", "false"):
        raise FineSpotError(f"expected true or false but got '{text}'", where=_AGNOSTIC)
    return text is not None and text.lower() == "true"


def _agnostic(operator: str) -> str:
    return f"{operator[:-1]}, agnostic=true)" if operator.endswith(")") else f"{operator}(agnostic=true)"


def _one_of(table: Mapping[str, str], value: str, key: str) -> str:
    if value.upper() not in table:
        raise unknown(key.removeprefix("postprocess-").replace("-", " "), value, table, where=key)
    return table[value.upper()]
