"""A recipe as text to read: every key with its value, and beside it the remark of the default recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from finespot.training import settings
from finespot.training.recipe import FOLDER, Recipe

# Where the default recipe has its remarks.
_COLUMN = 26
_LINE = re.compile(r"( *)(\w+):[^#]*(?:# (.*))?")


def annotated(recipe: Recipe) -> str:
    """YAML of all keys, with the remarks of the default recipe; it reads back as the same recipe."""
    return "".join(f"{line}\n" for line in _lines(recipe, "", _remarks()))


def _lines(part: msgspec.Struct, prefix: str, remarks: Mapping[str, str]) -> Iterator[str]:
    values: dict[str, Any] = msgspec.to_builtins(part)
    for key, value in values.items():
        section = getattr(part, key, None)
        if key == "curriculum" and isinstance(value, Mapping):
            yield f"{f'{key}:':<{_COLUMN - 1}} # {remarks[key]}"
            yield from _blocks(value)
            continue
        line = "  " * prefix.count(".") + f"{key}:"
        if not isinstance(section, msgspec.Struct):
            line += f" {settings.flow(value)}"
        remark = remarks.get(prefix + key)
        yield f"{line:<{_COLUMN - 1}} # {remark}" if remark else line
        if isinstance(section, msgspec.Struct):
            yield from _lines(section, f"{prefix}{key}.", remarks)


def _blocks(curriculum: Mapping[str, Any]) -> Iterator[str]:
    """A line for each key and each stage."""
    for key, value in curriculum.items():
        if isinstance(value, list):
            yield f"  {key}:"
            yield from (f"  - {settings.flow(one)}" for one in value)
        else:
            yield f"  {key}: {settings.flow(value)}"


def _remarks() -> dict[str, str]:
    """What the default recipe says beside each dotted key."""
    found: dict[str, str] = {}
    section = ""
    for line in (FOLDER / "default.yaml").read_text(encoding="utf-8").splitlines():
        if match := _LINE.fullmatch(line):
            indent, key, remark = match.groups()
            section = section if indent else key
            found[f"{section}.{key}" if indent else key] = remark or ""
    return found
