"""YOLOv8 (2023): C2f blocks, SPPF, a PAFPN neck and an anchor-free, decoupled head.

There is no paper; sizes and layer table are those of the released models (parameter counts agree to the unit). The P2
variant adds a stride-4 level to neck and head.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 + SPPF
                           |           |            |            |
    top down              p2*  <----   p3   <----   p4   <-------+          * P2 variant only
    bottom up             p2*  ---->   p3   ---->   p4   ---->   p5
                           |           |            |            |
    head                 stride 4*   stride 8    stride 16    stride 32
"""

from __future__ import annotations

from torch import nn

from finespot.nn.backbones import CSPBackbone
from finespot.nn.layers import SPPF, C2f, Conv, named
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, neck_of, relay_of

SIZES = {
    "n": Scale(depth=0.33, width=0.25, max_channels=1024),
    "s": Scale(depth=0.33, width=0.50, max_channels=1024),
    "m": Scale(depth=0.67, width=0.75, max_channels=768),
    "l": Scale(depth=1.00, width=1.00, max_channels=512),
    "x": Scale(depth=1.00, width=1.25, max_channels=512),
}


def build(architecture: Architecture, scale: Scale) -> Detector:
    """YOLOv8 of a size; option: p2."""
    p2 = flag_of(architecture, "p2")
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    few, many = scale.repeats(3), scale.repeats(6)
    strides = (4, 8, 16, 32) if p2 else (8, 16, 32)

    def own_backbone() -> nn.Module:
        return CSPBackbone(
            stem=Conv(3, c1, 3, 2),
            stages=(
                named(down=Conv(c1, c2, 3, 2), block=C2f(c2, c2, few, shortcut=True)),
                named(down=Conv(c2, c3, 3, 2), block=C2f(c3, c3, many, shortcut=True)),
                named(down=Conv(c3, c4, 3, 2), block=C2f(c4, c4, many, shortcut=True)),
                named(down=Conv(c4, c5, 3, 2), block=C2f(c5, c5, few, shortcut=True), pool=SPPF(c5, c5)),
            ),
            widths=(c2, c3, c4, c5),
            strides=strides,
        )

    def block(c_in: int, c_out: int) -> nn.Module:
        return C2f(c_in, c_out, few, shortcut=False)

    widths = (c2, c3, c4, c5) if p2 else (c3, c4, c5)
    backbone = backbone_of(architecture, own_backbone, strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "pafpn", relay or backbone, widths=widths, block=block)
    head = head_of(architecture, "anchor_free", neck, depthwise=False)
    return Detector(backbone, relay, neck, head, architecture)


YOLOV8 = register("family", "yolov8")(Family("yolov8", SIZES, build, {"": {}, "-p2": {"p2": True}}, options=("p2",)))
