"""A pickle machine that makes data and nothing else: no import, no call of anything that a file names.

Written out in full (protocols 0 to 5) instead of derived from `pickle.Unpickler`, whose BUILD, NEWOBJ, INST and REDUCE
reach methods of whatever they are given, and whose lengths and memo numbers are taken at their word: here each step is
one line of a table that can be read, lengths are compared with what is left of the file before anything is reserved,
and the number of steps is bounded. What names and calls mean is in `allowed.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from finespot.errors import FineSpotError
from finespot.weights.foreign.allowed import call, lookup, outside, set_state
from finespot.weights.foreign.calls import hashable
from finespot.weights.foreign.tensors import Tensors
from finespot.weights.foreign.tree import Record, Value, shown

# A network of a thousand layers takes a tenth of that; each step makes one small object at most.
MOST_STEPS = 2_000_000
_LONGEST_LINE = 4096
_LONGEST_NUMBER = 512  # bytes; Python refuses to print much longer ones

# What a damaged pickle makes Python raise in the steps below.
DAMAGE = (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error, RuntimeError)


def unpickle(file: BinaryIO, left: int, tensors: Tensors) -> Value:
    """The value that the pickle at the position of `file` describes; `left` bytes may be read at most.

    Raises
    ------
    FineSpotError
        The pickle is damaged or cut off, or names, calls or claims what is not allowed.
    """
    machine = _Machine(file, left, tensors)
    try:
        return machine.run()
    except DAMAGE as error:
        raise FineSpotError(f"damaged at byte {left - machine.left} of its pickle ({_told(error)})") from error


def _told(error: Exception) -> str:
    return shown(" ".join(f"{type(error).__name__}: {error}".split())[:120])


class _Machine:
    def __init__(self, file: BinaryIO, left: int, tensors: Tensors) -> None:
        self.file, self.left, self.tensors = file, left, tensors
        self.stack: list[Value] = []
        self.marked: list[list[Value]] = []  # the stacks below each open mark
        self.memo: dict[int, Value] = {}

    def run(self) -> Value:
        for _ in range(MOST_STEPS):
            code = self.read(1)
            if code == b".":
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise FineSpotError(f"its pickle holds the step {code!r}, which no checkpoint has")
            step(self)
        raise FineSpotError(f"its pickle takes more than {MOST_STEPS:,} steps")

    # Reading

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise FineSpotError(f"its pickle is cut off: {size:,} bytes should follow, {self.left:,} are left")
        data = self.file.read(size)
        if len(data) != size:
            raise FineSpotError("its pickle is cut off")
        self.left -= size
        return data

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.read(struct.calcsize(form)))[0])

    def line(self, encoding: str = "utf-8") -> str:
        data = self.file.readline(min(_LONGEST_LINE, self.left))
        if not data.endswith(b"\n"):
            raise FineSpotError("its pickle is cut off, or holds a line of text without end")
        self.left -= len(data)
        return data[:-1].decode(encoding)

    # The stack

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Value]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    # The memo

    def get(self, number: int) -> None:
        self.push(self.memo[number])

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    # Containers

    def append(self, items: list[Value]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target = target.elements
        if not isinstance(target, list):
            raise FineSpotError(f"it appends to {type(target).__name__}, which is no list")
        target.extend(items)

    def set_items(self, items: list[Value]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target = target.entries
        if not isinstance(target, dict):
            raise FineSpotError(f"it sets items of {type(target).__name__}, which is no dictionary")
        if len(items) % 2:
            raise FineSpotError("a key without a value")
        for i in range(0, len(items), 2):
            target[hashable(items[i])] = items[i + 1]

    def add_items(self, items: list[Value]) -> None:
        target = self.stack[-1]
        if not isinstance(target, set):
            raise FineSpotError(f"it adds to {type(target).__name__}, which is no set")
        target.update(hashable(item) for item in items)

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("too few values")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def dict_of(self, items: list[Value]) -> None:
        self.push({})
        self.set_items(items)

    # Names, calls, states

    def named(self, module: Value, name: Value) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise FineSpotError("expected the text of a name")
        self.push(lookup(module, name))

    def stacked_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.named(module, name)

    def call(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = call(self.tensors, self.stack[-1], args)

    def call_with_names(self) -> None:
        keywords, args = self.stack.pop(), self.stack.pop()
        if not (isinstance(args, tuple) and isinstance(keywords, dict)):
            raise FineSpotError("expected the arguments of a class")
        # A class alone knows what its keywords mean; `call` looks at their number.
        self.stack[-1] = call(self.tensors, self.stack[-1], (*args[:100], keywords) if keywords else args)

    def call_line(self) -> None:
        target = lookup(self.line(), self.line())
        args = tuple(self.since_mark())
        self.push(call(self.tensors, target, args))

    def call_marked(self) -> None:
        target, *args = self.since_mark()
        self.push(call(self.tensors, target, tuple(args)))

    def build(self) -> None:
        state = self.stack.pop()
        set_state(self.tensors, self.stack[-1], state)

    def resolve(self) -> None:
        self.push(outside(self.tensors, self.stack.pop()))

    def refuse_extension(self) -> None:
        raise FineSpotError("its pickle names something by a number of the extension registry; nothing was run")


# Values


def _whole(data: bytes) -> int:
    if len(data) > _LONGEST_NUMBER:
        raise FineSpotError(f"its pickle holds a number of {len(data):,} bytes")
    return int.from_bytes(data, "little", signed=True)


def _old_text(data: bytes) -> str:
    """Text of Python 2, which did not say in what encoding."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _decimal(text: str) -> int | bool:
    if text in ("00", "01"):
        return text == "01"
    if len(text) > _LONGEST_NUMBER:
        raise FineSpotError(f"its pickle holds a number of {len(text):,} digits")
    return int(text.removesuffix("L"))


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0] or "\\" in text:
        raise FineSpotError("expected text in quotes, without escapes")
    return text[1:-1]


_Step = Callable[[_Machine], None]


def _counted(form: str, made: Callable[[bytes], Value]) -> _Step:
    return lambda machine: machine.push(made(machine.read(machine.number(form))))


def _packed(form: str) -> _Step:
    size = struct.calcsize(form)
    return lambda machine: machine.push(struct.unpack(form, machine.read(size))[0])


def _written(made: Callable[[str], Value]) -> _Step:
    return lambda machine: machine.push(made(machine.line()))


def _skipped(size: int) -> _Step:
    def step(machine: _Machine) -> None:
        machine.read(size)

    return step


def _dropped(machine: _Machine) -> None:
    machine.since_mark()


_STEPS: dict[bytes, _Step] = {
    # None, truth values, numbers
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _written(_decimal),
    b"L": _written(_decimal),
    b"F": _written(float),
    b"J": _packed("<i"),
    b"K": _packed("<B"),
    b"M": _packed("<H"),
    b"G": _packed(">d"),
    b"\x8a": _counted("<B", _whole),
    b"\x8b": _counted("<i", _whole),
    # Text and bytes
    b"S": _written(_quoted),
    b"V": lambda m: m.push(m.line("raw_unicode_escape")),
    b"T": _counted("<i", _old_text),
    b"U": _counted("<B", _old_text),
    b"X": _counted("<I", _text),
    b"\x8c": _counted("<B", _text),
    b"\x8d": _counted("<Q", _text),
    b"B": _counted("<I", bytes),
    b"C": _counted("<B", bytes),
    b"\x8e": _counted("<Q", bytes),
    b"\x96": _counted("<Q", bytearray),
    # Containers
    b"]": lambda m: m.push([]),
    b"}": lambda m: m.push({}),
    b")": lambda m: m.push(()),
    b"\x8f": lambda m: m.push(set()),
    b"(": _Machine.mark,
    b"l": lambda m: m.push(m.since_mark()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"d": lambda m: m.dict_of(m.since_mark()),
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.since_mark()),
    b"s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.set_items(m.since_mark()),
    b"\x90": lambda m: m.add_items(m.since_mark()),
    b"\x91": lambda m: m.push(frozenset(hashable(item) for item in m.since_mark())),
    # Stack and memo
    b"0": _Machine.pop,
    b"1": _dropped,
    b"2": lambda m: m.push(m.stack[-1]),
    b"g": lambda m: m.get(int(m.line())),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    # Names, calls, states
    b"c": lambda m: m.push(lookup(m.line(), m.line())),
    b"\x93": _Machine.stacked_name,
    b"R": _Machine.call,
    b"\x81": _Machine.call,
    b"\x92": _Machine.call_with_names,
    b"i": _Machine.call_line,
    b"o": _Machine.call_marked,
    b"b": _Machine.build,
    b"Q": _Machine.resolve,
    b"\x82": _Machine.refuse_extension,
    b"\x83": _Machine.refuse_extension,
    b"\x84": _Machine.refuse_extension,
    # The protocol's number and frames
    b"\x80": _skipped(1),
    b"\x95": _skipped(8),
}
