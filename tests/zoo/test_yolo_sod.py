"""YOLO-SOD: counts of the published network and its ablation models, placement, options, levels switched off late."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot import registry, zoo
from finespot.errors import FineSpotError
from finespot.nn.heads import AnchorFreeHead
from finespot.nn.layers import (
    CBAM,
    AreaBlock,
    CoordinateAttention,
    PooledStripAttention,
    SqueezeExcitation,
    WindowBlock,
)
from finespot.structures import Features
from finespot.training.freeze import freeze

KINDS = ("se", "cbam", "swin", "a2", "ca")
ATTENTION = (SqueezeExcitation, CBAM, WindowBlock, AreaBlock, PooledStripAttention, CoordinateAttention)
# Options; parameters, parameters fused, GFLOPs fused at 640 px, all for 10 classes.
OFF = dict.fromkeys(KINDS, False)
ABLATION = {
    "E1": ({**OFF, "p2": False}, 11_795_854, 11_785_326, 28.35),
    "E2": (OFF, 11_345_368, 11_334_200, 37.03),
    "E3": ({**OFF, "se": True}, 11_346_816, 11_335_648, 37.03),
    "E4": ({**OFF, "se": True, "cbam": True}, 11_355_716, 11_344_548, 37.03),
    "E5": ({"a2": False, "ca": False}, 11_989_444, 11_978_276, 41.46),
    "E6": ({"ca": False}, 13_567_428, 13_555_236, 42.27),
    "full": ({}, 13_570_780, 13_558_588, 42.267),
}


def on_meta(name: str, classes: int = 10, **options: object) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes, **options))


def pictures(size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))


def unfolded(detector: zoo.Detector, size: tuple[int, int]) -> float:
    """1e9 operations of batch norms that stay in the published network: theirs count 4 a value, ours none."""
    values = [0]

    def note(module: nn.Module, args: object, output: torch.Tensor) -> None:
        values.append(output.numel())

    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(note)
    with torch.no_grad():
        detector(torch.zeros(1, 3, *size, device="meta"))
    return 4 * sum(values) / 1e9


def test_names() -> None:
    assert zoo.YOLO_SOD.names() == ["yolo-sod", "yolo-sod-published", "yolo-sod-paper"]


@pytest.mark.parametrize(
    "model", [one if one in ("E1", "E5", "full") else pytest.param(one, marks=pytest.mark.slow) for one in ABLATION]
)
def test_published_counts(model: str) -> None:
    options, parameters, fused_parameters, gflops = ABLATION[model]
    detector = on_meta("yolo-sod-published", **options)
    fused = detector.fused()
    assert zoo.count_parameters(detector) == parameters
    assert zoo.count_parameters(fused) == fused_parameters
    found = zoo.count_gflops(fused, (640, 640)) + unfolded(fused, (640, 640))
    assert found == pytest.approx(gflops, abs=5e-4 if model == "full" else 5e-3)
    trained = sum(p.numel() for p in detector.parameters() if p.requires_grad)
    assert trained == parameters - 16


@pytest.mark.slow
def test_published_counts_for_one_class_and_at_1024() -> None:
    detector = on_meta("yolo-sod-published", classes=1)
    assert zoo.count_parameters(detector) == 13_568_440
    assert zoo.count_parameters(detector.fused()) == 13_556_248
    large = on_meta("yolo-sod-published").fused()
    found = zoo.count_gflops(large, (1024, 1024)) + unfolded(large, (1024, 1024))
    assert found == pytest.approx(108.36, abs=5e-3)
    # More than the area grows by, as windows are filled up; so counts at one size say nothing exact of another.
    assert found != pytest.approx(2.56 * 42.267, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "parameters", "fused", "gflops"),
    [
        ("yolo-sod", 10, 14_686_860, 14_671_260, 46.9588),
        pytest.param("yolo-sod", 1, 14_684_520, 14_668_920, 46.9197, marks=pytest.mark.slow),
        ("yolo-sod-paper", 10, 12_512_286, 12_500_334, 45.4097),
        pytest.param("yolo-sod-paper", 1, 12_509_946, 12_497_994, 45.3706, marks=pytest.mark.slow),
    ],
)
def test_our_own_counts(name: str, classes: int, parameters: int, fused: int, gflops: float) -> None:
    detector = on_meta(name, classes)
    twin = detector.fused()
    assert zoo.count_parameters(detector) == parameters
    assert zoo.count_parameters(twin) == fused
    assert zoo.count_gflops(twin, (640, 640)) == pytest.approx(gflops, abs=6e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())


def test_our_blocks_add_what_is_known_to_the_published_ones() -> None:
    ours, theirs = (zoo.count_parameters(on_meta(name)) for name in ("yolo-sod", "yolo-sod-published"))
    squeeze = (2 * 128 * 8 + 8 + 128) - 1156
    windows = sum(8 * c**2 + 11 * c + 2 * 169 * heads for c, heads in ((256, 4), (64, 2)))
    areas = (8 * 512**2 + 65 * 512) - (6 * 512**2 + 10 * 512)
    assert ours - theirs == squeeze + windows + areas


@pytest.mark.slow
def test_batch_norms_that_the_published_network_keeps() -> None:
    left = [name for name, m in on_meta("yolo-sod-published").fused().named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == [
        "backbone.stage4.swin.mix.bn",
        "neck.output_attention.p2.swin.mix.bn",
        "neck.output_attention.p3.ca.bn",
    ]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        (
            "yolo-sod",
            {
                "backbone.stem.se": SqueezeExcitation,
                "backbone.stage2.cbam": CBAM,
                "backbone.stage4.swin": WindowBlock,
                "backbone.stage5.a2": AreaBlock,
                "neck.top_down_attention.p4.cbam": CBAM,
                "neck.top_down_attention.p3.se": SqueezeExcitation,
                "neck.output_attention.p2.swin": WindowBlock,
                "neck.output_attention.p3.ca": CoordinateAttention,
            },
        ),
        (
            "yolo-sod-published",
            {
                "backbone.stem.se": SqueezeExcitation,
                "backbone.stage3.cbam": CBAM,
                "backbone.stage4.swin": WindowBlock,
                "backbone.stage5.a2": PooledStripAttention,
                "neck.top_down_attention.p4.cbam": CBAM,
                "neck.top_down_attention.p3.se": SqueezeExcitation,
                "neck.output_attention.p2.swin": WindowBlock,
                "neck.output_attention.p3.ca": CoordinateAttention,
            },
        ),
        (
            "yolo-sod-paper",
            {
                "neck.output_attention.p2.se": SqueezeExcitation,
                "neck.output_attention.p2.a2": AreaBlock,
                "neck.output_attention.p3.cbam": CBAM,
                "neck.output_attention.p3.ca": CoordinateAttention,
                "neck.output_attention.p4.swin": WindowBlock,
            },
        ),
    ],
)
def test_places_of_attention(name: str, places: dict[str, type]) -> None:
    detector = on_meta(name)
    assert {place: type(m) for place, m in detector.named_modules() if isinstance(m, ATTENTION)} == places
    blocks = [m for m in detector.modules() if isinstance(m, WindowBlock)]
    assert all(len(block.layers) == (1 if name == "yolo-sod-published" else 2) for block in blocks)
    heads = {block.spread.in_channels: block.layers[0].attention.attention.heads for block in blocks}
    assert heads.items() <= {256: 4, 64: 2}.items()
    coordinate = next(m for m in detector.modules() if isinstance(m, CoordinateAttention))
    assert coordinate.published == (name == "yolo-sod-published")
    hidden = [m.squeeze.out_channels for m in detector.modules() if isinstance(m, SqueezeExcitation)]
    assert hidden == {"yolo-sod": [4, 8], "yolo-sod-published": [4, 4], "yolo-sod-paper": [4]}[name]


@pytest.mark.slow
def test_area_attention_is_finer_on_the_fine_map() -> None:
    (deep,) = (m for m in on_meta("yolo-sod").modules() if isinstance(m, AreaBlock))
    (fine,) = (m for m in on_meta("yolo-sod-paper").modules() if isinstance(m, AreaBlock))
    assert (deep.attention.areas, fine.attention.areas) == (8, 64)


@torch.no_grad()
@pytest.mark.parametrize(("name", "behind"), [("yolo-sod", True), ("yolo-sod-published", False)])
def test_the_stride_4_lateral_and_the_attention_of_its_level(name: str, behind: bool) -> None:
    torch.manual_seed(0)
    backbone = zoo.build(zoo.architecture(name, 2)).eval().backbone
    before = backbone(pictures((64, 64))).maps
    (cbam,) = (m for m in backbone.modules() if isinstance(m, CBAM))
    nn.init.constant_(cbam.place.weight, -0.5)
    after = backbone(pictures((64, 64))).maps
    assert torch.equal(before[0], after[0]) != behind
    assert not torch.equal(before[1], after[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", zoo.YOLO_SOD.names())
def test_each_kind_can_be_left_out(name: str, kind: str) -> None:
    whole, without = on_meta(name), on_meta(name, **{kind: False})
    gone = set(dict(whole.named_modules())) - set(dict(without.named_modules()))
    # Of a level of the neck whose only attention this was, its entry goes too.
    entries = {part for part in gone if part.startswith("neck.") and part.count(".") == 2}
    assert gone - entries
    assert all(f".{kind}" in part for part in gone - entries)
    assert not any(part.endswith(f".{kind}") for part, _ in without.named_modules())
    assert zoo.count_parameters(without) < zoo.count_parameters(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.YOLO_SOD.names())
def test_without_the_stride_4_level(name: str) -> None:
    whole, without = on_meta(name), on_meta(name, p2=False)
    assert [lv.stride for lv in whole.head.inputs] == [4, 8, 16, 32]
    assert [lv.stride for lv in without.head.inputs] == [8, 16, 32]
    assert not any(".p2" in part for part, _ in without.named_modules())
    # Branches of the head are as wide as its finest level.
    assert without.head.class_branches["p3"].first.conv.out_channels == 128
    assert whole.head.class_branches["p3"].first.conv.out_channels == 64


@pytest.mark.slow
def test_points_at_640() -> None:
    detector = on_meta("yolo-sod")
    with torch.no_grad():
        raw = detector(torch.zeros(1, 3, 640, 640, device="meta"))
    assert raw["scores"].shape == (1, 10, 34_000)


@pytest.mark.slow
def test_head_and_its_first_biases() -> None:
    first = {name: on_cpu_bias(name) for name in zoo.YOLO_SOD.names()}
    assert first == {"yolo-sod": 2.0, "yolo-sod-published": 1.0, "yolo-sod-paper": 2.0}


def on_cpu_bias(name: str) -> float:
    head = zoo.build(zoo.architecture(name, 2)).head
    assert not any(".spatial." in part for part, _ in head.named_modules()), "no depth-wise class branch"
    return head.box_branches["p2"].predict.bias[0].item()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yolo-sod", {"form": "stable"}, "unknown form of yolo-sod 'stable'"),
        ("yolo-sod", {"swin": "no"}, "yolo-sod: expected swin to be true or false but got no"),
        ("yolo-sod", {"p2": 1}, "expected p2 to be true or false but got 1"),
        ("yolo-sod", {"sin": False}, "unknown yolo-sod option 'sin'"),
        ("yolo-sod", {"backbone": "resnet", "a2": True}, "the option a2 has no effect, as the backbone is exchanged"),
        ("yolo-sod", {"neck": "fpn", "ca": False}, "the option ca has no effect, as the neck is exchanged"),
        ("yolo-sod", {"backbone": "resnet", "neck": "fpn", "se": True}, "the option se has no effect"),
        ("yolo-sod-paper", {"p2": False, "a2": True}, "the option a2 has no effect, as its only place is the level"),
        (
            "yolo-sod-published",
            {"backbone": "resnet", "neck": "fpn", "head": "retina"},
            "the option form has no effect",
        ),
    ],
)
def test_options_without_effect_or_sense_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with torch.device("meta"), pytest.raises(FineSpotError, match=message):
        zoo.build(zoo.architecture(name, 2, **options))


@pytest.mark.slow
def test_parts_can_be_exchanged() -> None:
    found = on_meta("yolo-sod", 2, backbone="resnet", head="decoupled")
    assert [lv.channels for lv in found.backbone.levels] == [256, 512, 1024, 2048]
    assert isinstance(found.neck.output_attention["p2"].swin, WindowBlock)
    plain = on_meta("yolo-sod", 2, neck="pafpn")
    assert isinstance(plain.backbone.stage4.swin, WindowBlock)
    # The neck without any attention serves other families.
    assert len(on_meta("yolov8n", 2, neck="mafn").neck.output_attention) == 0


@pytest.mark.slow
def test_a_level_switched_off_late_is_one_that_never_was(make_targets) -> None:
    torch.manual_seed(0)
    detector, targets = zoo.build(zoo.architecture("yolo-sod", 3)).train(), make_targets([20, 10], (64, 96), 3)
    features: Features = detector.neck(detector.backbone(pictures((64, 96))))
    detector.head.set_active((False, True, True, True))
    raw = detector.head(features)
    terms = detector.loss(raw, targets)
    alone = AnchorFreeHead(detector.head.inputs[1:], 3, depthwise=False)
    for branches in ("box_branches", "class_branches"):
        for level in ("p3", "p4", "p5"):
            getattr(alone, branches)[level] = getattr(detector.head, branches)[level]
    three = Features(features.maps[1:], features.levels[1:])
    want = alone.loss(alone(three), targets)
    assert {key: value.item() for key, value in terms.terms.items()} == pytest.approx(
        {key: value.item() for key, value in want.terms.items()}
    )
    assert terms.terms["cls"] < 50, "no level of zeroed logits in the loss"
    terms.total.backward()
    assert all(p.grad is None for p in detector.head.box_branches["p2"].parameters())
    assert all(p.grad is not None for p in detector.neck.parameters())
    detector.head.set_active((True,) * 4)
    assert detector(pictures((64, 96)))["scores"].shape[2] == 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3


def test_parts_are_frozen_by_their_names() -> None:
    detector = on_meta("yolo-sod")
    frozen = ["backbone.stem", "backbone.stage4.swin", "neck.top_down_attention.p3", "head.class_branches.p2"]
    freeze(detector, frozen)
    still = {name for name, p in detector.named_parameters() if not p.requires_grad}
    assert still == {name for name, _ in detector.named_parameters() if name.startswith(tuple(frozen))} | {"head.bins"}


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.YOLO_SOD.names())
def test_pictures_smaller_than_a_window(name: str) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, 2)).eval()
    with torch.no_grad():
        for size in ((32, 32), (32, 96), (96, 64)):
            raw = detector(pictures(size))
            assert torch.isfinite(detector.head.decode_boxes(raw)).all()
            assert torch.isfinite(raw["scores"]).all()


def test_the_family_is_found_by_its_name() -> None:
    assert registry.lookup("family", "yolo-sod") is zoo.YOLO_SOD
    architecture = zoo.architecture("yolo-sod-published", 10, swin=False)
    assert (architecture.family, architecture.size) == ("yolo-sod", "")
    assert zoo.name_of(architecture) == "yolo-sod-published (swin=False)"
