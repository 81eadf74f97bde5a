"""YOLO11 (2024): C3k2 blocks, SPPF, position-sensitive attention, a PAFPN neck, a head with depth-wise class branch.

There is no paper; sizes and layer table are those of the released models (parameter counts agree to the unit). The P2
variant does not exist there: it adds a stride-4 level as YOLOv8's does.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 + SPPF + C2PSA
                           |           |            |            |
    top down              p2*  <----   p3   <----   p4   <-------+          * P2 variant only
    bottom up             p2*  ---->   p3   ---->   p4   ---->   p5
                           |           |            |            |
    head                 stride 4*   stride 8    stride 16    stride 32
"""

from __future__ import annotations

from torch import nn

from finespot.nn.backbones import CSPBackbone
from finespot.nn.layers import C2PSA, SPPF, C3k2, Conv, named
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, neck_of, relay_of

SIZES = {
    "n": Scale(depth=0.50, width=0.25, max_channels=1024),
    "s": Scale(depth=0.50, width=0.50, max_channels=1024),
    "m": Scale(depth=0.50, width=1.00, max_channels=512),
    "l": Scale(depth=1.00, width=1.00, max_channels=512),
    "x": Scale(depth=1.00, width=1.50, max_channels=512),
}
# The larger sizes nest C3k blocks in every C3k2, the smaller ones only where the map is coarse.
NESTED_EVERYWHERE = ("m", "l", "x")


def build(architecture: Architecture, scale: Scale) -> Detector:
    """YOLO11 of a size; option: p2."""
    p2 = flag_of(architecture, "p2")
    nested = architecture.size in NESTED_EVERYWHERE
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    n = scale.repeats(2)
    strides = (4, 8, 16, 32) if p2 else (8, 16, 32)

    def own_backbone() -> nn.Module:
        return CSPBackbone(
            stem=Conv(3, c1, 3, 2),
            stages=(
                named(down=Conv(c1, c2, 3, 2), block=C3k2(c2, c3, n, nested, expansion=0.25)),
                named(down=Conv(c3, c3, 3, 2), block=C3k2(c3, c4, n, nested, expansion=0.25)),
                named(down=Conv(c4, c4, 3, 2), block=C3k2(c4, c4, n, nested=True)),
                named(
                    down=Conv(c4, c5, 3, 2),
                    block=C3k2(c5, c5, n, nested=True),
                    pool=SPPF(c5, c5),
                    attention=C2PSA(c5, n),
                ),
            ),
            widths=(c3, c4, c4, c5),
            strides=strides,
        )

    def block(c_in: int, c_out: int) -> nn.Module:
        return C3k2(c_in, c_out, n, nested)

    def last_block(c_in: int, c_out: int) -> nn.Module:
        return C3k2(c_in, c_out, n, nested=True)

    widths = (c2, c3, c4, c5) if p2 else (c3, c4, c5)
    backbone = backbone_of(architecture, own_backbone, strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "pafpn", relay or backbone, widths=widths, block=block, last_block=last_block)
    head = head_of(architecture, "anchor_free", neck, depthwise=True)
    return Detector(backbone, relay, neck, head, architecture)


YOLO11 = register("family", "yolo11")(Family("yolo11", SIZES, build, {"": {}, "-p2": {"p2": True}}, options=("p2",)))
