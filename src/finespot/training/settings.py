"""Typed settings from YAML and `key=value` words: every key is known and every value has the type of its field.

The classes are frozen `msgspec` structs; this module only walks them. It differs from `msgspec.yaml` in four ways: an
unknown key is refused with the nearest known one and the line it stands on; a wrong value is said with its key;
scalars follow YAML 1.2 (`1e-3` is a number and `off` a word, unlike in PyYAML); and a section that exists in several
kinds (`optimizer`, told apart by `name`) takes the defaults of the kind that is asked for.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from finespot.errors import FineSpotError, unknown

S = TypeVar("S", bound=msgspec.Struct)
Tree = dict[str, Any]


class Whole(msgspec.Struct, frozen=True):
    """A section that is given as one value: its keys are not set one by one, and no bare name means any of them."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the class attribute of PyYAML


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper; it quotes a text that YAML 1.2 or PyYAML's own 1.1 would read as something else."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Only double quotes escape line breaks such as U+0085, which other styles fold into a blank.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _quoted)


for _tag, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)", None),
    ("null", r"(?:~|null|Null|NULL|none|None|)", "~nN"),
):
    _firsts: list[str | None] = [*(_first or "-+.0123456789")] + ([""] if _tag == "null" else [])
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _firsts)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _firsts)


def _whole(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # PyYAML's own reads 010 as 8, and stumbles over 080.
    try:
        return int(node.value)
    except ValueError as error:  # of more digits than Python converts
        raise yaml.constructor.ConstructorError(None, None, f"no number ({error})", node.start_mark) from error


_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def read_yaml(path: Path) -> tuple[Tree, dict[str, int]]:
    """The mapping of a YAML file, and the line (1-based) of each dotted key.

    Raises
    ------
    FineSpotError
        The file cannot be read, is no YAML, or holds something else than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_Loader)
        tree = parse(text)
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror or error})", where=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FineSpotError(f"is no valid YAML ({error})", where=path) from error
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise FineSpotError("expected a mapping of keys to values", where=path)
    lines: dict[str, int] = {}
    for name, line in _lines(node, "", set()):
        if name in lines:
            raise FineSpotError(f"the key '{name}' stands twice (lines {lines[name]} and {line})", where=path)
        lines[name] = line
    return tree, lines


def parse(text: str) -> Any:
    """One YAML value."""
    return yaml.load(text, Loader=_Loader)  # derived from SafeLoader


def _lines(node: yaml.MappingNode, prefix: str, seen: set[yaml.Node]) -> Iterator[tuple[str, int]]:
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        yield name, key.start_mark.line + 1
        yield from _lines_of(value, name, seen)


def _lines_of(value: yaml.Node, name: str, seen: set[yaml.Node]) -> Iterator[tuple[str, int]]:
    """The lines of the keys in a value, which in a list are those of `name[2]`. What aliases (`*a`) repeat is walked
    where it stands only: they may hold themselves, or one the other many times over.
    """
    if value in seen:
        return
    seen.add(value)
    if isinstance(value, yaml.MappingNode):
        yield from _lines(value, f"{name}.", seen)
    elif isinstance(value, yaml.SequenceNode):
        for number, one in enumerate(value.value, 1):
            yield from _lines_of(one, f"{name}[{number}]", seen)


def keys(kind: type[msgspec.Struct], prefix: str = "") -> dict[str, Any]:
    """All dotted keys of a struct that hold a value (not a section), with their types."""
    found: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        sections = _sections(hint)
        if not sections:
            found[prefix + name] = hint
        for section in sections:
            tag = section.__struct_config__.tag_field
            if tag:
                found[f"{prefix}{name}.{tag}"] = str
            found.update(keys(section, f"{prefix}{name}."))
    return found


def full_key(kind: type[msgspec.Struct], key: str) -> str:
    """The dotted key that a person means: as it stands, or the only one that ends in this bare name.

    Raises
    ------
    FineSpotError
        No key has this name, or several sections have it.
    """
    known = keys(kind)
    if key in known or key in _hints(kind) or _in_mapping(kind, key):
        return key
    fitting = [name for name in known if name.rpartition(".")[2] == key]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FineSpotError(f"'{key}' is ambiguous", hint=f"write one of {', '.join(sorted(fitting))}")
    raise _unknown_key(key, known, None)


def read_word(kind: type[msgspec.Struct], word: str) -> tuple[str, Any]:
    """`key=value` as typed on a command line: the full key, and the value in the type of its field.

    Raises
    ------
    FineSpotError
        The word has no `=`, the key is unknown or ambiguous, or the value does not fit its field.
    """
    key, equals, text = (part.strip() for part in word.partition("="))
    if not equals or not key:
        raise FineSpotError(f"expected key=value but got '{word}'", hint="for example optimizer.lr=0.02")
    name = full_key(kind, key)
    hint = _hint(kind, name)
    return name, _section_from_text(text, name) if _sections(hint) else _from_text(text, hint, name)


def put(kind: type[msgspec.Struct], tree: Tree, key: str, value: Any) -> None:
    """Set a dotted (or bare) key of `tree`. A section takes a struct, a mapping, or the name of its kind."""
    name = full_key(kind, key)
    sections = _sections(_hint(kind, name))
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    elif isinstance(value, Path):
        value = str(value)
    if sections and isinstance(value, str):
        value = {sections[0].__struct_config__.tag_field or "name": value}
    addition: Tree = {}
    *path, last = name.split(".")
    inner = addition
    for part in path:
        inner = inner.setdefault(part, {})
    inner[last] = value
    merged = merge(kind, tree, addition)
    tree.clear()
    tree.update(merged)


def merge(kind: type[msgspec.Struct], below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """`above` laid over `below`; a section of another kind than the one below replaces it."""
    merged = dict(below)
    hints = _hints(kind)
    for name, value in above.items():
        sections = _sections(hints[name]) if name in hints else []
        old = merged.get(name)
        if typing.get_origin(hints.get(name)) is dict and isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[name] = {**old, **value}
            continue
        if not (sections and isinstance(value, Mapping) and isinstance(old, Mapping)):
            merged[name] = value
            continue
        tag = sections[0].__struct_config__.tag_field
        if tag and tag in value and value[tag] != old.get(tag):
            merged[name] = dict(value)
        else:
            merged[name] = merge(_pick(sections, old), old, value)
    return merged


def build(kind: type[S], tree: Mapping[str, Any], where: object = None, lines: Mapping[str, int] | None = None) -> S:
    """The struct of a tree of plain values.

    Raises
    ------
    FineSpotError
        A key is unknown or a value is not what its field takes; names the key, the value and `where` it stands.
    """
    return _build(kind, tree, where, lines or {}, "", list(keys(kind)))


def _build(
    kind: type[S], tree: Mapping[str, Any], where: object, lines: Mapping[str, int], prefix: str, known: list[str]
) -> S:
    hints = _hints(kind)
    tag = kind.__struct_config__.tag_field
    values: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        place = _place(where, key, lines)
        if name == tag:
            continue
        if name not in hints and key in known:
            raise FineSpotError(
                f"unknown recipe key '{key}': {kind.__struct_config__.tag} has none",
                where=place,
                hint=f"its keys are {', '.join(hints)}",
            )
        if name not in hints:
            raise _unknown_key(key, [*known, *(prefix + own for own in hints)], place)
        sections = _structs(hints[name])
        if not sections or (value is None and type(None) in typing.get_args(hints[name])):
            values[name] = _convert(value, hints[name], key, place)
        elif isinstance(value, Mapping):
            chosen = _pick(sections, value, key, place)
            values[name] = _build(chosen, value, where, lines, f"{key}.", known)
        else:
            raise FineSpotError(f"expected a section with keys at '{key}' but got {value!r}", where=place)
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise FineSpotError(f"{prefix.rstrip('.') or 'settings'}: {error}", where=where) from error


def dump(settings: msgspec.Struct) -> str:
    """The settings as YAML, every key written out, in the order of the fields."""
    return yaml.dump(msgspec.to_builtins(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def flow(value: Any) -> str:
    """One plain value as YAML on one line."""
    listed = yaml.dump(
        [value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return str(listed)[1:].rstrip().removesuffix("]")


def describe(hint: Any) -> str:
    """A type in words: "a whole number of 1 or more, or one of auto"."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *metas = typing.get_args(hint)
        limits = [text for meta in metas if isinstance(meta, msgspec.Meta) for text in _limits(meta)]
        return " ".join([describe(inner), " and ".join(limits)]).strip()
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(str(one) for one in arguments)}"
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(describe(one) for one in arguments)
    if _structs(hint):
        return "keys with values"
    if origin is dict:
        return "keys with values" + ("" if arguments[1] is Any else f", each of them {describe(arguments[1])}")
    if origin in (list, tuple):
        return f"a list of {describe(arguments[0])}"
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(hint, str(hint))


def _limits(meta: msgspec.Meta) -> Iterator[str]:
    if meta.ge is not None and meta.le is not None:
        yield f"from {meta.ge} to {meta.le}"
        return
    if meta.ge is not None:
        yield f"of {meta.ge:g} or more"
    if meta.gt is not None:
        yield f"above {meta.gt:g}"
    if meta.le is not None:
        yield f"up to {meta.le:g}"
    if meta.lt is not None:
        yield f"below {meta.lt:g}"


@functools.cache
def _hints(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _sections(hint: Any) -> list[type[msgspec.Struct]]:
    """The struct types that a field may hold whose keys are set one by one; empty for a value."""
    return [one for one in _structs(hint) if not issubclass(one, Whole)]


def _structs(hint: Any) -> list[type[msgspec.Struct]]:
    arguments = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return [one for one in arguments if isinstance(one, type) and issubclass(one, msgspec.Struct)]


def _pick(
    sections: list[type[msgspec.Struct]], value: Mapping[str, Any], key: str = "", where: object = None
) -> type[msgspec.Struct]:
    """The kind of section that a mapping's tag names; the first where it names none."""
    tag = sections[0].__struct_config__.tag_field
    if not tag or tag not in value:
        return sections[0]
    by_tag = {str(section.__struct_config__.tag): section for section in sections}
    if value[tag] not in by_tag:
        raise unknown(f"{key} {tag}", str(value[tag]), by_tag, where=where)
    return by_tag[value[tag]]


def _in_mapping(kind: type[msgspec.Struct], key: str) -> bool:
    """Whether `a.b` names an entry of a field `a` that takes any mapping."""
    name, dot, rest = key.partition(".")
    return bool(dot and rest) and typing.get_origin(_hints(kind).get(name)) is dict


def _hint(kind: type[msgspec.Struct], key: str) -> Any:
    if _in_mapping(kind, key):
        return Any
    return _hints(kind)[key] if key in _hints(kind) else keys(kind)[key]


def _convert(value: Any, hint: Any, key: str, where: object) -> Any:
    try:
        converted = msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise FineSpotError(f"{key}={value}: expected {describe(hint)} but got {value!r}", where=where) from error
    if not all(math.isfinite(one) for one in _floats(converted)):
        raise FineSpotError(f"{key}={value}: expected a finite number but got {value!r}", where=where)
    return converted


def _floats(value: Any) -> list[float]:
    return [one for one in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(one, float)]


def _from_text(text: str, hint: Any, key: str) -> Any:
    """A command line's word as the field's type: as YAML, else as it stands, else as a list by commas."""
    readings: list[Any] = []
    with contextlib.suppress(yaml.YAMLError):
        readings.append(parse(text))
    readings.append(text)
    if not text.startswith(("[", "{")):
        readings.append([part.strip() for part in text.split(",") if part.strip()])
    for reading in readings:
        try:
            msgspec.convert(reading, hint)
        except msgspec.ValidationError:
            continue
        return reading
    raise FineSpotError(f"{key}={text}: expected {describe(hint)} but got '{text}'")


def _section_from_text(text: str, key: str) -> Any:
    try:
        return parse(text)
    except yaml.YAMLError as error:
        raise FineSpotError(f"{key}={text}: is no valid YAML ({error})", hint=f"for example {key}.name=...") from error


def _place(where: object, key: str, lines: Mapping[str, int]) -> object:
    return f"{where}:{lines[key]}" if where is not None and key in lines else where


def _unknown_key(key: str, known: Iterable[str], where: object) -> FineSpotError:
    names = list(known)
    leaf = key.rpartition(".")[2]
    same = sorted({name for name in names if name.rpartition(".")[2] == leaf and name != key})
    if same:
        return FineSpotError(f"unknown recipe key '{key}'", where=where, hint=f"did you mean {', '.join(same[:3])}?")
    section = [name for name in names if name.startswith(f"{leaf}.")]
    if section:
        return FineSpotError(f"unknown recipe key '{key}'", where=where, hint=f"did you mean {', '.join(section[:3])}?")
    by_leaf = {name.rpartition(".")[2]: name for name in names}
    close = difflib.get_close_matches(leaf, list(by_leaf), n=1, cutoff=0.75)
    if close:
        return FineSpotError(f"unknown recipe key '{key}'", where=where, hint=f"did you mean {by_leaf[close[0]]}?")
    return unknown("recipe key", key, names, where=where)
