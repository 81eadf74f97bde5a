"""GPViT with its detection adapter, a feature pyramid and a RetinaNet head, as its authors detect with it.

After "GPViT: A High Resolution Non-Hierarchical Vision Transformer with Group Propagation" (2022). Objects of a few
cells keep a map of stride 8 through all of the network.

    picture   transformer, stride 8 throughout
              adapter        p3 /8        p4 /16       p5 /32
                               |            |            |
    top down                  p3   <----   p4   <----   p5  ---->  p6 /64  ---->  p7 /128
                               |            |            |            |              |
    head (shared)          stride 8    stride 16    stride 32    stride 64      stride 128
"""

from __future__ import annotations

from torch import nn

from finespot.nn.backbones import GPViTAdapter
from finespot.nn.backbones.gpvit import SIZES, Width
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, backbone_of, head_of, neck_of, relay_of
from finespot.zoo.retinanet import IMAGENET, STRIDES

# The rate that its detectors are trained with.
DROP_PATH = 0.1


def build(architecture: Architecture, width: Width) -> Detector:
    """GPViT of a size; option: drop_path (of the last block)."""
    drop_path = architecture.options.get("drop_path", DROP_PATH)

    def own_backbone() -> nn.Module:
        return GPViTAdapter(architecture.size, STRIDES, drop_path)

    backbone = backbone_of(architecture, own_backbone, STRIDES, drop_path=drop_path)
    relay = relay_of(architecture, backbone)
    neck = neck_of(architecture, "fpn", relay or backbone, extra="neck", extra_relu=False, norm=True)
    head = head_of(architecture, "retina", neck, rounded=False, spread=False)
    return Detector(backbone, relay, neck, head, architecture)


GPVIT = register("family", "gpvit")(
    Family("gpvit", SIZES, build, options=("drop_path",), separator="-", normalization=IMAGENET)
)
