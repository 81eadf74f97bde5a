"""YOLO-SOD (2025): a YOLOv8-like network with a stride-4 level and five kinds of attention, for small objects.

After "A Synergistic Paradigm of Heterogeneous Attention and Curriculum Learning for Small Object Detection" and its
released program. Text and program put the attention at different places, and four of the program's five blocks differ
from their own papers, so there are three networks:

* `yolo-sod`: where the program has it, the blocks as in their own papers; the stride-4 level of the way down joins the
  map behind CBAM (there: before it).
* `yolo-sod-published`: the program to the letter. Its ablation models E1 to E6 are options of it.
* `yolo-sod-paper`: the blocks of `yolo-sod` where the text puts them. Nobody has published figures for it.

    picture   stem /2    stage2 /4   stage3 /8   stage4 /16   stage5 /32 + SPPF
              SE         CBAM                    windows      areas
                            |           |            |            |
    top down                p2   <----  p3   <----   p4   <-------+
                            |           SE           CBAM         |
    bottom up               p2   ---->  p3   ---->   p4   ---->   p5
                            windows     coordinate   |            |
    head                 stride 4    stride 8    stride 16    stride 32

    text                    SE, areas   CBAM,        windows
                                        coordinate

What the program's blocks are, each kept under its name in the published network: SE divides by twice the channels, so
4 hidden values are left; coordinate attention lacks the multiplication in its h-swish; area attention averages rows to
eight strips; windows are never shifted.

Choices of ours. Areas: YOLO12's block (attention, then two 1x1 convolutions to 2C and back), 8 areas at stride 32 as
in the program, 64 on the stride-4 map of the text, where 8 would cost 21 GFLOPs. Windows: a regular and a shifted
layer, as in Swin. Parameters with 10 classes, and fused: `yolo-sod` 14,686,860 and 14,671,260, `yolo-sod-paper`
12,512,286 and 12,500,334, `yolo-sod-published` 13,570,780 and 13,558,588 (the program folds no batch norm of its own
blocks, so neither does this network).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from finespot.errors import unknown
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads.anchor_free import BOX_BIAS
from finespot.nn.layers import (
    CBAM,
    SPPF,
    AreaBlock,
    C2f,
    Conv,
    CoordinateAttention,
    PooledStripAttention,
    SqueezeExcitation,
    WindowBlock,
    named,
)
from finespot.registry import register
from finespot.structures import Architecture
from finespot.zoo.detector import Detector
from finespot.zoo.family import Family, Scale, backbone_of, flag_of, head_of, idle, neck_of, refuse_idle, relay_of

SIZES = {"": Scale(depth=0.33, width=0.50, max_channels=1024)}
ATTENTION = ("se", "cbam", "swin", "a2", "ca")


@dataclass(frozen=True)
class Form:
    """One of the three networks.

    `places` maps a place to the attention there, in order: behind the block of a part of the backbone ("before stage3":
    in front of it), of the neck's way down ("top_down.p4") or of what the neck gives ("outputs.p3"). `published`
    chooses the program's blocks, `box_bias` is the head's.
    """

    places: Mapping[str, tuple[str, ...]]
    published: bool = False
    box_bias: float = BOX_BIAS


_NECK = {"top_down.p4": ("cbam",), "top_down.p3": ("se",), "outputs.p2": ("swin",), "outputs.p3": ("ca",)}
_DEEP = {"stem": ("se",), "stage4": ("swin",), "stage5": ("a2",)}
FORMS = {
    "repaired": Form({**_DEEP, "stage2": ("cbam",), **_NECK}),
    "published": Form({**_DEEP, "before stage3": ("cbam",), **_NECK}, published=True, box_bias=1.0),
    "paper": Form({"outputs.p2": ("se", "a2"), "outputs.p3": ("cbam", "ca"), "outputs.p4": ("swin",)}),
}
# The one place on a stride-4 map behind the backbone, where heads are narrow and areas small.
_FINE = "outputs.p2"


class Blocks:
    """Makes the attention of a form, of those kinds that are switched on."""

    def __init__(self, form: Form, on: Mapping[str, bool]) -> None:
        self.form, self.on = form, on

    def at(self, place: str, channels: int) -> dict[str, nn.Module]:
        """The blocks of a place, by kind and in order."""
        kinds = [kind for kind in self.form.places.get(place, ()) if self.on[kind]]
        return {kind: self._make(kind, channels, fine=place == _FINE) for kind in kinds}

    def of_neck(self, way: str, levels: tuple[str, ...]) -> dict[str, Callable[[int], nn.Module]]:
        """What makes the attention of a way of the neck, by level; levels without any are left out."""

        def maker(place: str) -> Callable[[int], nn.Module]:
            return lambda channels: named(**self.at(place, channels))

        places = {level: f"{way}.{level}" for level in levels}
        return {
            level: maker(place)
            for level, place in places.items()
            if any(self.on[kind] for kind in self.form.places.get(place, ()))
        }

    def _make(self, kind: str, channels: int, fine: bool) -> nn.Module:
        published = self.form.published
        if kind == "se":
            return SqueezeExcitation(channels, reduction=2 * channels if published else 16)
        if kind == "cbam":
            return CBAM(channels)
        if kind == "ca":
            return CoordinateAttention(channels, published=published)
        if kind == "swin":
            return WindowBlock(channels, heads=2 if fine else 4, published=published)
        if published:
            return PooledStripAttention(channels, strips=8, heads=8)
        return AreaBlock(channels, areas=64 if fine else 8, ratio=2.0)


def build(architecture: Architecture, scale: Scale) -> Detector:
    """A network of a form; options: form, p2, and se, cbam, swin, a2, ca, which switch off one kind of attention."""
    options = architecture.options
    wanted = str(options.get("form", "repaired"))
    if wanted not in FORMS:
        raise unknown("form of yolo-sod", wanted, FORMS)
    form = FORMS[wanted]
    p2, *flags = (flag_of(architecture, key, True) for key in ("p2", *ATTENTION))
    _refuse_idle(architecture, form, p2)
    blocks = Blocks(form, dict(zip(ATTENTION, flags)))
    c1, c2, c3, c4, c5 = (scale.channels(c) for c in (64, 128, 256, 512, 1024))
    few, many = scale.repeats(3), scale.repeats(6)
    strides = (4, 8, 16, 32) if p2 else (8, 16, 32)
    names = ("p2", "p3", "p4", "p5") if p2 else ("p3", "p4", "p5")

    def stage(name: str, c_in: int, c_out: int, repeats: int, **last: nn.Module) -> nn.Module:
        before, behind = blocks.at(f"before {name}", c_in), blocks.at(name, c_out)
        return named(**before, down=Conv(c_in, c_out, 3, 2), block=block(c_out, c_out, repeats), **behind, **last)

    def block(c_in: int, c_out: int, repeats: int = few) -> nn.Module:
        return C2f(c_in, c_out, repeats, shortcut=True)

    def own_backbone() -> nn.Module:
        return CSPBackbone(
            stem=named(conv=Conv(3, c1, 3, 2), **blocks.at("stem", c1)),
            stages=(
                stage("stage2", c1, c2, few),
                stage("stage3", c2, c3, many),
                stage("stage4", c3, c4, few),
                stage("stage5", c4, c5, few, pool=SPPF(c5, c5)),
            ),
            widths=(c2, c3, c4, c5),
            strides=strides,
        )

    backbone = backbone_of(architecture, own_backbone, strides)
    relay = relay_of(architecture, backbone)
    neck = neck_of(
        architecture,
        "mafn",
        relay or backbone,
        widths=(c2, c3, c4, c5)[-len(strides) :],
        block=block,
        top_down=blocks.of_neck("top_down", names),
        outputs=blocks.of_neck("outputs", names),
    )
    head = head_of(architecture, "anchor_free", neck, depthwise=False, box_bias=form.box_bias)
    return Detector(backbone, relay, neck, head, architecture)


def _refuse_idle(architecture: Architecture, form: Form, p2: bool) -> None:
    """Refuse options that change nothing: of attention without a place, or of exchanged parts."""
    refuse_idle(architecture, "form", "backbone", "neck", "head")
    for kind in ATTENTION:
        places = [place for place, kinds in form.places.items() if kind in kinds and (p2 or place != _FINE)]
        if kind in architecture.options and not places:
            raise idle(architecture, kind, "its only place is the level that p2=false leaves out")
        parts = {"neck" if "." in place else "backbone" for place in places}
        refuse_idle(architecture, kind, *sorted(parts))


YOLO_SOD = register("family", "yolo-sod")(
    Family(
        "yolo-sod",
        SIZES,
        build,
        {"": {}, "-published": {"form": "published"}, "-paper": {"form": "paper"}},
        options=("form", "p2", *ATTENTION),
    )
)
