"""RTMDet (2022): CSPNeXt backbone and neck with large depth-wise kernels, a head whose kernels all levels share.

After "RTMDet: An Empirical Study of Designing Real-Time Object Detectors" and the layer table of its release
(parameter counts agree to the unit). Units are a 3x3 convolution and a separable 5x5 one; the backbone weighs channels.
The option `exp` makes the head's distances exponents: on by default for l and x as in the recipes of mmdetection (off
for tiny, s and m); mmyolo never does, with the same shapes. Normalized by mean and deviation of ImageNet; the original
reads BGR, ours are RGB. The P2 variant does not exist there and is ours: one more step each way to a stride-4 level of
half the channels, brought to the width that all levels of the head have.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 with SPP
                           |           |            |            |
    top down              p2*  <----   p3   <----   p4   <-------+          * P2 variant only
    bottom up             p2*  ---->   p3   ---->   p4   ---->   p5
                           |           |            |            |
    head                 stride 4*   stride 8    stride 16    stride 32     one width, one set of kernels
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from finespot.nn.backbones import CSPBackbone
from finespot.nn.layers import SPPF, TORCH_NORM, Conv, CrossStage, ResidualPair, named, separable
from finespot.registry import register
from finespot.structures import Architecture, Normalization
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, neck_of, relay_of

SIZES = {
    "tiny": Scale(depth=0.167, width=0.375, max_channels=1024),
    "s": Scale(depth=0.330, width=0.500, max_channels=1024),
    "m": Scale(depth=0.670, width=0.750, max_channels=1024),
    "l": Scale(depth=1.000, width=1.000, max_channels=1024),
    "x": Scale(depth=1.330, width=1.250, max_channels=1024),
}
EXPONENTS = ("l", "x")
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def has_exponents(architecture: Architecture) -> bool:
    """Whether the head's distances are exponents: the option `exp`, or the size's default."""
    return flag_of(architecture, "exp", architecture.size in EXPONENTS)


def build(architecture: Architecture, scale: Scale) -> Detector:
    """RTMDet of a size; options: p2, exp."""
    strides = (4, 8, 16, 32) if flag_of(architecture, "p2") else (8, 16, 32)
    widths = tuple(scale.channels(32 * stride) for stride in strides)
    backbone = backbone_of(architecture, lambda: trunk(scale, strides), strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(
        architecture,
        "lateral_pafpn",
        relay or backbone,
        widths=widths,
        block=neck_block(scale),
        out_width=scale.channels(256),
        norm=TORCH_NORM,
    )
    head = head_of(architecture, "shared_conv", neck, exp=has_exponents(architecture), norm=TORCH_NORM)
    return Detector(backbone, relay, neck, head, architecture)


def trunk(scale: Scale, strides: tuple[int, ...]) -> CSPBackbone:
    """CSPNeXt."""
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    half = c1 // 2
    few, many = scale.repeats(3), scale.repeats(6)

    def weighed(channels: int, repeats: int, shortcut: bool = True) -> nn.Module:
        own = partial(_unit, shortcut=shortcut)
        return CrossStage(channels, channels, own, repeats, norm=TORCH_NORM, attention=True)

    return CSPBackbone(
        stem=named(first=_conv(3, half, 3, 2), second=_conv(half, half, 3), third=_conv(half, c1, 3)),
        stages=(
            named(down=_conv(c1, c2, 3, 2), block=weighed(c2, few)),
            named(down=_conv(c2, c3, 3, 2), block=weighed(c3, many)),
            named(down=_conv(c3, c4, 3, 2), block=weighed(c4, many)),
            named(
                down=_conv(c4, c5, 3, 2),
                pool=SPPF(c5, c5, norm=TORCH_NORM),
                block=weighed(c5, few, shortcut=False),
            ),
        ),
        widths=(c2, c3, c4, c5),
        strides=strides,
    )


def neck_block(scale: Scale) -> Callable[[int, int], nn.Module]:
    """What makes the block behind each join of the neck."""

    def block(c_in: int, c_out: int) -> nn.Module:
        return CrossStage(c_in, c_out, partial(_unit, shortcut=False), scale.repeats(3), norm=TORCH_NORM)

    return block


_conv = partial(Conv, norm=TORCH_NORM)


def _unit(channels: int, shortcut: bool) -> nn.Module:
    return ResidualPair(_conv(channels, channels, 3), separable(channels, channels, 5, norm=TORCH_NORM), shortcut)


RTMDET = register("family", "rtmdet")(
    Family(
        "rtmdet",
        SIZES,
        build,
        {"": {}, "-p2": {"p2": True}},
        options=("p2", "exp"),
        separator="-",
        normalization=Normalization(
            mean=(_MEAN[0] / 255, _MEAN[1] / 255, _MEAN[2] / 255),
            std=(_STD[0] / 255, _STD[1] / 255, _STD[2] / 255),
        ),
    )
)
