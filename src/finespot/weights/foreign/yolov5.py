"""State dicts of YOLOv5 files, releases 5.0 to 7.0 (`model.<i>...`), to ours and back.

The layer numbers, part names and shapes are facts of the published files. Besides names, rows change: their head has
one convolution a level, anchor by anchor (x, y, w, h, objectness, classes), ours has three. Their buffers `anchors`
(in strides) and, in release 5, `anchor_grid` (in pixels) are our architecture's option `anchors`; see `constants`.
Pictures are RGB in 0..1 in the middle of the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import AnchorBasedHead
from finespot.nn.heads.anchor_based import AnchorHead, default_anchors
from finespot.nn.layers import SPPF, Conv, CrossStage, ResidualPair
from finespot.nn.necks import LateralPAFPN
from finespot.structures import Architecture, Level
from finespot.weights.foreign.layout import Entry, conv_entries, csp_layers, from_file, plain_network, to_file

# Families of this naming.
FAMILIES = ("yolov5",)

_PARTS: dict[type[nn.Module], dict[str, str]] = {
    CrossStage: {"cv1": "entry.branches.0", "cv2": "entry.branches.1", "cv3": "exit", "m": "chain"},
    ResidualPair: {"cv1": "first", "cv2": "second"},
    SPPF: {"cv1": "entry", "cv2": "exit"},
}
_BOX = 4
_STEMS = {5: "model.0.conv.conv.weight", 6: "model.0.conv.weight"}
# The head's layer number by its number of levels.
_HEAD_AT = {3: 24, 4: 31}
_ANCHORS = re.compile(r"model\.(\d+)\.anchors")


def from_yolov5(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """A file's state dict under our names, for `Detector.load_state_dict`; see `layout.from_file`.

    Raises
    ------
    FineSpotError
        As `layout.from_file`; or the file has other anchors than the architecture.
    """
    expected = constants(architecture)
    for key, anchors in expected.items():
        given = state.get(key)
        if given is not None and not (given.shape == anchors.shape and torch.allclose(given.float(), anchors)):
            raise FineSpotError(
                f"expected the anchors of {zoo.name_of(architecture)} but got others",
                where=key,
                hint="take the architecture that `recognize` finds, whose option anchors holds them",
            )
    return from_file(state, entries(architecture), architecture, spare=expected)


def to_yolov5(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Our state dict (unfused) under the file's names: the inverse of `from_yolov5`, with the file's constants."""
    return {**constants(architecture), **to_file(state, entries(architecture))}


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file but its constants, in its order."""
    for number, (name, module) in layers_of(_plain(architecture)).items():
        if isinstance(module, AnchorBasedHead):
            yield from _head(module, f"model.{number}", name)
        else:
            yield from walk(module, f"model.{number}", name)


def constants(architecture: Architecture) -> dict[str, Tensor]:
    """Tensors of the file that ours holds as an option: the anchors, in strides; in release 5 in pixels too."""
    detector = _plain(architecture)
    key = f"model.{max(layers_of(detector))}"
    return anchor_buffers(cast(AnchorHead, detector.head), key, in_pixels=architecture.options.get("release") == 5)


def anchor_buffers(head: AnchorHead, key: str, *, in_pixels: bool) -> dict[str, Tensor]:
    """The anchors of a head as the file's layer `key` holds them: in strides, and maybe in pixels too."""
    sizes = torch.tensor([list(one) for one in head.anchor_sizes or ()], dtype=torch.float32, device="cpu")
    strides = torch.tensor([level.stride for level in head.inputs], device="cpu")
    found = {f"{key}.anchors": sizes / strides.view(-1, 1, 1)}
    if in_pixels:
        found[f"{key}.anchor_grid"] = sizes.view(len(strides), 1, -1, 1, 1, 2)
    return found


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network that a state dict of this naming is of, or None where it is something else.

    Anchors that are not the usual ones of their strides become the option `anchors`.
    """
    numbers = [int(found[1]) for key in state if (found := _ANCHORS.fullmatch(key))]
    releases = [release for release, key in _STEMS.items() if key in state]
    first = f"model.{numbers[0]}.m.0.weight" if numbers else ""
    if len(numbers) != 1 or not releases or first not in state:
        return None
    anchors = state[f"model.{numbers[0]}.anchors"].detach().cpu().float()
    # Networks with a level of stride 64 have four levels too, but more layers.
    if anchors.ndim != 3 or _HEAD_AT.get(len(anchors)) != numbers[0]:
        return None
    options: dict[str, object] = {"p2": True} if len(anchors) == 4 else {}
    if releases[0] == 5:
        options["release"] = 5
    options.update(anchor_option(anchors, (4, 8, 16, 32) if len(anchors) == 4 else (8, 16, 32)))
    classes = len(state[first]) // anchors.shape[1] - _BOX - 1
    width = len(state[_STEMS[releases[0]]])
    for size, scale in zoo.YOLOV5.sizes.items():
        if scale.channels(64) == width and classes >= 1:
            return Architecture("yolov5", size, classes, options)
    return None


def anchor_option(anchors: Tensor, strides: Sequence[int]) -> dict[str, object]:
    """The option that a file's anchors (L, A, 2), in strides, are; none where they are the usual ones."""
    sizes = (anchors * torch.tensor(strides).view(-1, 1, 1)).tolist()
    usual = [[list(pair) for pair in one] for one in default_anchors([Level(1, stride) for stride in strides])]
    return {} if sizes == usual else {"anchors": sizes}


def _plain(architecture: Architecture) -> zoo.Detector:
    return plain_network(
        architecture, "a released YOLOv5", backbone=CSPBackbone, neck=LateralPAFPN, head=AnchorBasedHead
    )


def layers_of(detector: zoo.Detector) -> dict[int, tuple[str, nn.Module]]:
    """Name and module of each of the file's layers, by its number: stem 0, then each stage, then the neck's steps with
    up-sampling and joins counted, then the head.
    """
    neck, layers = detector.neck, dict(enumerate(csp_layers(cast(CSPBackbone, detector.backbone))))
    number = len(layers)
    laterals, downward = cast(nn.ModuleDict, neck.lateral), cast(nn.ModuleDict, neck.top_down)
    for (coarse, lateral), (fine, step) in zip(laterals.items(), downward.items()):
        layers[number] = (f"neck.lateral.{coarse}", lateral)
        layers[number + 3] = (f"neck.top_down.{fine}.block", cast(nn.Module, step.block))
        number += 4
    for level, step in cast(nn.ModuleDict, neck.bottom_up).items():
        layers[number] = (f"neck.bottom_up.{level}.down", cast(nn.Module, step.down))
        layers[number + 2] = (f"neck.bottom_up.{level}.block", cast(nn.Module, step.block))
        number += 3
    layers[number] = ("head", detector.head)
    return layers


def walk(module: nn.Module, key: str, name: str) -> Iterator[Entry]:
    """Tensors of one of our modules (at `name`), under the file's `key`, in the file's order."""
    if isinstance(module, Conv):
        yield from conv_entries(key, (name,))
    elif type(module) in _PARTS:
        for theirs, ours in _PARTS[type(module)].items():
            yield from walk(module.get_submodule(ours), f"{key}.{theirs}", f"{name}.{ours}")
    elif name == "backbone.stem":  # of release 5: rearranged, then convolved
        yield from walk(module.get_submodule("conv"), f"{key}.conv", f"{name}.conv")
    elif isinstance(module, nn.Sequential):
        for i, child in enumerate(module):
            yield from walk(child, f"{key}.{i}", f"{name}.{i}")
    else:
        raise FineSpotError(f"{name} is a {type(module).__name__}, which files of this kind do not hold")


def _head(head: AnchorBasedHead, key: str, name: str) -> Iterator[Entry]:
    """The file's rows run anchor by anchor: the anchor's box, objectness, classes."""
    table = torch.arange(head.class_repeats * (_BOX + 1 + head.classes), device="cpu").view(head.class_repeats, -1)
    rows = tuple(part.reshape(-1) for part in table.split([_BOX, 1, head.classes], dim=1))
    branches = ("box_branches", "objectness_branches", "class_branches")
    for i, level in enumerate(head.level_names):
        for part in ("weight", "bias"):
            yield Entry(f"{key}.m.{i}.{part}", tuple(f"{name}.{branch}.{level}.{part}" for branch in branches), rows)
