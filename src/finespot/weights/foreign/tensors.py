"""Tensors out of the storages of a checkpoint, each checked against the bytes that the file really holds.

A file names for each tensor a storage, an offset, a shape and strides, and may name anything. Here a tensor must lie
within its storage; the first one of a storage takes its memory, all others, and views that repeat elements, become
copies, and copies have a budget. So one tensor never changes with another, and no file claims more memory than a few
times its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.weights.foreign.tree import shown

# For copies, beside the size of the file: views, tied weights and repeated anchors need little.
SPARE = 16 << 20
_RANK = 64  # the most dimensions that torch's own views have
_LONGEST = 1 << 48

DTYPES: dict[str, torch.dtype] = {
    **{name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16")},
    **{name: getattr(torch, name) for name in ("int64", "int32", "int16", "int8", "uint8", "bool")},
    **{name: getattr(torch, name) for name in ("uint16", "uint32", "uint64", "complex64", "complex128")},
}
# The classes that name a storage's element type; an untyped one counts bytes.
STORAGE_TYPES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


@dataclass(frozen=True, eq=False)
class Storage:
    """Elements of one type in the memory of a storage of the file, which `key` names."""

    key: str
    elements: Tensor


class Tensors:
    """Builds the tensors of one file.

    Parameters
    ----------
    memory:
        Gives the bytes of a storage by its key, as a flat uint8 tensor: `memory(key, size)`. Whether the file can hold
        `size` bytes is checked there. The content may come later, until `separate`.
    budget:
        Bytes that copies, of tensors and of anything else, may take together.
    """

    def __init__(self, memory: Callable[[str, int], Tensor], budget: int) -> None:
        self._memory, self._budget = memory, budget
        self._owned: set[str] = set()
        self._copies: list[Tensor] = []
        self._flags: list[Tensor] = []

    def storage(self, key: object, dtype: torch.dtype, length: object, view: object = None) -> Storage:
        """The storage `key` of `length` elements, or the view (name, first element, length) of it."""
        if not (isinstance(key, str) and is_size(length)):
            raise FineSpotError("expected the key and the length of a storage")
        elements = self._memory(key, length * dtype.itemsize).view(dtype)
        if view is not None:
            if not (isinstance(view, tuple) and len(view) == 3 and is_size(view[1]) and is_size(view[2])):
                raise FineSpotError("expected the name, the first element and the length of a storage's view")
            if view[1] + view[2] > length:
                raise FineSpotError(
                    f"a view ends at element {view[1] + view[2]} of {length}", where=f"storage {shown(key)}"
                )
            elements = elements[view[1] : view[1] + view[2]]
        return Storage(key, elements)

    def build(self, storage: object, offset: object, shape: object, strides: object) -> Tensor:
        """A tensor that lies in `storage` from element `offset` on, with strides in elements."""
        if not (isinstance(storage, Storage) and is_size(offset) and _are_sizes(shape) and _are_sizes(strides)):
            raise FineSpotError("expected a storage, an offset, a shape and strides of a tensor")
        if len(shape) != len(strides):
            raise FineSpotError(f"expected {len(shape)} strides for the shape {shape} but got {strides}")
        where, there = f"storage {shown(storage.key)}", storage.elements.numel()
        count = 1
        for side in shape:
            count *= side
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides)) if count else offset - 1
        if last >= there or offset > there:
            what = f"a tensor of shape {shape}, strides {strides} and offset {offset} does not fit in {there} elements"
            raise FineSpotError(what, where=where)
        copied = storage.key in self._owned or _repeats(shape, strides)
        if copied:
            self.charge(count * storage.elements.itemsize, f"a tensor of shape {shape}")
        tensor = storage.elements.as_strided(shape, strides, storage.elements.storage_offset() + offset)
        if copied:
            self._copies.append(tensor)
        elif count:
            self._owned.add(storage.key)
            if tensor.dtype == torch.bool:
                self._flags.append(tensor)
        return tensor

    def charge(self, size: int, what: str) -> None:
        """Take `size` bytes for a copy of something in the file from the budget."""
        self._budget -= size
        if self._budget < 0:
            raise FineSpotError(f"it repeats {what} until that takes much more memory than the file has")

    def separate(self) -> None:
        """Once all memory is filled: give every tensor memory of its own."""
        for tensor in self._copies:
            tensor.set_(torch.empty(tensor.shape, dtype=tensor.dtype).copy_(_sound(tensor)))  # type: ignore[call-overload]
        for tensor in self._flags:
            tensor.copy_(_sound(tensor))


def _sound(tensor: Tensor) -> Tensor:
    """The same values; of flags those, since bytes other than 0 and 1 are no truth values and torch does not look."""
    return tensor.view(torch.uint8).ne(0) if tensor.dtype == torch.bool else tensor


def is_size(value: object) -> TypeGuard[int]:
    """Whether this is an integer that a length in memory can be."""
    return type(value) is int and 0 <= value <= _LONGEST


def _are_sizes(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and len(value) <= _RANK and all(is_size(one) for one in value)


def _repeats(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether some element may stand in two places (no false "no"; interleaved views count as repeating)."""
    reach = 0
    for stride, side in sorted(zip(strides, shape)):
        if side > 1:
            if stride <= reach:
                return True
            reach += (side - 1) * stride
    return False
