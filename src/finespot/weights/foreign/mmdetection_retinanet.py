"""State dicts of mmdetection's RetinaNet (ResNet-50, FPN) to ours and back; its neck and head by themselves.

The names are facts of the published files (`state_dict` in them). Networks with other backbones have the same neck and
head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import ResNet
from finespot.nn.heads import RetinaHead
from finespot.nn.heads.retina_anchors import ANCHORS
from finespot.nn.layers import Conv
from finespot.nn.necks import FPN
from finespot.structures import Architecture
from finespot.weights.foreign.layout import Entry, affine_entries, conv_entries, plain_network
from finespot.weights.foreign.resnet import resnet_depth, resnet_entries
from finespot.zoo.retinanet import IMAGENET

# The picture lies in the top left corner; the original pads with zeros after normalization.
FIT = "corner"
NORMALIZATION = IMAGENET

_CLASSIFY = "bbox_head.retina_cls.weight"


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order."""
    detector = plain_network(
        architecture, "one of mmdetection's RetinaNets", backbone=ResNet, neck=FPN, head=RetinaHead
    )
    if architecture.options.get("form") != "mmdetection":
        raise FineSpotError(f"{zoo.name_of(architecture)} is not of mmdetection's form (form=mmdetection)")
    yield from resnet_entries(cast(ResNet, detector.backbone), "backbone", "backbone")
    yield from neck_and_head(detector)


def neck_and_head(detector: zoo.Detector) -> Iterator[Entry]:
    """The tensors of an FPN (with or without batch norm) and a RetinaNet head."""
    neck, head = cast(FPN, detector.neck), cast(RetinaHead, detector.head)
    for i, level in enumerate(neck.laterals):
        yield from _conv(neck.laterals[level], f"neck.lateral_convs.{i}", f"neck.laterals.{level}")
    outputs = [("outputs", level) for level in neck.outputs] + [("extras", level) for level in neck.extras]
    for i, (part, level) in enumerate(outputs):
        yield from _conv(getattr(neck, part)[level], f"neck.fpn_convs.{i}", f"neck.{part}.{level}")
    for key, tower in (("cls_convs", "class_tower"), ("reg_convs", "box_tower")):
        for i in range(len(getattr(head, tower))):
            yield from affine_entries(f"bbox_head.{key}.{i}.conv", f"head.{tower}.{i}.conv")
    yield from affine_entries("bbox_head.retina_cls", "head.classify")
    yield from affine_entries("bbox_head.retina_reg", "head.regress")


def classes_of(state: Mapping[str, Tensor]) -> int | None:
    """How many classes the RetinaNet head of a state dict has, or None where there is no such head."""
    return state[_CLASSIFY].shape[0] // ANCHORS if _CLASSIFY in state else None


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network of a state dict, or None where it is no plain RetinaNet of mmdetection's with ResNet-50."""
    classes = classes_of(state)
    if classes is None or resnet_depth(state, "backbone") != 50:
        return None
    return Architecture("retinanet", "r50", classes, {"form": "mmdetection"})


def _conv(module: object, key: str, name: str) -> Iterator[Entry]:
    return conv_entries(key, (name,)) if isinstance(module, Conv) else affine_entries(f"{key}.conv", name)
