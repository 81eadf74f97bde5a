"""State dicts of YOLOv8, YOLO11 and YOLO12 as their released files order them (`model.<i>...`), to ours and back.

The layer numbers, part names and shapes are facts of the published files. Two things change besides names: where the
original slices the output of one 1x1 convolution (C2f, C3k2, C2PSA), our `Fork` has a convolution per slice, so rows
are cut; and its attention keeps query, key and value of each head together, ours keeps all queries, all keys and all
values together, so rows are picked. Every value is carried over bit by bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import AnchorFreeHead
from finespot.nn.layers import (
    C2PSA,
    SPPF,
    A2C2f,
    AreaAttention,
    AreaBlock,
    Attention,
    Bottleneck,
    C2f,
    C3k,
    C3k2,
    Conv,
    Fork,
    PSABlock,
)
from finespot.nn.necks import PAFPN
from finespot.structures import Architecture
from finespot.weights.foreign.layout import (
    Entry,
    affine_entries,
    conv_entries,
    csp_layers,
    fits,
    from_file,
    plain_network,
    to_file,
)

# Families of this naming.
FAMILIES = ("yolov8", "yolo11", "yolo12")
# The number of the file's last layer, the head, tells the family and whether there is a P2 level.
_HEAD_AT: dict[int, tuple[str, dict[str, bool]]] = {
    22: ("yolov8", {}),
    28: ("yolov8", {"p2": True}),
    23: ("yolo11", {}),
    29: ("yolo11", {"p2": True}),
    21: ("yolo12", {}),
    27: ("yolo12", {"p2": True}),
}
_CLASSES = re.compile(r"model\.(\d+)\.cv3\.0\.2\.bias")
# Blocks whose parts only have other names.
_RENAMED: dict[type[nn.Module], dict[str, str]] = {
    SPPF: {"cv1": "entry", "cv2": "exit"},
    Bottleneck: {"cv1": "first", "cv2": "second"},
    C3k: {"cv1": "entry.branches.0", "cv2": "entry.branches.1", "cv3": "exit", "m": "chain"},
    PSABlock: {"attn": "attention", "ffn.0": "expand", "ffn.1": "contract"},
    AreaBlock: {"attn": "attention", "mlp.0": "expand", "mlp.1": "contract"},
}


def from_yolo(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A file's state dict under our names, for `Detector.load_state_dict`; see `layout.from_file`."""
    return from_file(state, entries(architecture), architecture)


def to_yolo(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Our state dict (unfused) under the file's names and in its order: the inverse of `from_yolo`."""
    return to_file(state, entries(architecture))


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network that a state dict of this naming belongs to, from its keys and shapes; None where it is another."""
    heads = {int(found[1]): len(tensor) for key, tensor in state.items() if (found := _CLASSES.fullmatch(key))}
    stem = state.get("model.0.conv.weight")
    if len(heads) != 1 or stem is None or next(iter(heads)) not in _HEAD_AT:
        return None
    (number, classes), *_ = heads.items()
    named, options = _HEAD_AT[number]
    family = next(one for one in zoo.families() if one.name == named)
    for size, scale in family.sizes.items():
        architecture = Architecture(named, size, classes, dict(options))
        if scale.channels(64) == len(stem) and fits(state, entries(architecture), architecture):
            return architecture
    return None


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order."""
    for number, (name, module) in _layers(architecture).items():
        yield from _walk(module, f"model.{number}", name)


def _layers(architecture: Architecture) -> dict[int, tuple[str, nn.Module]]:
    """The file's layer numbers: stem 0, then each stage, then the neck's steps with up-sampling and joins counted."""
    detector = plain_network(
        architecture, "a released YOLOv8, YOLO11 or YOLO12", backbone=CSPBackbone, neck=PAFPN, head=AnchorFreeHead
    )
    neck, layers = detector.neck, dict(enumerate(csp_layers(cast(CSPBackbone, detector.backbone))))
    number = len(layers)
    for level, step in cast(nn.ModuleDict, neck.top_down).items():
        layers[number + 2] = (f"neck.top_down.{level}.block", cast(nn.Module, step.block))
        number += 3
    for level, step in cast(nn.ModuleDict, neck.bottom_up).items():
        layers[number] = (f"neck.bottom_up.{level}.down", cast(nn.Module, step.down))
        layers[number + 2] = (f"neck.bottom_up.{level}.block", cast(nn.Module, step.block))
        number += 3
    layers[number] = ("head", detector.head)
    return layers


def _walk(module: nn.Module, key: str, name: str) -> Iterator[Entry]:
    """Tensors of one of our modules (at `name`), under the file's `key`, in the file's order."""
    if isinstance(module, Conv):
        yield from conv_entries(key, (name,))
    elif isinstance(module, nn.Conv2d):
        yield from affine_entries(key, name)
    elif type(module) in _RENAMED:
        yield from _parts(module, key, name, _RENAMED[type(module)])
    elif isinstance(module, Attention | AreaAttention):
        yield from _attention(module, key, name)
    elif isinstance(module, AnchorFreeHead):
        yield from _head(module, key, name)
    elif isinstance(module, C2f | C3k2 | C2PSA):
        yield from _fork(module.entry, f"{key}.cv1", name)
        yield from _parts(module, key, name, {"cv2": "exit", "m": "units"})
    elif isinstance(module, A2C2f):
        if module.scale is not None:
            yield Entry(f"{key}.gamma", (f"{name}.scale",))
        yield from _parts(module, key, name, {"cv1": "entry", "cv2": "exit", "m": "units"})
    elif isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        for i, (part, child) in enumerate(module.named_children()):
            yield from _walk(child, f"{key}.{i}", f"{name}.{part}")
    else:
        raise FineSpotError(f"{name} is a {type(module).__name__}, which files of this kind do not hold")


def _parts(module: nn.Module, key: str, name: str, names: Mapping[str, str]) -> Iterator[Entry]:
    for theirs, ours in names.items():
        yield from _walk(module.get_submodule(ours), f"{key}.{theirs}", f"{name}.{ours}")


def _fork(fork: Fork, key: str, name: str) -> Iterator[Entry]:
    rows = tuple(torch.arange(sum(fork.widths), device="cpu").split(fork.widths))
    yield from conv_entries(key, tuple(f"{name}.entry.branches.{i}" for i in range(len(rows))), rows)


def _attention(module: Attention | AreaAttention, key: str, name: str) -> Iterator[Entry]:
    """The file's rows run head by head: the head's query, key, value."""
    per_head = [width // module.heads for width in module.entry.widths]
    table = torch.arange(sum(module.entry.widths), device="cpu").reshape(module.heads, -1)
    rows = tuple(part.reshape(-1) for part in table.split(per_head, dim=1))
    yield from conv_entries(f"{key}.qkv", tuple(f"{name}.entry.branches.{i}" for i in range(3)), rows)
    yield from _parts(module, key, name, {"proj": "project", "pe": "position"})


def _head(head: AnchorFreeHead, key: str, name: str) -> Iterator[Entry]:
    yield from _parts(head, key, name, {"cv2": "box_branches", "cv3": "class_branches"})
    yield Entry(f"{key}.dfl.conv.weight", (f"{name}.bins",), shape=(1, -1, 1, 1))
