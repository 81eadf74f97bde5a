"""RT-DETR (2023): a convolutional backbone, attention on the coarsest map only, a decoder of queries, no suppression.

After "DETRs Beat YOLOs on Real-time Object Detection" and its authors' released models (parameter counts agree to the
unit): ResNet-vd in the sizes r18 to r101, HGNetV2 in l and x. The P2 variant does not exist there: it adds the
stride-4 stage of the backbone, one more step each way in the encoder, and a fourth level to query selection and
decoder.

    picture   stem + stage /4    stage /8    stage /16    stage /32
                   | 1x1           | 1x1        | 1x1        | 1x1
                   |               |            |       self attention
    top down      p2*   <----     p3   <----   p4   <----   p5              * P2 variant only
    bottom up     p2*   ---->     p3   ---->   p4   ---->   p5
                   +---------------+-----+------+------------+
    head                   the best cells become queries
                   decoder layers: queries, then points of all levels
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from finespot.nn.backbones import HGNETV2_L, HGNETV2_X, HGNetV2, ResNetVD
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, backbone_of, flag_of, head_of, neck_of, relay_of


@dataclass(frozen=True)
class RTDETRSize:
    """One size: its backbone, width and feed-forward width of the encoder, expansion of its blocks, decoder layers."""

    backbone: Callable[..., nn.Module]
    width: int
    feedforward: int
    expansion: float
    layers: int


SIZES = {
    "r18": RTDETRSize(partial(ResNetVD, (2, 2, 2, 2), bottleneck=False), 256, 1024, 0.5, layers=3),
    "r34": RTDETRSize(partial(ResNetVD, (3, 4, 6, 3), bottleneck=False), 256, 1024, 0.5, layers=4),
    "r50": RTDETRSize(partial(ResNetVD, (3, 4, 6, 3)), 256, 1024, 1.0, layers=6),
    "r101": RTDETRSize(partial(ResNetVD, (3, 4, 23, 3)), 384, 2048, 1.0, layers=6),
    "l": RTDETRSize(partial(HGNetV2, HGNETV2_L), 256, 1024, 1.0, layers=6),
    "x": RTDETRSize(partial(HGNetV2, HGNETV2_X), 384, 2048, 1.0, layers=6),
}


def build(architecture: Architecture, size: RTDETRSize) -> Detector:
    """RT-DETR of a size; options: p2, queries (300), denoising (100 queries, 0 for none), layers (of the decoder)."""
    options = architecture.options
    strides = (4, 8, 16, 32) if flag_of(architecture, "p2") else (8, 16, 32)
    backbone = backbone_of(architecture, partial(size.backbone, strides=strides), strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(
        architecture,
        "hybrid_encoder",
        relay or backbone,
        width=size.width,
        feedforward=size.feedforward,
        expansion=size.expansion,
    )
    head = head_of(
        architecture,
        "rtdetr",
        neck,
        queries=options.get("queries", 300),
        denoising=options.get("denoising", 100),
        layers=options.get("layers", size.layers),
    )
    return Detector(backbone, relay, neck, head, architecture)


RTDETR = register("family", "rtdetr")(
    Family(
        "rtdetr",
        SIZES,
        build,
        {"": {}, "-p2": {"p2": True}},
        options=("p2", "queries", "denoising", "layers"),
        separator="-",
    )
)
