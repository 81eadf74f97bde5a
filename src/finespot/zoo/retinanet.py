"""RetinaNet with ResNet-50 and a feature pyramid: nine anchors a cell on five levels, focal loss.

After "Focal Loss for Dense Object Detection" (2017), in the two forms that torchvision publishes ("-v2" is the suffix
of the second) and in that of mmdetection (option `form=mmdetection`, for its weights).

    picture   stem /4   stage2 /4   stage3 /8   stage4 /16   stage5 /32
                                       |            |            |
    top down                          p3   <----   p4   <----   p5  ---->  p6 /64  ---->  p7 /128
                                       |            |            |            |              |
    head (shared)                  stride 8    stride 16    stride 32    stride 64      stride 128
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from finespot.errors import unknown
from finespot.nn.backbones import ResNet
from finespot.nn.layers.conv import TORCH_NORM
from finespot.registry import register
from finespot.structures import Architecture, Normalization
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, backbone_of, head_of, neck_of, refuse_idle, relay_of

# Size -> depth of the ResNet.
SIZES = {"r50": 50}
STRIDES = (8, 16, 32)
IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Form:
    """What the released forms differ in; see `FPN` and `RetinaHead`."""

    extra: str
    extra_relu: bool
    group_norm: bool
    whole_anchors: bool
    box_loss: str | None


FORMS = {
    "v1": Form(extra="neck", extra_relu=True, group_norm=False, whole_anchors=True, box_loss=None),
    "v2": Form(extra="backbone", extra_relu=True, group_norm=True, whole_anchors=True, box_loss="giou"),
    "mmdetection": Form(extra="backbone", extra_relu=False, group_norm=False, whole_anchors=False, box_loss=None),
}


def build(architecture: Architecture, depth: int) -> Detector:
    """RetinaNet of a size; options: form, norm_eps (of batch norm; 0.0 for torchvision's first COCO weights)."""
    name = architecture.options.get("form", "v1")
    if name not in FORMS:
        raise unknown("form of retinanet", str(name), FORMS)
    refuse_idle(architecture, "form", "neck", "head")
    form, norm_eps = FORMS[name], architecture.options.get("norm_eps", TORCH_NORM.eps)

    def own_backbone() -> nn.Module:
        return ResNet(depth, STRIDES, norm_eps)

    backbone = backbone_of(architecture, own_backbone, STRIDES, norm_eps=norm_eps)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "fpn", relay or backbone, extra=form.extra, extra_relu=form.extra_relu)
    head = head_of(
        architecture,
        "retina",
        neck,
        group_norm=form.group_norm,
        rounded=form.whole_anchors,
        spread=form.whole_anchors,
        box_loss=form.box_loss,
    )
    return Detector(backbone, relay, neck, head, architecture)


RETINANET = register("family", "retinanet")(
    Family(
        "retinanet",
        SIZES,
        build,
        {"": {}, "-v2": {"form": "v2"}},
        options=("form", "norm_eps"),
        separator="-",
        normalization=IMAGENET,
    )
)
