"""State dicts of YOLOX as its release names them (`backbone.backbone.dark2...`, `head.stems...`), to ours and back.

Keys and shapes are facts of the published files. Besides names only the stem changes: the files read BGR, ours RGB, in
each of the four blocks of its input. Weights of the first release (0.0.1) have the same keys but want RGB with the
mean and deviation of ImageNet: nothing in a file tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import DecoupledHead
from finespot.nn.layers import SPPF, Conv, CrossStage
from finespot.nn.necks import LateralPAFPN
from finespot.structures import Architecture, Normalization
from finespot.weights.foreign.layout import Entry, affine_entries, conv_entries, plain_network
from finespot.zoo.yolox import DEPTHWISE, SIZES

# The picture lies in the top left corner of the input.
FIT = "corner"
NORMALIZATION: Normalization = zoo.YOLOX.normalization

_TRUNK = "backbone.backbone"
_FLIPPED = torch.tensor([3 * block + channel for block in range(4) for channel in (2, 1, 0)])
# The file's parts of the neck in its order, and ours.
_NECK = {
    "lateral_conv0": "lateral.p5",
    "C3_p4": "top_down.p4.block",
    "reduce_conv1": "lateral.p4",
    "C3_p3": "top_down.p3.block",
    "bu_conv2": "bottom_up.p4.down",
    "C3_n3": "bottom_up.p4.block",
    "bu_conv1": "bottom_up.p5.down",
    "C3_n4": "bottom_up.p5.block",
}
_LEVELS = ("p3", "p4", "p5")


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """Which YOLOX a state dict of this naming is, or None where it is none.

    Raises
    ------
    FineSpotError
        The naming is this one, the network none of the table.
    """
    stem, scores = state.get(f"{_TRUNK}.stem.conv.conv.weight"), state.get("head.cls_preds.0.weight")
    if stem is None or scores is None or "head.obj_preds.0.weight" not in state:
        return None
    width, first = stem.shape[0], f"{_TRUNK}.dark2.1.m."
    units = len({key.removeprefix(first).split(".")[0] for key in state if key.startswith(first)})
    depthwise = f"{_TRUNK}.dark2.0.dconv.conv.weight" in state
    for size, scale in SIZES.items():
        if (scale.channels(64), scale.repeats(3), size in DEPTHWISE) == (width, units, depthwise):
            return Architecture("yolox", size, scores.shape[0])
    raise FineSpotError(
        f"expected a YOLOX of the sizes {', '.join(SIZES)} but got one of {width} channels behind the stem"
    )


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order.

    Raises
    ------
    FineSpotError
        The network has a P2 level or parts of its own, which no such file has.
    """
    detector = plain_network(
        architecture, "a released YOLOX", backbone=CSPBackbone, neck=LateralPAFPN, head=DecoupledHead, levels=3
    )
    backbone, neck, head = detector.backbone, detector.neck, cast(DecoupledHead, detector.head)
    yield from conv_entries(f"{_TRUNK}.stem.conv", ("backbone.stem.conv",), columns=_FLIPPED)
    for stage in range(2, 6):
        parts = cast(nn.Module, getattr(backbone, f"stage{stage}")).named_children()
        for i, (part, module) in enumerate(parts):
            yield from _walk(module, f"{_TRUNK}.dark{stage}.{i}", f"backbone.stage{stage}.{part}")
    for theirs, ours in _NECK.items():
        yield from _walk(neck.get_submodule(ours), f"backbone.{theirs}", f"neck.{ours}")
    for theirs, ours in (("cls_convs", "class_branches"), ("reg_convs", "box_branches")):
        for number, level in enumerate(_LEVELS):
            for i, part in enumerate(("first", "second")):
                name = f"{ours}.{level}.{part}"
                yield from _walk(head.get_submodule(name), f"head.{theirs}.{number}.{i}", f"head.{name}")
    predictions = {
        "cls_preds": "class_branches.{}.predict",
        "reg_preds": "box_predictions.{}",
        "obj_preds": "objectness.{}",
    }
    for theirs, ours in predictions.items():
        for number, level in enumerate(_LEVELS):
            yield from affine_entries(f"head.{theirs}.{number}", f"head.{ours.format(level)}")
    for number, level in enumerate(_LEVELS):
        yield from conv_entries(f"head.stems.{number}", (f"head.stems.{level}",))


def _walk(module: nn.Module, key: str, name: str) -> Iterator[Entry]:
    """Tensors of one of our modules (at `name`), under the file's `key`, in the file's order."""
    if isinstance(module, Conv):
        yield from conv_entries(key, (name,))
    elif isinstance(module, CrossStage):
        for theirs, ours in {"conv1": "entry.branches.0", "conv2": "entry.branches.1", "conv3": "exit"}.items():
            yield from conv_entries(f"{key}.{theirs}", (f"{name}.{ours}",))
        for i, pair in enumerate(module.chain):
            for theirs, ours in {"conv1": "first", "conv2": "second"}.items():
                yield from _walk(pair.get_submodule(ours), f"{key}.m.{i}.{theirs}", f"{name}.chain.{i}.{ours}")
    else:  # a separable convolution, or the pools of several sides
        parts = (
            {"conv1": "entry", "conv2": "exit"} if isinstance(module, SPPF) else {"dconv": "spatial", "pconv": "mix"}
        )
        for theirs, ours in parts.items():
            yield from conv_entries(f"{key}.{theirs}", (f"{name}.{ours}",))
