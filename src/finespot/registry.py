"""Names to builders: how a recipe or a command line says which backbone, loss or data format it means.

A package registers its parts with a decorator; the package is imported when one of its names is first looked up,
so that listing or building one part does not load the others. A dotted path (`my.module:Neck`) reaches a class of
the user's own without an edit here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from finespot.errors import FineSpotError, unknown

T = TypeVar("T", bound=Callable[..., Any])

# kind -> package that registers it on import. What has no tenant yet is not listed.
_PACKAGES = {
    "backbone": "finespot.nn.backbones",
    "relay": "finespot.nn.relays",
    "neck": "finespot.nn.necks",
    "head": "finespot.nn.heads",
    "family": "finespot.zoo",
    "box_loss": "finespot.losses",
    "assigner": "finespot.assigners",
    "nms": "finespot.boxes",
    "format": "finespot.data.formats",
    "protocol": "finespot.metrics",
    "runtime": "finespot.runtimes",
    "task": "finespot.training.tasks",
}
_CALL = re.compile(r"(?P<name>[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?)\s*(?:\((?P<options>.*)\))?", re.DOTALL)
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a word", type(None): "null"}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_builders: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in _PACKAGES}


def register(kind: str, name: str) -> Callable[[T], T]:
    """Decorator: make a class or function known as `name` among the builders of `kind`."""
    table = _table(kind)

    def keep(builder: T) -> T:
        if table.get(name, builder) is not builder:
            raise ValueError(f"{kind} '{name}' is registered twice")
        table[name] = builder
        return builder

    return keep


def lookup(kind: str, name: str) -> Callable[..., Any]:
    """The builder of `name`; `package.module:attribute` reaches code outside FineSpot.

    Raises
    ------
    FineSpotError
        The name is unknown (the three nearest are offered) or the dotted path cannot be imported.
    """
    if ":" in name:
        return _import_path(kind, name)
    table = _loaded(kind)
    if name not in table:
        raise unknown(kind.replace("_", " "), name, table)
    return table[name]


def build(kind: str, name: str, **options: Any) -> Any:
    """Look `name` up and call it with `options`.

    Raises
    ------
    FineSpotError
        As `lookup`; or what a dotted path names does not take these options.
    """
    builder = lookup(kind, name)
    if ":" in name:
        try:
            inspect.signature(builder).bind(**options)
        except TypeError as error:
            raise FineSpotError(
                f"the {kind.replace('_', ' ')} '{name}' is called with ({', '.join(options)}) but {error}",
                hint="name a class or a function that makes the part",
            ) from error
    return builder(**options)


def make(kind: str, text: str, **offered: Any) -> Any:
    """Build what `text` says, `name` or `name(key=value)`, with those of `offered` that the builder takes.

    Parameters
    ----------
    offered:
        What the place knows (levels, widths ...): a part takes what it has a parameter for. Options in the text come
        on top, and must be parameters.

    Raises
    ------
    FineSpotError
        As `lookup` and `parse_call`; or the builder lacks a parameter that is written, wants one that is not known, or
        wants a value of another type.
    """
    name, options = parse_call(text)
    builder = lookup(kind, name)
    known = inspect.signature(builder).parameters
    what = kind.replace("_", " ")
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
        for key in options:
            if key not in known:
                raise unknown(f"option of the {what} '{name}'", key, known)
        offered = {key: value for key, value in offered.items() if key in known}
    check_values(f"{what} '{name}'", builder, options)
    lacking = [
        key
        for key, one in known.items()
        if one.default is inspect.Parameter.empty and one.kind not in _VARIADIC and key not in {**offered, **options}
    ]
    if lacking:
        raise FineSpotError(
            f"the {what} '{name}' wants '{lacking[0]}', which nothing here gives",
            hint=f"write it: {name}({lacking[0]}=...)" if ":" not in name else "give that parameter a default",
        )
    return builder(**{**offered, **options})


def takes(kind: str, text: str, option: str) -> bool:
    """Whether the part that `text` says has a parameter `option`, which the text leaves open.

    Raises
    ------
    FineSpotError
        As `lookup` and `parse_call`.
    """
    name, options = parse_call(text)
    known = inspect.signature(lookup(kind, name)).parameters
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    return (option in known or anything) and option not in options


def check_values(where: str, builder: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise FineSpotError for a value of another type than the builder's parameter; only plain types are looked at."""
    try:
        known = inspect.signature(builder, eval_str=True).parameters
    except NameError:  # of an annotation that exists for type checkers only
        return
    for option, value in options.items():
        kind = known[option].annotation if option in known else inspect.Parameter.empty
        kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
        plain = all(one in _KINDS or get_origin(one) is Literal for one in kinds)
        if plain and not any(_is_of(value, one) for one in kinds):
            wanted = " or ".join(map(_in_words, kinds))
            raise FineSpotError(f"expected {option} to be {wanted} but got '{value}'", where=where)


def _is_of(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _in_words(kind: Any) -> str:
    if get_origin(kind) is not Literal:
        return _KINDS[kind]
    words = get_args(kind)
    return f"one of {', '.join(words)}" if len(words) > 1 else str(words[0])


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """`name` or `name(key=value, key=value)`: the name and its options.

    Values are numbers, true, false, null or words; a word may be a call itself, and is kept as text.

    Raises
    ------
    FineSpotError
        The text is something else.
    """
    found = _CALL.fullmatch(text.strip())
    if not found:
        raise _malformed(text)
    options: dict[str, Any] = {}
    for part in _split(found["options"], text) if found["options"] else []:
        key, equals, value = (one.strip() for one in part.partition("="))
        if not equals or not key.isidentifier() or not value or key in options:
            raise _malformed(text)
        options[key] = _value(value)
    return found["name"], options


def _split(text: str, whole: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            raise _malformed(whole)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise _malformed(whole)
    return parts


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    return text


def _malformed(text: str) -> FineSpotError:
    return FineSpotError(f"expected 'name' or 'name(key=value, ...)' but got '{text}'")


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    return sorted(_loaded(kind))


def _table(kind: str) -> dict[str, Callable[..., Any]]:
    if kind not in _builders:
        raise ValueError(f"unknown kind '{kind}', expected one of {sorted(_builders)}")
    return _builders[kind]


def _loaded(kind: str) -> dict[str, Callable[..., Any]]:
    table = _table(kind)
    importlib.import_module(_PACKAGES[kind])
    return table


def _import_path(kind: str, path: str) -> Callable[..., Any]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise FineSpotError(
            f"cannot import the {kind} '{path}' ({error})",
            hint="expected 'package.module:Name' on the Python path",
        ) from error
    if not callable(found):
        raise FineSpotError(f"expected a class or function at '{path}' but got {type(found).__name__}")
    return found  # type: ignore[no-any-return]
