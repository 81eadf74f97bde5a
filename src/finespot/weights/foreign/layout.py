"""How the tensors of a foreign file stand to ours: an `Entry` for each of its keys, read in both directions.

A layout is an iterable of entries in the file's order. Besides names, four things may change, all without loss: rows
(one convolution of theirs is several of ours), the order of rows or columns (BGR input, other head order), the
shape of a constant, and copies (their file repeats what we hold once).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import cast

import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.structures import Architecture

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Entry:
    """One tensor of the file.

    Attributes
    ----------
    key:
        Its name in the file.
    ours:
        The names of ours that it holds; several share its rows.
    rows:
        For each of ours the rows of the file's tensor, in our order (None: all as they are). Scalars ignore them.
    columns:
        The order in which ours holds the second dimension; None as it is.
    shape:
        The file's shape where ours is another one with as many values; one side may be -1.
    """

    key: str
    ours: tuple[str, ...]
    rows: tuple[Tensor | None, ...] = (None,)
    columns: Tensor | None = None
    shape: tuple[int, ...] | None = None


def from_file(
    state: Mapping[str, Tensor], entries: Iterable[Entry], architecture: Architecture, spare: Iterable[str] = ()
) -> dict[str, Tensor]:
    """A file's state dict under our names, for `Detector.load_state_dict`.

    `spare` names keys of the file that have no place and no use. Values get our number types (files may hold halves);
    batch counters, which only training reads, may be missing.

    Raises
    ------
    FineSpotError
        A key is missing or unknown, a shape is not that of the architecture, copies differ, or a tensor of ours has no
        place in such a file.
    """
    name = zoo.name_of(architecture)
    own = skeleton(architecture).state_dict()
    listed = list(entries)
    surplus = sorted(set(state) - {entry.key for entry in listed} - set(spare))
    if surplus:
        raise FineSpotError(f"{len(surplus)} keys do not belong to {name}, first '{surplus[0]}'")
    found: dict[str, Tensor] = {}
    for entry in listed:
        if entry.key not in state and entry.key.endswith(_COUNTER):
            found.update({mine: torch.zeros((), dtype=torch.int64) for mine in entry.ours})
            continue
        if entry.key not in state:
            raise FineSpotError(f"expected the key '{entry.key}' of {name} but it is missing")
        for mine, part in _parts(entry, state[entry.key]):
            if part.numel() != own[mine].numel() or (entry.shape is None and part.shape != own[mine].shape):
                raise FineSpotError(
                    f"expected shape {tuple(own[mine].shape)} for '{mine}' but got {tuple(part.shape)}",
                    where=entry.key,
                    hint="check size and class count",
                )
            part = part.reshape(own[mine].shape).to(own[mine].dtype, copy=True)
            if mine in found and not torch.equal(found[mine], part):
                raise FineSpotError(f"expected a copy of '{mine}' but the values differ", where=entry.key)
            found[mine] = part
    _check_complete(own, found)
    return found


def fits(state: Mapping[str, Tensor], entries: Iterable[Entry], architecture: Architecture) -> bool:
    """Whether a file holds every tensor of an architecture in the shape that it has there."""
    own = skeleton(architecture).state_dict()
    for entry in entries:
        tensor = state.get(entry.key)
        if tensor is None:
            if entry.key.endswith(_COUNTER):
                continue
            return False
        if sum(own[name].numel() for name in entry.ours) != tensor.numel() and tensor.ndim:
            return False
    return True


def to_file(state: Mapping[str, Tensor], entries: Iterable[Entry]) -> dict[str, Tensor]:
    """Our state dict (unfused) under the file's names and in its order: the inverse of `from_file`.

    Raises
    ------
    FineSpotError
        A tensor is missing, or has no place in such a file.
    """
    found: dict[str, Tensor] = {}
    held: set[str] = set()
    for entry in entries:
        held.update(entry.ours)
        absent = [name for name in entry.ours if name not in state]
        if absent:
            raise FineSpotError(f"expected the unfused tensor '{absent[0]}' but it is missing")
        parts = [state[name] for name in entry.ours]
        value = parts[0].clone()
        if entry.rows[0] is not None and value.ndim:
            rows = torch.cat([cast(Tensor, one) for one in entry.rows])
            joined = torch.cat(parts)
            value = torch.empty_like(joined)
            value[rows.to(value.device)] = joined
        if entry.columns is not None and value.ndim > 1:
            ordered = torch.empty_like(value)
            ordered[:, entry.columns.to(value.device)] = value
            value = ordered
        found[entry.key] = value if entry.shape is None else value.reshape(entry.shape)
    _check_complete(state, held)
    return found


def _check_complete(ours: Iterable[str], held: Container[str]) -> None:
    homeless = [name for name in ours if name not in held]
    if homeless:
        raise FineSpotError(f"such a file has no place for {len(homeless)} tensors, first '{homeless[0]}'")


def skeleton(architecture: Architecture) -> zoo.Detector:
    """The network without memory: names and shapes."""
    with torch.device("meta"):
        return zoo.build(architecture)


def plain_network(
    architecture: Architecture,
    what: str,
    *,
    backbone: type | UnionType,
    neck: type,
    head: type,
    relay: type | UnionType = NoneType,
    levels: int | None = None,
) -> zoo.Detector:
    """The skeleton of a network that is made of these parts, of `levels` levels where given.

    Raises
    ------
    FineSpotError
        It is not `what`, such as "a released YOLOX".
    """
    detector = skeleton(architecture)
    pairs = (
        (detector.backbone, backbone),
        (detector.relay, relay),
        (detector.neck, neck),
        (detector.head, head),
    )
    known = all(isinstance(part, kind) for part, kind in pairs)
    if not known or levels not in (None, len(detector.head.inputs)):
        raise FineSpotError(f"{zoo.name_of(architecture)} is not {what}, so no such file holds it")
    return detector


def csp_layers(backbone: CSPBackbone) -> Iterator[tuple[str, nn.Module]]:
    """Stem and parts of the stages with their names in the detector, in order."""
    yield "backbone.stem", backbone.stem
    for stage in ("stage2", "stage3", "stage4", "stage5"):
        for part, module in cast(nn.Module, getattr(backbone, stage)).named_children():
            yield f"backbone.{stage}.{part}", module


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many keys of a state dict match a pattern."""
    return sum(re.fullmatch(pattern, key) is not None for key in state)


def conv_entries(
    key: str,
    names: tuple[str, ...],
    rows: tuple[Tensor | None, ...] = (None,),
    *,
    conv: str = "conv",
    norm: str = "bn",
    columns: Tensor | None = None,
) -> Iterator[Entry]:
    """A convolution with batch norm at `key` (parts `conv` and `norm`), held by our `Conv`s at `names`."""
    yield Entry(f"{key}.{conv}.weight", tuple(f"{name}.conv.weight" for name in names), rows, columns)
    for part in BATCH_NORM:
        yield Entry(f"{key}.{norm}.{part}", tuple(f"{name}.bn.{part}" for name in names), rows)


def split_conv(conv: str, norm: str, name: str) -> Iterator[Entry]:
    """A convolution at `conv` and its batch norm at `norm`, held by our `Conv` at `name`."""
    yield Entry(f"{conv}.weight", (f"{name}.conv.weight",))
    yield from norm_entries(norm, f"{name}.bn")


def norm_entries(key: str, name: str) -> Iterator[Entry]:
    """A batch norm at `key`, ours at `name`."""
    yield from (Entry(f"{key}.{part}", (f"{name}.{part}",)) for part in BATCH_NORM)


def affine_entries(key: str, name: str) -> Iterator[Entry]:
    """Weight and bias of a layer at `key`, ours at `name`."""
    yield from (Entry(f"{key}.{part}", (f"{name}.{part}",)) for part in ("weight", "bias"))


def _parts(entry: Entry, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What each of ours holds of the file's tensor."""
    if entry.columns is not None and value.ndim > 1:
        value = _picked(value, entry.columns, 1, entry.key)
    for name, rows in zip(entry.ours, entry.rows, strict=True):
        yield name, value if rows is None or value.ndim == 0 else _picked(value, rows, 0, entry.key)


def _picked(value: Tensor, rows: Tensor, dim: int, key: str) -> Tensor:
    if int(rows.max()) >= value.shape[dim]:
        raise FineSpotError(f"expected more than {int(rows.max())} rows but got {value.shape[dim]}", where=key)
    return value.index_select(dim, rows.to(value.device))
