"""LRS-DETR (2025): RT-DETR with attention in its backbone, pixels of stride 4 in its pyramid, attention in windows.

After the released code and its page (there is no paper; parameter counts agree to the unit). One size, b. The variant
`published` is the network as it was released: with the convolution of the frequency gate that never runs, with class
scores that start at the probability which the released code gives for the number of classes, 0.01 for 80 but 0.36 for
10, and, fused, with the 15 batch norms that its fusing passes by. What differs besides is told where it stands: maps of
any size (`sparse_attention`), no first transform (`omni_kernel`), anchors, selection and denoising of RT-DETR as they
are in `queries` and `denoising`. The P2 variant does not exist there: a level of stride 4 more, for pyramid and
decoder.

    picture   stem + C2f /4     C2f /8      DEF block /16    DEF block /32
                   |              |             | 1x1            | 1x1
                   |              |             |          DPRA: windows
    top down       |              |            p4    <----      p5
                   +- SPD --->   p3   <----    p4                           joined, then omni-kernels
    bottom up                    p3   ---->    p4    ---->      p5
                                  +-------------+----------------+
    head                 RT-DETR's, 3 layers: the best cells become queries
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finespot.nn.backbones import DFENet
from finespot.nn.heads.queries import PRIOR
from finespot.nn.layers import YOLO_NORM
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, backbone_of, flag_of, head_of, neck_of, refuse_idle, relay_of


@dataclass(frozen=True)
class LRSDETRSize:
    """One size: width of pyramid and decoder's inputs, feed-forward width of the encoder, decoder layers."""

    width: int
    feedforward: int
    layers: int


SIZES = {"b": LRSDETRSize(width=256, feedforward=1024, layers=3)}
_STRIDES = (4, 8, 16, 32)


def build(architecture: Architecture, size: LRSDETRSize) -> Detector:
    """LRS-DETR of a size; options: published, p2, spectrum (fft or matrix), queries (300), denoising (100 queries, 0
    for none), layers (of the decoder).
    """
    refuse_idle(architecture, "published", "neck", "head")
    refuse_idle(architecture, "p2", "neck")
    options = architecture.options
    published = flag_of(architecture, "published")
    backbone = backbone_of(architecture, lambda: DFENet(_STRIDES, published=published), _STRIDES)
    relay = relay_of(architecture, backbone)
    neck = neck_of(
        architecture,
        "sefp",
        relay or backbone,
        width=size.width,
        feedforward=size.feedforward,
        finest=flag_of(architecture, "p2"),
        spectrum=options.get("spectrum", "fft"),
        keep_unused=published,
    )
    head = head_of(
        architecture,
        "rtdetr",
        neck,
        queries=options.get("queries", 300),
        denoising=options.get("denoising", 100),
        layers=options.get("layers", size.layers),
        prior=published_prior(architecture.classes) if published else PRIOR,
        norm=YOLO_NORM,
        folds=not published,
    )
    return Detector(backbone, relay, neck, head, architecture)


def published_prior(classes: int) -> float:
    """The probability at which class scores start in the released code: its logit grows with the number of classes."""
    return 1 / (1 + math.exp(math.log(1 / PRIOR - 1) * classes / 80))


LRSDETR = register("family", "lrs-detr")(
    Family(
        "lrs-detr",
        SIZES,
        build,
        {"": {}, "-published": {"published": True}, "-p2": {"p2": True}},
        options=("published", "p2", "spectrum", "queries", "denoising", "layers"),
        separator="-",
    )
)
