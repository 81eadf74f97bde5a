"""State dicts of ESOD's released files on YOLOv5 (`model.<i>...`) to ours and back.

The layer numbers, part names and shapes are facts of the published files. The host's layers are those of YOLOv5's
release 5 (see `yolov5`); after the fifth come the seeker's two and one without weights that cuts windows, so all that
follow have numbers higher by three. A file without these (their "vanilla" networks) has the relay None. The head has
names of its own; its buffers `anchors` and `anchor_grid` are our option `anchors`, `sparse_gird` (so spelled) is a
place for scratch. Pictures are RGB in 0..1 in the middle of the input.
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
from finespot.nn.heads import DecoupledAnchorHead
from finespot.nn.necks import LateralPAFPN
from finespot.nn.relays import Seeker
from finespot.structures import Architecture
from finespot.weights.foreign.layout import Entry, affine_entries, conv_entries, plain_network
from finespot.weights.foreign.yolov5 import anchor_buffers, anchor_option, layers_of, walk

_STRIDES = (8, 16, 32)
_STEM = "model.0.conv.conv.weight"
# The layers of the seeker, and how many there are with that which cuts windows.
_CONTEXT, _PREDICT, _INSERTED = 5, 6, 3
_HEAD = re.compile(r"model\.(\d+)\.m\.0\.cls_pred\.weight")
# The head's layer number without and with a seeker.
_VANILLA_HEAD = 24
_HEAD_CONVS = {"stem": "stems.{}", "cls_conv": "class_branches.{}.first", "reg_conv": "box_branches.{}"}
_HEAD_LAYERS = {
    "cls_pred": "class_branches.{}.predict",
    "reg_pred": "box_predictions.{}",
    "obj_pred": "objectness.{}",
}
_FORMS = {"model.5.conv.weight": None, "model.5.cv1.conv.weight": "seeker(form=pooled)"}


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file but its constants, in its order."""
    for number, (name, module) in _layers(_plain(architecture)).items():
        if isinstance(module, DecoupledAnchorHead):
            yield from _head(module, f"model.{number}", name)
        elif number == _PREDICT and name == "relay.predict":
            yield from affine_entries(f"model.{number}.m.0", name)
        else:
            yield from walk(module, f"model.{number}", name)


def constants(architecture: Architecture) -> dict[str, Tensor]:
    """Tensors of the file beside the weights: the anchors, which are an option of ours, in strides and in pixels; and a
    zero that keeps the place of a grid which their head makes anew in each call.
    """
    detector = _plain(architecture)
    key = f"model.{max(_layers(detector))}"
    anchors = anchor_buffers(cast(DecoupledAnchorHead, detector.head), key, in_pixels=True)
    return {**anchors, f"{key}.sparse_gird": torch.zeros(1, device="cpu")}


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """The network that a state dict of this naming is of, or None where it is something else.

    Anchors that are not the usual ones of their strides become the option `anchors`; the form of the seeker, or that
    there is none, the option `relay`.
    """
    heads = [int(found[1]) for key in state if (found := _HEAD.fullmatch(key))]
    if len(heads) != 1 or _STEM not in state or f"model.{heads[0]}.anchors" not in state:
        return None
    options: dict[str, object] = {}
    if heads[0] == _VANILLA_HEAD:
        options["relay"] = None
    elif heads[0] == _VANILLA_HEAD + _INSERTED and f"model.{_PREDICT}.m.0.weight" in state:
        forms = [form for key, form in _FORMS.items() if key in state]
        if len(forms) != 1:
            return None
        if forms[0] is not None:
            options["relay"] = forms[0]
    else:
        return None
    anchors = state[f"model.{heads[0]}.anchors"].detach().cpu().float()
    if anchors.ndim != 3 or len(anchors) != len(_STRIDES):
        return None
    options.update(anchor_option(anchors, _STRIDES))
    classes = len(state[f"model.{heads[0]}.m.0.cls_pred.weight"]) // anchors.shape[1]
    for size, scale in zoo.YOLOV5.sizes.items():
        if scale.channels(64) == len(state[_STEM]) and f"yolov5{size}" in zoo.ESOD.sizes and classes >= 1:
            return Architecture("esod", f"yolov5{size}", classes, options)
    return None


def _plain(architecture: Architecture) -> zoo.Detector:
    what = "a released ESOD"
    detector = plain_network(
        architecture, what, backbone=CSPBackbone, relay=Seeker | None, neck=LateralPAFPN, head=DecoupledAnchorHead
    )
    if isinstance(detector.relay, Seeker) and detector.relay.stride != _STRIDES[0]:
        raise FineSpotError(f"{zoo.name_of(architecture)} is not {what}, so no such file holds it")
    return detector


def _layers(detector: zoo.Detector) -> dict[int, tuple[str, nn.Module]]:
    """Name and module of each of the file's layers, by its number."""
    host = layers_of(detector)
    if detector.relay is None:
        return host
    found = {number: layer for number, layer in host.items() if number < _CONTEXT}
    for number, part in ((_CONTEXT, "context"), (_PREDICT, "predict")):
        found[number] = (f"relay.{part}", detector.relay.get_submodule(part))
    return {**found, **{number + _INSERTED: layer for number, layer in host.items() if number >= _CONTEXT}}


def _head(head: DecoupledAnchorHead, key: str, name: str) -> Iterator[Entry]:
    for i, level in enumerate(head.level_names):
        for theirs, ours in _HEAD_CONVS.items():
            yield from conv_entries(f"{key}.m.{i}.{theirs}", (f"{name}.{ours.format(level)}",))
        for theirs, ours in _HEAD_LAYERS.items():
            yield from affine_entries(f"{key}.m.{i}.{theirs}", f"{name}.{ours.format(level)}")
