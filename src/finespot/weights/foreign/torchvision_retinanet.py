"""State dicts of torchvision's RetinaNet (ResNet-50, FPN; both versions) to ours and back.

The names are facts of the published files. Files that were saved with frozen batch norm lack its counters. The
official first version was trained with its eps at 0 and has 91 classes, number 0 unused; whoever reads it names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import cast

from torch import Tensor, nn

from finespot.nn.backbones import ResNet
from finespot.nn.heads import RetinaHead
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.nn.necks import FPN
from finespot.structures import Architecture
from finespot.weights.foreign.layout import Entry, affine_entries, plain_network
from finespot.weights.foreign.resnet import resnet_depth, resnet_entries
from finespot.zoo.retinanet import IMAGENET

# The picture lies in the top left corner; the original pads with zeros after normalization.
FIT = "corner"
NORMALIZATION = IMAGENET
OFFICIAL_CLASSES = 91

_CLASSIFY = "head.classification_head.cls_logits.weight"
_COUNTER = "backbone.body.bn1.num_batches_tracked"
_GROUP_NORM = "head.classification_head.conv.0.1.weight"
_OLD_PYRAMID = re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)")
_OLD_TOWER = re.compile(r"(head\.(?:classification|regression)_head\.conv)\.([0246])\.(weight|bias)")


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order, under the newer names (see `renamed`)."""
    detector = plain_network(
        architecture, "one of torchvision's RetinaNets", backbone=ResNet, neck=FPN, head=RetinaHead
    )
    backbone, neck, head = detector.backbone, detector.neck, detector.head
    yield from resnet_entries(cast(ResNet, backbone), "backbone.body", "backbone")
    for theirs, ours in (("inner_blocks", "laterals"), ("layer_blocks", "outputs")):
        for i, level in enumerate(getattr(neck, ours)):
            yield from affine_entries(f"backbone.fpn.{theirs}.{i}.0", f"neck.{ours}.{level}")
    for level in cast(FPN, neck).extras:
        yield from affine_entries(f"backbone.fpn.extra_blocks.{level}", f"neck.extras.{level}")
    for key, tower, last, predict in (
        ("head.classification_head", "class_tower", "cls_logits", "classify"),
        ("head.regression_head", "box_tower", "bbox_reg", "regress"),
    ):
        for i, step in enumerate(getattr(head, tower)):
            yield from _step(step, f"{key}.conv.{i}", f"head.{tower}.{i}")
        yield from affine_entries(f"{key}.{last}", f"head.{predict}")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the newer names: files of torchvision before 0.14 name pyramid and towers otherwise."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        new = _OLD_PYRAMID.sub(r"\1.0.\2", key) if _OLD_PYRAMID.fullmatch(key) else key
        tower = _OLD_TOWER.fullmatch(key)
        if tower and _is_old_tower(state):
            new = f"{tower[1]}.{int(tower[2]) // 2}.0.{tower[3]}"
        found[new] = value
    return found


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network of a state dict under the newer or the older names, or None where it is none of torchvision's.

    A first version of 91 classes and frozen batch norm is taken for the official one, whose eps is 0.
    """
    if _CLASSIFY not in state or resnet_depth(state, "backbone.body") != 50:
        return None
    classes = state[_CLASSIFY].shape[0] // ANCHORS
    options: dict[str, object] = {"form": "v2"} if _GROUP_NORM in state else {}
    if not options and _COUNTER not in state and classes == OFFICIAL_CLASSES:
        options = {"norm_eps": 0.0}
    return Architecture("retinanet", "r50", classes, options)


def _is_old_tower(state: Mapping[str, Tensor]) -> bool:
    return "head.classification_head.conv.6.weight" in state


def _step(step: nn.Module, key: str, name: str) -> Iterator[Entry]:
    """One step of a tower: a convolution with bias, or one without and group norm."""
    if isinstance(getattr(step, "norm", None), nn.GroupNorm):
        yield Entry(f"{key}.0.weight", (f"{name}.conv.weight",))
        yield from affine_entries(f"{key}.1", f"{name}.norm")
    else:
        yield from affine_entries(f"{key}.0", f"{name}.conv")
