"""YOLO11-ASS (2025): YOLO11 with a P2 level, dual convolutions, dilation-wise residuals, HS-FPN and an NWD loss.

After "Robust Small-Object Detection in Aerial Surveillance via Integrated Multi-Scale Probabilistic Framework"
(Mathematics 13(14), 2025; ASS is airport surface surveillance) and the layer tables of its released code. Its four
variants beside YOLO11 itself are flags here, all on by default: `p2`, `dualconv`, `hsfpn`, `dwr`, `nwd`.

    picture   stem /2   stage2 /4   stage3 /8   stage4 /16   stage5 /32 + SPPF + C2PSA
                           |           |            |            |
    HS-FPN                p2   <----  p3   <----   p4   <----   p5
                           |           |            |            |
    head                 stride 4    stride 8    stride 16    stride 32

The `form` says whose graph is built:

* `repaired` (default): batch norm and SiLU behind dual convolutions, DWR units in every block at every size, a block
  on the neck's coarsest level. Size n has 1,942,204 parameters at 3 classes: what the released code meant has
  1,822,684; DWR units in place of C3k in the two coarse stages add 18,368 and 73,600, the coarsest block 26,592, the
  batch norms 960. Fused, size n has 2,123,684: dual convolutions become dense ones (188,160 more than their parts).
* `published`: what the released code builds. Its parser hands the blocks the wrong arguments, so that most DWR blocks
  hold no unit, and keeps YOLOv8's dear class branch where no C3k2 is left. At sizes l and x it fails; so does this.
* `intended`: what its tables would build if the blocks got their arguments. Here as in the former, the head's box bias
  starts at 1, as released.

Without `hsfpn` the neck is a PAFPN; without `p2` too, and without all flags the network is YOLO11 to the unit. The NWD
loss is half CIoU, half NWD in pixels, its constant planned from the training data, in each form: as released it
returns nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from finespot.errors import FineSpotError, unknown
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads.anchor_free import BOX_BIAS
from finespot.nn.layers import C2PSA, SPPF, C2f, C3k2, C3k2DWR, Conv, DualConv, named
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, idle, neck_of, refuse_idle, relay_of
from finespot.zoo.yolo11 import NESTED_EVERYWHERE, SIZES

FORMS = ("repaired", "published", "intended")
BOX_LOSS = "ciou*0.5+nwd(constant=auto)*0.5"
RELEASED_BOX_BIAS = 1.0
# Options that are on unless they are switched off, and those that are off.
ON, OFF = ("p2", "dualconv", "hsfpn", "dwr", "nwd"), ("depthwise_dwr", "cascade")
OPTIONS = (*ON, *OFF, "form")
# The own parts that an option changes: it says nothing where all of them are exchanged.
CHANGES = {
    "dualconv": ("backbone", "neck"),
    "hsfpn": ("neck",),
    "dwr": ("backbone", "neck"),
    "nwd": ("head",),
    "depthwise_dwr": ("backbone", "neck"),
    "form": ("backbone", "neck", "head"),
}
# Sizes that repeat their blocks, which the released parser cannot do with DWR blocks.
UNBUILDABLE = ("l", "x")


@dataclass(frozen=True)
class Flags:
    """What is on, and the form that it has."""

    p2: bool
    dualconv: bool
    hsfpn: bool
    dwr: bool
    nwd: bool
    depthwise_dwr: bool
    cascade: bool
    form: str


def build(architecture: Architecture, scale: Scale) -> Detector:
    """YOLO11-ASS of a size; see the module for the options."""
    flags = _flags(architecture)
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    n = scale.repeats(2)
    strides = (4, 8, 16, 32) if flags.p2 else (8, 16, 32)
    block = _blocks(flags, n, nested=architecture.size in NESTED_EVERYWHERE)

    def down(c_in: int, c_out: int) -> nn.Module:
        if not flags.dualconv:
            return Conv(c_in, c_out, 3, 2)
        return DualConv(c_in, c_out, 2, plain=flags.form != "repaired")

    def stage4_block() -> nn.Module:
        # The one C3k2 that the released table without HS-FPN kept.
        kept = flags.form == "published" and flags.dwr and not flags.hsfpn
        return C3k2(c4, c4, n, nested=True) if kept else block(c4, c4, coarse=True)

    def own_backbone() -> nn.Module:
        return CSPBackbone(
            stem=Conv(3, c1, 3, 2),
            stages=(
                named(down=down(c1, c2), block=block(c2, c3, expansion=0.25)),
                named(down=down(c3, c3), block=block(c3, c4, expansion=0.25)),
                named(down=down(c4, c4), block=stage4_block()),
                named(
                    down=down(c4, c5),
                    block=block(c5, c5, coarse=True),
                    pool=SPPF(c5, c5),
                    attention=C2PSA(c5, n),
                ),
            ),
            widths=(c3, c4, c4, c5),
            strides=strides,
        )

    def last_block(c_in: int, c_out: int) -> nn.Module:
        return block(c_in, c_out, coarse=True)

    def first_block(c_in: int, c_out: int) -> nn.Module:
        return C2f(c_in, c_out, scale.repeats(3))

    # The PAFPN of the release has a P3 map twice as wide as YOLO11's.
    widths = (c2, c4, c4, c5) if flags.p2 else (c3, c4, c5)
    backbone = backbone_of(architecture, own_backbone, strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(
        architecture,
        "hs_fpn" if flags.hsfpn else "wide_pafpn" if flags.p2 else "pafpn",
        relay or backbone,
        width=c3,
        widths=widths,
        inner=(c2, c3, c4),
        block=block,
        first_block=first_block,
        last_block=last_block,
        down=down,
        top_block=flags.form == "repaired",
        cascade=flags.cascade,
    )
    # The released parser chooses YOLO11's class branch where it meets a C3k2.
    dear = flags.form == "published" and flags.dwr and flags.hsfpn
    head = head_of(
        architecture,
        "anchor_free",
        neck,
        depthwise=not dear,
        box_bias=BOX_BIAS if flags.form == "repaired" else RELEASED_BOX_BIAS,
        box_loss=BOX_LOSS if flags.nwd else None,
    )
    return Detector(backbone, relay, neck, head, architecture)


def _blocks(flags: Flags, repeats: int, nested: bool) -> Callable[..., nn.Module]:
    """What makes a block (c_in, c_out); `coarse` marks those that YOLO11 nests at every size."""

    def block(c_in: int, c_out: int, expansion: float = 0.5, coarse: bool = False) -> nn.Module:
        if not flags.dwr or (flags.form == "intended" and coarse):
            return C3k2(c_in, c_out, repeats, nested or coarse, expansion)
        if flags.form == "published":
            # Arguments shifted by one: the mark is read as the number of units, and the expansion not at all.
            return C3k2DWR(c_in, c_out, int(coarse))
        return C3k2DWR(c_in, c_out, repeats, expansion, flags.depthwise_dwr)

    return block


def _flags(architecture: Architecture) -> Flags:
    """The flags of an architecture, none of them without effect."""
    options = architecture.options
    form = options.get("form", FORMS[0])
    if form not in FORMS:
        raise unknown("form", str(form), FORMS, where="yolo11-ass")
    given = {key: flag_of(architecture, key, key in ON) for key in (*ON, *OFF)}
    for key, needed in (("cascade", "hsfpn"), ("depthwise_dwr", "dwr")):
        if key in options and not given[needed]:
            raise idle(architecture, key, f"{needed} is off")
        if key in options and form != "repaired":
            raise idle(architecture, key, f"the form {form} is that of the release")
    for key, parts in CHANGES.items():
        # HS-FPN halves no map.
        own = tuple(part for part in parts if not (key == "dualconv" and given["hsfpn"] and part == "neck"))
        refuse_idle(architecture, key, *own)
    flags = Flags(form=form, **given)
    if form == "published" and flags.dwr and architecture.size in UNBUILDABLE:
        raise FineSpotError(
            f"the released code cannot build size {architecture.size} with DWR blocks: "
            "its parser repeats the whole block, and the second expects the width that entered the first",
            where="yolo11-ass",
            hint="set dwr=false or form=intended, or leave form out",
        )
    return flags


YOLO11_ASS = register("family", "yolo11-ass")(
    Family(
        "yolo11-ass",
        SIZES,
        build,
        {"-ass": {}, "-ass-published": {"form": "published"}},
        options=OPTIONS,
        stem="yolo11",
        unlisted=tuple(f"yolo11{size}-ass-published" for size in UNBUILDABLE),
    )
)
