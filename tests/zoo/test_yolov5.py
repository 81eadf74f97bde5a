"""YOLOv5: counts of all sizes, P2 and release 5; one forward pass with formula weights; options; what it must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from formula_weights import formula, picture
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign.yolov5 import from_yolov5, to_yolov5

GOLDEN = json.loads((Path(__file__).parent / "data" / "yolov5.json").read_text())
NAMES = list(GOLDEN["counts"])
FEW = ("yolov5n", "yolov5s-v5")
FEW_QUICK = [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
RUN = [
    "yolov5n",
    pytest.param("yolov5n-p2", marks=pytest.mark.slow),
    pytest.param("yolov5s-v5", marks=pytest.mark.slow),
]


def on_meta(name: str, classes: int = 80) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes))


def test_names_are_those_of_the_family() -> None:
    assert zoo.YOLOV5.names() == NAMES
    assert {name for name in zoo.names() if name.startswith("yolov5")} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    want = GOLDEN["counts"][name]
    assert zoo.count_parameters(on_meta(name)) == want["params"]
    if "params_10" in want:
        assert zoo.count_parameters(on_meta(name, 10)) == want["params_10"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW_QUICK)
def test_fused_parameters_and_operations(name: str) -> None:
    want, detector = GOLDEN["counts"][name], on_meta(name)
    if "params_fused" in want:
        assert zoo.count_parameters(detector.fused()) == want["params_fused"]
    if "gflops" in want:
        assert zoo.count_gflops(detector, (640, 640)) == pytest.approx(want["gflops"], abs=6e-4)


@pytest.mark.slow
def test_forward_is_that_of_the_released_network() -> None:
    architecture, want = zoo.architecture("yolov5n"), GOLDEN["forward"]["yolov5n"]
    detector = zoo.build(architecture).eval()
    theirs = to_yolov5(detector.state_dict(), architecture)
    assert len(theirs) == want["entries"]
    made = {key: formula(key, value) for key, value in theirs.items()}
    detector.load_state_dict(from_yolov5(made, architecture))
    with torch.no_grad():
        raw, fused = detector(picture()), detector.fused()(picture())
    assert all(torch.allclose(raw[key], fused[key], rtol=0, atol=1e-5) for key in raw)
    # Theirs is one map a level, (3, h, w, 85): as many rows of ours, in this order.
    rows = torch.cat((raw["boxes"], raw["objectness"], raw["scores"]), 1)[0].T
    sizes = [3 * (160 // s) * (192 // s) for s in (8, 16, 32)]
    for level, expected in zip(rows.split(sizes), want["raw"], strict=True):
        assert level.double().sum().item() == pytest.approx(expected["sum"], abs=1e-4 * expected["abs"])
        assert level.double().abs().sum().item() == pytest.approx(expected["abs"], rel=1e-5)
        assert level[0, 0].item() == pytest.approx(expected["first"], abs=1e-6)
    boxes = detector.head.decode_boxes(raw)[0]
    xywh = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), 1)
    decoded = torch.cat((xywh, torch.sigmoid(rows[:, 4:])), 1)
    assert decoded.double().sum().item() == pytest.approx(want["decoded"]["sum"], rel=1e-5)
    assert decoded[0, 0].item() == pytest.approx(want["decoded"]["first"], abs=1e-5)
    assert decoded[-1, -1].item() == pytest.approx(want["decoded"]["last"], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_learns_from_any_picture_of_whole_strides(name: str, make_targets) -> None:
    torch.manual_seed(0)
    detector, size = zoo.build(zoo.architecture(name, 3)).train(), (96, 160)
    strides = [level.stride for level in detector.head.inputs]
    assert strides == ([4, 8, 16, 32] if name.endswith("-p2") else [8, 16, 32])
    pictures = torch.rand(2, 3, *size)
    points = 3 * sum(size[0] // s * (size[1] // s) for s in strides)
    raw = detector(pictures)
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 4, points),
        "objectness": (2, 1, points),
        "scores": (2, 3, points),
        "anchors": (1, points, 5),
    }
    targets = make_targets([30, 30], size, 3)
    targets.boxes[::5] = torch.tensor([4.0, 6, 124, 90])
    terms = detector.loss(raw, targets)
    terms.total.backward()
    dry = [key for key, p in detector.named_parameters() if not bool(p.grad.abs().sum() > 0)]
    assert dry == []
    twin = detector.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    with torch.no_grad():
        want, got = detector.eval()(pictures), twin(pictures)
    assert all(torch.allclose(want[key], got[key], rtol=0, atol=1e-4) for key in want)


@pytest.mark.parametrize("per_picture", [[0, 0], [1, 0]])
def test_few_objects_give_finite_losses(per_picture: list[int], make_targets) -> None:
    torch.manual_seed(0)
    detector, size = zoo.build(zoo.architecture("yolov5n", 3)).train(), (64, 96)
    terms = detector.loss(detector(torch.rand(2, 3, *size)), make_targets(per_picture, size, 3))
    terms.total.backward()
    assert all(value.isfinite() for value in terms.terms.values())
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.grad is not None)
    assert terms.terms["obj"] > 0


def test_release_five_pools_before_its_last_block() -> None:
    old, new = on_meta("yolov5s-v5"), on_meta("yolov5s")
    assert list(old.backbone.stage5._modules) == ["down", "pool", "block"]
    assert list(new.backbone.stage5._modules) == ["down", "block", "pool"]
    assert not any(unit.shortcut for unit in old.backbone.stage5.block.chain)
    assert all(unit.shortcut for unit in new.backbone.stage5.block.chain)
    assert (len(old.backbone.stage3.block.chain), len(new.backbone.stage3.block.chain)) == (3, 2)


def test_release_five_has_no_nano() -> None:
    with pytest.raises(FineSpotError, match=r"unknown model 'yolov5n-v5'; did you mean .*yolov5s-v5"):
        zoo.architecture("yolov5n-v5")
    with pytest.raises(FineSpotError, match="yolov5: release 5 has no size n; its smallest is s"):
        zoo.build(Architecture("yolov5", "n", 2, {"release": 5}))
    with pytest.raises(FineSpotError, match=r"expected release 5 or 6 .* but got 4"):
        zoo.build(zoo.architecture("yolov5s", 2, release=4))
    assert zoo.name_of(Architecture("yolov5", "m", 2, {"release": 5})) == "yolov5m-v5"


def test_anchors_are_an_option() -> None:
    anchors = [[[4, 5], [6, 7]], [[9, 9], [12, 16]], [[30, 20], [40, 60.5]]]
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("yolov5n", 5, anchors=anchors))
    assert detector.head.class_branches["p4"].out_channels == 10
    assert [list(map(list, one)) for one in detector.head.anchor_sizes] == anchors
    with pytest.raises(FineSpotError, match="pairs in pixels for 3 levels"):
        zoo.build(zoo.architecture("yolov5n", 5, anchors=anchors[:2]))
