"""ESOD (IEEE TIP 34, 2025): detectors whose later stages run on the windows where a seeker expects objects.

"ESOD: Efficient Small Object Detection on High-Resolution Images". How that goes is told in `windowed`; here are the
networks. Two kinds:

- `esod`, the released ones: hosts end in one head, decoupled with anchors. On YOLOv5 it is the layout of release 5 with
  smaller pools (3, 5, 7: windows are a few cells wide). Parameter counts agree with the released networks to the unit.
  "-published" is their way of cutting: windows moved onto what fires, all of them in training, no dense fallback; on
  YOLOv8m (whose released form could not be built; with its widest maps at 768), RetinaNet and RTMDet-m too, which are
  backbone and neck of these only.
- `esod-<host>`: any network of the host's own family, head and loss included, with a seeker and windows.

    picture   stem /2   stage2 /4   stage3 /8 ----> windows ----> stage4 /16   stage5 /32 + pools
                                       |               |             |            |
    seeker                        13x13, 1x1 -> heat   |             |            |
    top down                                          p3   <----    p4   <-------+
    bottom up                                         p3   ---->    p4   ---->   p5
                                                       |             |            |
    head                                           stride 8      stride 16    stride 32

The option windows=none gives the dense form: the whole picture through all layers, the seeker beside. The network for
UAVDT has the relay "seeker(form=pooled)"; relay=none is the same network without a seeker ("vanilla"), dense too. The
released recipe is in recipes/esod.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from finespot.nn.backbones import ResNet
from finespot.nn.layers import TORCH_NORM
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo import rtmdet, yolov5, yolov8
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, head_of, idle, neck_of, relay_of
from finespot.zoo.gpvit import GPVIT
from finespot.zoo.retinanet import RETINANET
from finespot.zoo.rtmdet import RTMDET
from finespot.zoo.windowed import WindowedDetector, Windows
from finespot.zoo.yolo11 import YOLO11
from finespot.zoo.yolo12 import YOLO12
from finespot.zoo.yolov8 import YOLOV8

STRIDES = (8, 16, 32)
# The side of the smallest pool.
POOL = 3
WINDOWS = (
    "windows",
    "core",
    "halo",
    "sides",
    "threshold",
    "budget",
    "dense_above",
    "select",
    "share",
    "cells",
    "cell_threshold",
)
# What the two forms of windows do not look at.
_IDLE = {"cores": ("sides",), "shifted": ("core", "halo", "share")}
PUBLISHED: dict[str, Any] = {"windows": "shifted"}

Size = TypeVar("Size")


@dataclass(frozen=True)
class Trunk:
    """What the released networks on one host have before their head."""

    build: Callable[[Architecture], tuple[Any, Any, Any]]


def build(architecture: Architecture, trunk: Trunk) -> Detector:
    """A released ESOD; options: anchors (a list of [width, height] in pixels for each level) and those of `windows`."""
    backbone, relay, neck = trunk.build(architecture)
    head = head_of(architecture, "decoupled_anchor", neck, anchors=architecture.options.get("anchors"))
    return windowed(Detector(backbone, relay, neck, head, architecture), architecture)


def windowed(dense: Detector, architecture: Architecture) -> Detector:
    """The detector on windows as the options of `architecture` say, its modules those of `dense`; or `dense` itself.

    Raises
    ------
    FineSpotError
        An option is out of range, or has no effect.
    """
    options = dict(architecture.options)
    form = options.get("windows", "cores" if dense.relay is not None else None)
    given = {key: options[key] for key in WINDOWS[1:] if key in options}
    if form in (None, "none"):
        for key in given:
            raise idle(architecture, key, "the network is dense")
        dense.architecture = architecture
        return dense
    for key in _IDLE.get(str(form), ()):
        if key in given:
            raise idle(architecture, key, f"windows are of the form {form}")
    if "cell_threshold" in given and given.get("cells", "all") != "seeker":
        raise idle(architecture, "cell_threshold", "cells are not chosen by the seeker")
    if form == "shifted":
        given.setdefault("dense_above", None)
    rule = Windows(form=form, **given)
    return WindowedDetector(dense.backbone, dense.relay, dense.neck, dense.head, architecture, rule)


def on_host(host: Family[Size]) -> Family[Size]:
    """The family of a host's own networks on windows, its options with those of `windows`."""

    def build_on(architecture: Architecture, size: Size) -> Detector:
        own = {key: value for key, value in architecture.options.items() if key not in WINDOWS}
        dense = host.builder(
            Architecture(host.name, architecture.size, architecture.classes, {"relay": "seeker", **own}), size
        )
        if getattr(dense.head, "spread", False):
            # Of a window cells lie a stride apart, as they do in the picture that it is of.
            dense.head.spread = False
        return windowed(dense, architecture)

    name = f"esod-{host.name}"
    options = tuple(key for key in host.options if key != "p2") + WINDOWS
    return Family(
        name,
        host.sizes,
        build_on,
        options=options,
        separator=host.separator,
        normalization=host.normalization,
        recipe=host.recipe or host.name,
    )


def _yolov5(scale: Scale) -> Trunk:
    def parts(architecture: Architecture) -> tuple[Any, Any, Any]:
        widths = tuple(scale.channels(c) for c in yolov5.FULL_WIDTHS)
        backbone = backbone_of(architecture, lambda: yolov5.trunk(scale, 5, STRIDES, POOL), STRIDES)
        relay = relay_of(architecture, backbone, "seeker")
        block = yolov5.neck_block(scale)
        return backbone, relay, neck_of(architecture, "lateral_pafpn", relay or backbone, widths=widths, block=block)

    return Trunk(parts)


def _yolov8(scale: Scale) -> Trunk:
    def parts(architecture: Architecture) -> tuple[Any, Any, Any]:
        own = {key: value for key, value in architecture.options.items() if key in ("backbone", "relay", "neck")}
        host = yolov8.build(Architecture("yolov8", "", architecture.classes, {"relay": "seeker", **own}), scale)
        return host.backbone, host.relay, host.neck

    return Trunk(parts)


def _retinanet(architecture: Architecture) -> tuple[Any, Any, Any]:
    backbone = backbone_of(architecture, lambda: ResNet(50, STRIDES), STRIDES)
    relay = relay_of(architecture, backbone, "seeker")
    return backbone, relay, neck_of(architecture, "fpn", relay or backbone, count=0)


def _rtmdet(scale: Scale) -> Trunk:
    def parts(architecture: Architecture) -> tuple[Any, Any, Any]:
        widths = tuple(scale.channels(c) for c in yolov5.FULL_WIDTHS)
        backbone = backbone_of(architecture, lambda: rtmdet.trunk(scale, STRIDES), STRIDES)
        relay = relay_of(architecture, backbone, "seeker")
        block = rtmdet.neck_block(scale)
        neck = neck_of(architecture, "lateral_pafpn", relay or backbone, widths=widths, block=block, norm=TORCH_NORM)
        return backbone, relay, neck

    return Trunk(parts)


# Hosts whose released networks differ from the host's own in their head.
_ONLY_PUBLISHED: Mapping[str, Trunk] = {
    "yolov8m": _yolov8(Scale(depth=0.67, width=0.75, max_channels=1024)),
    "retinanet-r50": Trunk(_retinanet),
    "rtmdet-m": _rtmdet(rtmdet.SIZES["m"]),
}
SIZES = {
    **{f"yolov5{size}": _yolov5(scale) for size, scale in yolov5.SIZES.items() if size not in yolov5.NOT_IN_FIVE},
    **_ONLY_PUBLISHED,
}
ESOD = register("family", "esod")(
    Family(
        "esod",
        SIZES,
        build,
        {"": {}, "-published": PUBLISHED},
        options=("anchors", *WINDOWS),
        separator="-",
        missing=tuple(f"esod-{host}" for host in _ONLY_PUBLISHED),
        normalizations={"retinanet-r50": RETINANET.normalization, "rtmdet-m": RTMDET.normalization},
    )
)
HOSTS = tuple(
    register("family", f"esod-{host.name}")(on_host(host))
    for host in (YOLOV8, YOLO11, YOLO12, RETINANET, RTMDET, GPVIT)
)
