"""YOLOv5 (2020): cross-stage blocks, a PAFPN neck with narrowed maps, a head with anchors and objectness.

There is no paper; sizes and layer table are those of releases 6 and 7 (parameter counts agree to the unit), with the
original head, not the anchor-free one that later packages put on this trunk. The P2 variant is the one released beside
them: a stride-4 level, whose block is single in all sizes; its usual anchors are ours (see `anchor_based`). "-v5" is
the layout of release 5.0, which has other weights: a space-to-depth stem, nine blocks in the third stage, pooling
before the last block; it has no size n.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 + SPPF
                           |           |            |            |
    top down              p2*  <----   p3   <----   p4   <-------+          * P2 variant only
    bottom up             p2*  ---->   p3   ---->   p4   ---->   p5
                           |           |            |            |
    head                 stride 4*   stride 8    stride 16    stride 32

The released recipes: SGD, lr 0.01 falling linearly over 300 epochs, validation with suppression at IoU 0.6. Sizes n and
s: to 0.01 of it, scale 0.5, gains box 0.05, cls 0.5, obj 1.0. Sizes m, l and x: to 0.1 of it, scale 0.9, mixup 0.1,
copy-paste 0.1, gains cls 0.3, obj 0.7.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.layers import SPPF, Conv, CrossStage, ResidualPair, SpaceToDepth, named
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, neck_of, refuse_idle, relay_of

SIZES = {
    "n": Scale(depth=0.33, width=0.25, max_channels=1024),
    "s": Scale(depth=0.33, width=0.50, max_channels=1024),
    "m": Scale(depth=0.67, width=0.75, max_channels=1024),
    "l": Scale(depth=1.00, width=1.00, max_channels=1024),
    "x": Scale(depth=1.33, width=1.25, max_channels=1024),
}
# The layouts: that of release 5.0, and that of releases 6 and 7.
RELEASES = (5, 6)
NOT_IN_FIVE = ("n",)
# Channels at width 1 of the levels of stride 8, 16 and 32.
FULL_WIDTHS = (256, 512, 1024)


def build(architecture: Architecture, scale: Scale) -> Detector:
    """YOLOv5 of a size; options: p2, release (5 or 6), anchors (a list of [width, height] in pixels for each level)."""
    p2, release = flag_of(architecture, "p2"), _release(architecture)
    refuse_idle(architecture, "release", "backbone")
    strides = (4, 8, 16, 32) if p2 else (8, 16, 32)
    c3, c4, c5 = (scale.channels(c) for c in FULL_WIDTHS)
    widths = (scale.channels(128), c3, c4, c5) if p2 else (c3, c4, c5)
    backbone = backbone_of(architecture, lambda: trunk(scale, release, strides), strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "lateral_pafpn", relay or backbone, widths=widths, block=neck_block(scale))
    head = head_of(architecture, "anchor_based", neck, anchors=architecture.options.get("anchors"))
    return Detector(backbone, relay, neck, head, architecture)


def trunk(scale: Scale, release: int, strides: tuple[int, ...], pool: int = 5) -> CSPBackbone:
    """The backbone of a release (5 or 6); `pool` is the side of the smallest pool before (behind) the last block."""
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, *FULL_WIDTHS))
    few = scale.repeats(3)

    def added(c: int) -> nn.Module:
        return ResidualPair(Conv(c, c), Conv(c, c, 3), shortcut=True)

    def stage(c_in: int, c_out: int, repeats: int) -> nn.Module:
        return named(down=Conv(c_in, c_out, 3, 2), block=CrossStage(c_out, c_out, added, repeats))

    if release == 5:
        stem: nn.Module = named(fold=SpaceToDepth(), conv=Conv(12, c1, 3))
        third = scale.repeats(9)
        last = named(down=Conv(c4, c5, 3, 2), pool=SPPF(c5, c5, pool), block=CrossStage(c5, c5, _plain, few))
    else:
        stem = Conv(3, c1, 6, 2, padding=2)
        third = scale.repeats(6)
        last = named(down=Conv(c4, c5, 3, 2), block=CrossStage(c5, c5, added, few), pool=SPPF(c5, c5, pool))
    return CSPBackbone(
        stem=stem,
        stages=(stage(c1, c2, few), stage(c2, c3, third), stage(c3, c4, scale.repeats(9)), last),
        widths=(c2, c3, c4, c5),
        strides=strides,
    )


def neck_block(scale: Scale) -> Callable[[int, int], nn.Module]:
    """What makes the block behind each join of the neck."""
    finest, few = scale.channels(128), scale.repeats(3)

    def block(c_in: int, c_out: int) -> nn.Module:
        # Only the level of stride 4 is so narrow.
        return CrossStage(c_in, c_out, _plain, 1 if c_out == finest else few)

    return block


def _plain(c: int) -> nn.Module:
    return ResidualPair(Conv(c, c), Conv(c, c, 3), shortcut=False)


def _release(architecture: Architecture) -> int:
    release = architecture.options.get("release", 6)
    if release not in RELEASES:
        raise FineSpotError(f"expected release 5 or 6 (which is 7's layout too) but got {release}", where="yolov5")
    if release == 5 and architecture.size in NOT_IN_FIVE:
        raise FineSpotError(
            f"release 5 has no size {architecture.size}", where="yolov5", hint="its smallest is s: yolov5s-v5"
        )
    return int(release)


YOLOV5 = register("family", "yolov5")(
    Family(
        "yolov5",
        SIZES,
        build,
        {"": {}, "-p2": {"p2": True}, "-v5": {"release": 5}},
        options=("p2", "release", "anchors"),
        missing=tuple(f"yolov5{size}-v5" for size in NOT_IN_FIVE),
    )
)
