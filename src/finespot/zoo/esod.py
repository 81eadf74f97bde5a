"""ESOD (IEEE TIP 34, 2025) on YOLOv5: a seeker after the first stages, a decoupled head with anchors.

"ESOD: Efficient Small Object Detection on High-Resolution Images". The host is YOLOv5 in the layout of its release 5
with smaller pools (3, 5, 7: the original runs the deeper stages on windows a few cells wide); head and loss are those
that the released code gives to all its hosts. Parameter counts agree with it to the unit. This is the dense form: the
whole picture goes through all layers, and the seeker learns and answers beside. What will run on windows is what
stands below the seeker.

    picture   stem /2   stage2 /4   stage3 /8 --------> stage4 /16   stage5 /32 + pools
                                       |                   |            |
    seeker                        13x13, 1x1 -> heat       |            |
    top down                          p3       <----      p4   <-------+
    bottom up                         p3       ---->      p4   ---->   p5
                                       |                   |            |
    head                           stride 8           stride 16    stride 32

The released recipe is in recipes/esod.yaml. The network for UAVDT has the relay "seeker(form=pooled)"; `relay=none` is
the same network without a seeker ("vanilla").
"""

from __future__ import annotations

from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo import yolov5
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, head_of, neck_of, relay_of

SIZES = {f"yolov5{size}": scale for size, scale in yolov5.SIZES.items() if size not in yolov5.NOT_IN_FIVE}
STRIDES = (8, 16, 32)
# The side of the smallest pool.
POOL = 3


def build(architecture: Architecture, scale: Scale) -> Detector:
    """ESOD of a size; option: anchors (a list of [width, height] in pixels for each level)."""
    widths = tuple(scale.channels(c) for c in yolov5.FULL_WIDTHS)
    backbone = backbone_of(architecture, lambda: yolov5.trunk(scale, 5, STRIDES, POOL), STRIDES)
    relay = relay_of(architecture, backbone, "seeker")
    block = yolov5.neck_block(scale)
    neck = neck_of(architecture, "lateral_pafpn", relay or backbone, widths=widths, block=block)
    head = head_of(architecture, "decoupled_anchor", neck, anchors=architecture.options.get("anchors"))
    return Detector(backbone, relay, neck, head, architecture)


ESOD = register("family", "esod")(Family("esod", SIZES, build, options=("anchors",), separator="-"))
