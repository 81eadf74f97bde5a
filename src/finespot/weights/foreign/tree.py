"""What a foreign checkpoint turns into: plain data, tensors, and records of objects whose classes are never touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from numpy import ndarray
from torch import Tensor

from finespot.errors import FineSpotError

# Plain data: None, bool, int, float, complex, str, bytes, slice, range, arrays, tensors, and dict, list, tuple, set of
# them. Out of a file come `Record` and `Name` as well.
Value: TypeAlias = object

# More than any network needs; damaged and hostile files nest and share without end.
_DEEPEST = 200
_MOST = 200_000
_LONGEST = 1000


@dataclass(frozen=True)
class Name:
    """A class or function that the file names, `ultralytics.nn.modules.conv.Conv`: the name only."""

    text: str


@dataclass(eq=False)
class Record:
    """An object of the file, with what was stored of it and without its class.

    Parameters
    ----------
    name:
        Its class, `models.yolo.DetectionModel`.
    state:
        Its attributes, where they were stored as usual.
    args:
        What else the class would have been called with or handed; nobody but the class knows the meaning.
    entries, elements:
        What it holds where the class is a dictionary or a list.
    """

    name: str
    args: tuple[Value, ...] = ()
    state: dict[str, Value] = field(default_factory=dict)
    entries: dict[Value, Value] = field(default_factory=dict)
    elements: list[Value] = field(default_factory=list)

    @property
    def is_module(self) -> bool:
        """Whether this is a network or a part of one (a `torch.nn.Module`)."""
        return "_modules" in self.state and "_parameters" in self.state

    def __repr__(self) -> str:  # a tree of them may be deep, or hold itself
        return f"Record({self.name!r}, {len(self.state)} attributes)"


def shown(text: str) -> str:
    """A name out of a file, fit for a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def flat_state(module: Record) -> dict[str, Tensor]:
    """The tensors of a module's parameters and buffers, by the names and in the order of torch's `state_dict()`.

    A module that occurs in two places gives the same tensors under two names.

    Raises
    ------
    FineSpotError
        This is no module, or one that holds something else than tensors and modules, or itself.
    """
    found: dict[str, Tensor] = {}
    _collect(module, "", found, 0, [0])
    return found


def _collect(module: Value, place: str, found: dict[str, Tensor], depth: int, visits: list[int]) -> None:
    where = shown(place.rstrip(".")) or None
    if depth > _DEEPEST:
        raise FineSpotError("expected a network but got modules nested without end")
    if not (isinstance(module, Record) and module.is_module):
        raise FineSpotError(f"expected a module of a network but got {_kind(module)}", where=where)
    # Buffers that the class computes anew are not part of a state dict; old releases knew no such buffers.
    transient = module.state.get("_non_persistent_buffers_set", set())
    if not isinstance(transient, set | frozenset):
        raise FineSpotError("expected '_non_persistent_buffers_set' to hold names", where=where)
    for group in ("_parameters", "_buffers"):
        for name, tensor in _parts(module, group, where, visits):
            if tensor is None or (group == "_buffers" and name in transient):
                continue
            if not isinstance(tensor, Tensor):
                raise FineSpotError(f"expected a tensor as '{shown(name)}' but got {_kind(tensor)}", where=where)
            found[place + name] = tensor
    for name, child in _parts(module, "_modules", where, visits):
        if child is not None:
            if len(place) + len(name) > _LONGEST:
                raise FineSpotError("expected a network but got names without end")
            _collect(child, f"{place}{name}.", found, depth + 1, visits)


def _parts(module: Record, group: str, where: str | None, visits: list[int]) -> Iterator[tuple[str, Value]]:
    parts = module.state.get(group, {})
    if not isinstance(parts, dict):
        raise FineSpotError(f"expected '{group}' to hold parts by name", where=where)
    visits[0] += len(parts)
    if visits[0] > _MOST:
        raise FineSpotError("expected a network but got modules repeated without end")
    for name, part in parts.items():
        if not (isinstance(name, str) and len(name) <= _LONGEST):
            raise FineSpotError(f"expected '{group}' to hold parts by name", where=where)
        yield name, part


def _kind(value: Value) -> str:
    return shown(value.name) if isinstance(value, Record) else type(value).__name__


def plain(value: Value) -> Value:
    """A copy made of plain data only: names become text, and objects (such as a namespace) their attributes.

    Raises
    ------
    FineSpotError
        It holds a module or another object that attributes alone do not describe, or is nested without end.
    """
    return _plain(value, 0, [0])


def plain_items(items: Mapping[str, Value]) -> dict[str, Value]:
    """Those items that can be given as plain data; others are left out."""
    visits = [0]
    return {name: one[0] for name, value in items.items() if (one := _plain_or_none(value, visits))}


def _plain_or_none(value: Value, visits: list[int]) -> tuple[Value] | None:
    try:
        return (_plain(value, 0, visits),)
    except FineSpotError:
        return None


def _plain(value: Value, depth: int, visits: list[int]) -> Value:
    visits[0] += 1
    if depth > _DEEPEST or visits[0] > _MOST:
        raise FineSpotError("expected data but got values nested without end")
    if value is None or isinstance(value, _LEAVES):
        return value
    if isinstance(value, Name):
        return value.text
    if isinstance(value, dict):
        return {_plain_key(key): _plain(one, depth + 1, visits) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one, depth + 1, visits) for one in value)
    if isinstance(value, set | frozenset):
        visits[0] += len(value)
        return type(value)(_plain_key(one) for one in value)
    if isinstance(value, Record) and not (value.is_module or value.args or value.elements):
        visits[0] += len(value.state) + len(value.entries)
        inside: dict[Value, Value] = {}
        inside.update(value.state)
        inside.update(value.entries)
        return _plain(inside, depth, visits)
    raise FineSpotError(f"expected plain data but got {_kind(value)}")


def _plain_key(key: Value) -> Value:
    if isinstance(key, tuple):
        return tuple(_plain_key(part) for part in key)  # of single values, see `hashable`
    if isinstance(key, Record):
        raise FineSpotError(f"expected plain data but got {_kind(key)}")
    return key.text if isinstance(key, Name) else key


_LEAVES = (bool, int, float, complex, str, bytes, bytearray, slice, range, Tensor, ndarray)
