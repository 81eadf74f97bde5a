"""What every registered network must do, on the smallest of each family; sizes and joints of the parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import AnchorFreeHead
from finespot.nn.layers import Conv
from finespot.nn.necks import PAFPN
from finespot.structures import Architecture, Features, Level

# One network of each family runs in the quick suite, the other variants in the slow one.
QUICK = ("yolov8n", "yolo11n-p2")
NAMES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for family in zoo.families()
    for name in (f"{family.name}{next(iter(family.sizes))}{suffix}" for suffix in family.variants)
]
CLASSES = 3


def build(name: str, seed: int = 0) -> zoo.Detector:
    torch.manual_seed(seed)
    return zoo.build(zoo.architecture(name, classes=CLASSES))


def pictures(size: tuple[int, int], batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(96, 352), (160, 128)])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_strides_and_channels(name: str, size: tuple[int, int]) -> None:
    detector = build(name).eval()
    strides = [level.stride for level in detector.head.inputs]
    assert strides == ([4, 8, 16, 32] if name.endswith("-p2") else [8, 16, 32])
    assert detector.stride == 32
    with torch.no_grad():
        features = detector.backbone(pictures(size))
        mixed = detector.neck(features)
        raw = detector(pictures(size))
    for given in (features, mixed):
        for level, x in zip(given.levels, given.maps):
            assert x.shape[1:] == (level.channels, size[0] // level.stride, size[1] // level.stride)
    points = sum(size[0] // s * (size[1] // s) for s in strides)
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 64, points),
        "scores": (2, CLASSES, points),
        "anchors": (1, points, 3),
    }
    boxes = detector.head.decode_boxes(raw)
    assert boxes.shape == (2, points, 4)
    assert (boxes[..., 2:] > boxes[..., :2]).all()


@pytest.mark.parametrize("per_picture", [[0, 0], [1, 0], [0, 30]])
@pytest.mark.parametrize("name", NAMES)
def test_loss_is_finite(name: str, per_picture: list[int], make_targets) -> None:
    detector, size = build(name).train(), (64, 96)
    targets = make_targets(per_picture, size, CLASSES)
    terms = detector.loss(detector(pictures(size), targets), targets)
    assert set(terms.terms) == {"box", "cls", "dfl"}
    assert all(torch.isfinite(value) for value in terms.terms.values())
    assert int(terms.counts["targets"]) == sum(per_picture)
    terms.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str, make_targets) -> None:
    detector, size = build(name).train(), (96, 96)
    targets = make_targets([40, 40], size, CLASSES)
    detector.loss(detector(pictures(size)), targets).total.backward()
    frozen = [key for key, p in detector.named_parameters() if not p.requires_grad]
    assert frozen == ["head.bins"]
    dry = [key for key, p in detector.named_parameters() if p.requires_grad and not bool(p.grad.abs().sum() > 0)]
    # A box branch learns from positives only, and objects of 40 pixels or less may leave the coarsest level without.
    assert [key for key in dry if "box_branches" not in key] == []


@pytest.mark.parametrize("name", NAMES)
def test_fused_agrees_and_leaves_the_original_alone(name: str) -> None:
    detector = build(name).train()
    for _ in range(2):  # move the running statistics off their start
        detector(pictures((64, 64), 4) * 3)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    twin = detector.fused()
    assert detector.training
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    with torch.no_grad():
        raw, fused = detector.eval()(pictures((96, 160))), twin(pictures((96, 160)))
    for key in raw:
        assert torch.allclose(raw[key], fused[key], rtol=0, atol=1e-4)
    assert torch.allclose(detector.head.decode_boxes(raw), twin.head.decode_boxes(fused), rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network_and_state_goes_round(name: str) -> None:
    first, second, other = build(name), build(name), build(name, seed=5)
    state = first.state_dict()
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in state.items())
    other.load_state_dict(state)
    with torch.no_grad():
        want, got = first.eval()(pictures((64, 64))), other.eval()(pictures((64, 64)))
    assert all(torch.equal(want[key], got[key]) for key in want)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolov8n-p2", "yolo11n", "yolo11n-p2"])
def test_exported_graph_agrees(name: str) -> None:
    class Whole(nn.Module):
        def __init__(self, detector: zoo.Detector) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raw = self.detector(images)
            return self.detector.head.decode_boxes(raw), raw["scores"]

    whole = Whole(build(name).fused())
    images = pictures((64, 96), 1)
    program = torch.export.export(whole, (images,))
    with torch.no_grad():
        want, got = whole(images), program.module()(images)
    assert torch.allclose(want[0], got[0], atol=1e-3)
    assert torch.allclose(want[1], got[1], atol=1e-5)
    assert whole.detector.head._points  # the eager run caches its points, and they are no tensors of the trace
    assert all(type(value) is torch.Tensor for value in whole.detector.head._points.values())


def test_input_sides_must_be_multiples_of_the_stride() -> None:
    with pytest.raises(FineSpotError, match="multiples of 32 but got 64 x 100"):
        build("yolov8n")(pictures((64, 100)))


def test_parts_that_do_not_fit_are_refused() -> None:
    small, large = build("yolov8n"), zoo.build(zoo.architecture("yolov8s", classes=CLASSES))
    with pytest.raises(FineSpotError, match=r"the neck expects 128 channels at stride 8.*but the backbone gives 64"):
        zoo.Detector(small.backbone, None, large.neck, large.head)
    with pytest.raises(FineSpotError, match="the head expects"):
        zoo.Detector(small.backbone, None, small.neck, large.head)
    with pytest.raises(FineSpotError, match="has no 'inputs'"):
        zoo.Detector(small.backbone, None, nn.Identity(), small.head)


def test_a_relay_stands_between_backbone_and_neck() -> None:
    class Doubler(nn.Module):
        def __init__(self, levels: tuple[Level, ...]) -> None:
            super().__init__()
            self.inputs = self.levels = levels

        def forward(self, features: Features) -> Features:
            return Features([2 * x for x in features.maps], features.levels)

    plain = build("yolov8n").eval()
    relayed = zoo.Detector(plain.backbone, Doubler(plain.backbone.levels), plain.neck, plain.head).eval()
    with torch.no_grad():
        assert not torch.equal(plain(pictures((64, 64)))["scores"], relayed(pictures((64, 64)))["scores"])


def test_a_neck_of_ones_own_is_reached_by_its_path() -> None:
    found = zoo.build(Architecture("yolov8", "n", 2, {"neck": "finespot.nn.necks.pafpn:PAFPN"}))
    assert isinstance(found.neck, PAFPN)


def test_three_levels_without_a_family() -> None:
    levels = (Level(8, 8), Level(8, 16))
    backbone = CSPBackbone(Conv(3, 8, 3, 2), [Conv(8, 8, 3, 2) for _ in range(4)], (8, 8, 8, 8), strides=(8, 16))
    detector = zoo.Detector(
        backbone, None, PAFPN(levels, (8, 16), Conv), AnchorFreeHead((Level(8, 8), Level(16, 16)), 1)
    )
    assert detector.stride == 16
    assert detector(pictures((64, 64)))["scores"].shape == (2, 1, 80)
