"""YOLOX (2021): CSP backbone with a space-to-depth stem, a PAFPN neck with narrowed maps, a decoupled head.

After "YOLOX: Exceeding YOLO Series in 2021" and the layer table of its release (parameter counts agree to the unit).
The smallest size separates its 3x3 convolutions, except stem and head stems. Pictures are 0..255 without mean; the
original reads them as BGR, ours are RGB. The P2 variant does not exist there and is ours: one more step each way to a
stride-4 level of half the channels, with head branches of that width; all else is as it was.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 with SPP
                           |           |            |            |
    top down              p2*  <----   p3   <----   p4   <-------+          * P2 variant only
    bottom up             p2*  ---->   p3   ---->   p4   ---->   p5
                           |           |            |            |
    head                 stride 4*   stride 8    stride 16    stride 32
"""

from __future__ import annotations

from torch import nn

from finespot.nn.backbones import CSPBackbone
from finespot.nn.layers import SPPF, Conv, CrossStage, ResidualPair, SpaceToDepth, named, separable
from finespot.registry import register
from finespot.structures import Architecture, Normalization
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, neck_of, relay_of

SIZES = {
    "nano": Scale(depth=0.33, width=0.250, max_channels=1024),
    "tiny": Scale(depth=0.33, width=0.375, max_channels=1024),
    "s": Scale(depth=0.33, width=0.500, max_channels=1024),
    "m": Scale(depth=0.67, width=0.750, max_channels=1024),
    "l": Scale(depth=1.00, width=1.000, max_channels=1024),
    "x": Scale(depth=1.33, width=1.250, max_channels=1024),
}
DEPTHWISE = ("nano",)


def build(architecture: Architecture, scale: Scale) -> Detector:
    """YOLOX of a size; option: p2."""
    p2 = flag_of(architecture, "p2")
    depthwise = architecture.size in DEPTHWISE
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    n = scale.repeats(3)
    strides = (4, 8, 16, 32) if p2 else (8, 16, 32)

    def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Module:
        return separable(c_in, c_out, 3, stride) if depthwise else Conv(c_in, c_out, 3, stride)

    def down(c_in: int, c_out: int) -> nn.Module:
        return conv(c_in, c_out, stride=2)

    def stage(c_in: int, c_out: int, repeats: int) -> nn.Module:
        return named(down=down(c_in, c_out), block=CrossStage(c_out, c_out, added, repeats))

    def added(channels: int) -> nn.Module:
        return ResidualPair(Conv(channels, channels), conv(channels, channels), shortcut=True)

    def plain(channels: int) -> nn.Module:
        return ResidualPair(Conv(channels, channels), conv(channels, channels), shortcut=False)

    def block(c_in: int, c_out: int) -> nn.Module:
        return CrossStage(c_in, c_out, plain, n)

    def own_backbone() -> nn.Module:
        return CSPBackbone(
            stem=named(fold=SpaceToDepth(), conv=Conv(12, c1, 3)),
            stages=(
                stage(c1, c2, n),
                stage(c2, c3, 3 * n),
                stage(c3, c4, 3 * n),
                named(down=down(c4, c5), pool=SPPF(c5, c5), block=block(c5, c5)),
            ),
            widths=(c2, c3, c4, c5),
            strides=strides,
        )

    widths = (c2, c3, c4, c5) if p2 else (c3, c4, c5)
    backbone = backbone_of(architecture, own_backbone, strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "lateral_pafpn", relay or backbone, widths=widths, block=block, down=down)
    head = head_of(architecture, "decoupled", neck, width=c3, depthwise=depthwise)
    return Detector(backbone, relay, neck, head, architecture)


YOLOX = register("family", "yolox")(
    Family(
        "yolox",
        SIZES,
        build,
        {"": {}, "-p2": {"p2": True}},
        options=("p2",),
        separator="-",
        normalization=Normalization(std=(1 / 255, 1 / 255, 1 / 255)),
    )
)
