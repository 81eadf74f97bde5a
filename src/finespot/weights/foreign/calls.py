"""What runs in place of the functions and types that a pickle in a checkpoint calls.

Each takes the tensors under construction and the arguments that the file gives, which may be anything, and checks them
before it makes the thing: nothing is reserved by a number out of the file, and copies come out of a budget, since a
pickle can repeat a large value in two bytes.
"""

from __future__ import annotations

import datetime
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.weights.foreign.tensors import DTYPES, Storage, Tensors
from finespot.weights.foreign.tree import Name, Record, Value, shown

Args: TypeAlias = tuple[Any, ...]
Call: TypeAlias = Callable[[Tensors, Args], Value]

ITEM = 64  # bytes that an item of a container takes, about
_MOST_PARTS = 64
_ARRAY_TYPE = re.compile(r"[<|=]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,4})")


def expect(good: bool, what: str) -> None:
    """Raise `FineSpotError` where an argument is not what the function takes."""
    if not good:
        raise FineSpotError(f"expected {what}")


def is_text(*values: Value) -> bool:
    """Whether all are plain text."""
    return all(type(value) is str for value in values)


def hashable(value: Any) -> Value:
    """`value` as the key of a dictionary or member of a set, checked: nested tuples may take forever to hash.

    Tensors and objects serve as keys by what they are, not by what they hold; whole numbers beyond 64 bits could be
    chosen to collide.
    """
    parts = value if isinstance(value, tuple) else (value,)
    expect(len(parts) <= _MOST_PARTS, "a key of few parts")
    for part in parts:
        if type(part) is int:
            expect(-(1 << 63) <= part < 1 << 64, "a key of at most 64 bits")
        elif part is not None and not isinstance(part, str | bytes | float | bool | complex | Name | Tensor | Record):
            raise FineSpotError(f"expected a key but got {type(part).__name__}")
    return value  # type: ignore[no-any-return]


# Tensors


def tensor(tensors: Tensors, args: Args) -> Tensor:
    """`_rebuild_tensor(_v2)(storage, offset, shape, strides, requires_grad, hooks, metadata)`."""
    expect(4 <= len(args) <= 7, "a tensor")
    if len(args) == 7 and args[6]:  # set by views that negate or conjugate when read
        raise FineSpotError("it holds a tensor whose values are computed when read, which cannot be taken over")
    return tensors.build(*args[:4])


def tensor_of_type(tensors: Tensors, args: Args) -> Tensor:
    """`_rebuild_tensor_v3`: of bytes, with the type of the elements as the seventh argument."""
    expect(7 <= len(args) <= 8 and isinstance(args[0], Storage) and is_text(args[6]), "a tensor and its type")
    dtype = DTYPES.get(args[6].removeprefix("torch."))
    if dtype is None:
        raise FineSpotError(f"expected the type of a tensor but got {shown(args[6])}")
    data = args[0].elements.view(torch.uint8)
    whole = data.numel() - data.numel() % dtype.itemsize
    return tensors.build(Storage(args[0].key, data[:whole].view(dtype)), *args[1:4])


def parameter(_: Tensors, args: Args) -> Tensor:
    """`_rebuild_parameter(data, requires_grad, hooks)`, with a state as a fourth argument or not."""
    if not (3 <= len(args) <= 4 and isinstance(args[0], Tensor)):
        raise FineSpotError("expected the tensor of a parameter")
    return args[0]


def device(_: Tensors, args: Args) -> str:
    """The text of a device, `cuda:0`."""
    expect(1 <= len(args) <= 2 and is_text(args[0]) and len(args[0]) <= 32, "a device")
    expect(len(args) == 1 or type(args[1]) is int, "the number of a device")
    return ":".join(str(one) for one in args)


# Arrays and numbers of numpy


def array(_: Tensors, args: Args) -> Value:
    """`_reconstruct(ndarray, ...)`: an empty array, which `fill_array` fills."""
    expect(len(args) == 3 and args[0] == Name("numpy.ndarray"), "an array")
    return np.empty(0, np.uint8)


def fill_array(tensors: Tensors, empty: np.ndarray[Any, Any], state: Any) -> None:
    """Give an empty array its (version, shape, dtype, by columns, data)."""
    expect(isinstance(state, tuple) and len(state) == 5, "the state of an array")
    _, shape, dtype, by_columns, data = state
    data = data.encode("latin-1") if isinstance(data, str) else data
    _check_array(tensors, shape, dtype, data)
    expect(type(by_columns) is bool, "the order of an array")
    empty.__setstate__((1, shape, dtype, by_columns, data))  # type: ignore[attr-defined]  # numbers only, by now


def array_of_bytes(tensors: Tensors, args: Args) -> Value:
    """`_frombuffer(data, dtype, shape, order)`."""
    expect(len(args) == 4 and args[3] in ("C", "F"), "an array")
    data, dtype, shape, order = args
    _check_array(tensors, shape, dtype, data)
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy()


def scalar(tensors: Tensors, args: Args) -> Value:
    """A number of numpy's, as Python's."""
    expect(len(args) == 2, "a number")
    dtype, data = args
    data = data.encode("latin-1") if isinstance(data, str) else data
    _check_array(tensors, (), dtype, data)
    return np.frombuffer(data, dtype)[0].item()  # type: ignore[no-any-return]


def _check_array(tensors: Tensors, shape: Any, dtype: Any, data: Any) -> None:
    expect(isinstance(shape, tuple) and len(shape) <= 32 and isinstance(dtype, np.dtype), "shape and type of an array")
    expect(isinstance(data, bytes | bytearray), "the bytes of an array")
    size = dtype.itemsize
    for side in shape:
        expect(type(side) is int and side >= 0, "the shape of an array")
        size *= side
    if size != len(data):
        raise FineSpotError(f"expected {size} bytes of an array of shape {shape} but got {len(data)}")
    tensors.charge(size, "an array")


def array_type(_: Tensors, args: Args) -> Value:
    """`numpy.dtype(code, ...)`, of numbers and text."""
    expect(1 <= len(args) <= 3 and is_text(args[0]), "the element type of an array")
    if not _ARRAY_TYPE.fullmatch(args[0]):
        raise FineSpotError(f"it holds an array with elements of type '{shown(args[0])}', which cannot be read")
    return np.dtype(args[0])


def check_array_type(state: Any) -> None:
    """The state that a pickle hands to a type: here it only may say what is so anyway."""
    expect(isinstance(state, tuple) and len(state) >= 5, "the state of an element type")
    order, *structure = state[1:5]
    if order not in ("<", "|", "=") or any(part is not None for part in structure):
        raise FineSpotError("it holds an array with big-endian or structured elements, which cannot be read")


# Python's own


def pairs(tensors: Tensors, args: Args) -> Value:
    """A dictionary: empty, of a dictionary, or of pairs."""
    source = args[0] if args else ()
    expect(len(args) <= 1 and isinstance(source, dict | list | tuple), "a dictionary")
    tensors.charge(ITEM * len(source), "a dictionary")
    found: dict[Value, Value] = {}
    for pair in source.items() if isinstance(source, dict) else source:
        expect(isinstance(pair, tuple | list) and len(pair) == 2, "a dictionary")
        found[hashable(pair[0])] = pair[1]
    return found


def default_pairs(tensors: Tensors, args: Args) -> Value:
    """A dictionary whose first argument says how it fills gaps, which only its code needs."""
    return pairs(tensors, args[1:])


def sequence(kind: type[list[Value]] | type[tuple[Value, ...]] | type[set[Value]] | type[frozenset[Value]]) -> Call:
    """One of Python's containers, made of another."""

    def made(tensors: Tensors, args: Args) -> Value:
        source = args[0] if args else ()
        expect(len(args) <= 1 and isinstance(source, list | tuple | set | frozenset), f"a {kind.__name__}")
        tensors.charge(ITEM * len(source), f"a {kind.__name__}")
        return kind(hashable(one) for one in source) if issubclass(kind, set | frozenset) else kind(source)

    return made


def queue(tensors: Tensors, args: Args) -> Value:
    """A `deque` as a list; its greatest length goes."""
    return sequence(list)(tensors, args[:1])


def whole_numbers(kind: Any) -> Call:
    """A `slice` or `range`."""

    def made(_: Tensors, args: Args) -> Value:
        allowed = all(type(one) is int or (one is None and kind is slice) for one in args)
        expect(1 <= len(args) <= 3 and allowed, f"a {kind.__name__}")
        return kind(*args)  # type: ignore[no-any-return]

    return made


def complex_number(_: Tensors, args: Args) -> Value:
    """A complex number of its two parts."""
    expect(len(args) == 2 and all(type(one) in (int, float) for one in args), "a complex number")
    return complex(float(args[0]), float(args[1]))


def encoded(tensors: Tensors, args: Args) -> Value:
    """`_codecs.encode(text, "latin1")`, as protocol 2 writes bytes."""
    expect(len(args) == 2 and is_text(args[0]) and args[1] in ("latin1", "latin-1"), "bytes encoded as latin1")
    tensors.charge(len(args[0]), "bytes")
    return args[0].encode("latin-1")  # type: ignore[no-any-return]


def raw_bytes(tensors: Tensors, args: Args) -> Value:
    """Bytes of bytes: a number would ask for memory."""
    expect(len(args) <= 1 and all(isinstance(one, bytes | bytearray) for one in args), "bytes")
    tensors.charge(sum(len(one) for one in args), "bytes")
    return bytes(args[0]) if args else b""


def path(kind: type[pathlib.PurePath]) -> Call:
    """The text of a path."""

    def made(tensors: Tensors, args: Args) -> Value:
        expect(is_text(*args), "the parts of a path")
        tensors.charge(sum(len(one) for one in args), "a path")
        return str(kind(*args))

    return made


def moment(kind: Any, size: int) -> Call:
    """The text of a date or time, of its `size` bytes; a zone is an object of its own, and none of the allowed ones."""

    def made(_: Tensors, args: Args) -> Value:
        expect(len(args) == 1 and isinstance(args[0], bytes) and len(args[0]) == size, "a date or time")
        found = kind(args[0]).isoformat()
        kind.fromisoformat(found)  # the bytes are taken without a look at most of them
        return found  # type: ignore[no-any-return]

    return made


def duration(_: Tensors, args: Args) -> Value:
    """The text of a duration of (days, seconds, microseconds)."""
    expect(len(args) == 3 and all(type(one) is int for one in args), "a duration")
    return str(datetime.timedelta(*args))


def text(_: Tensors, args: Args) -> Value:
    """Text of a class of its own, as text."""
    expect(len(args) <= 1 and is_text(*args), "text")
    return args[0] if args else ""
