"""What every registered network must do.

The smallest network of each family and variant runs in `make test` (a few in `make check`), every name in
`make test-all`; parameter counts of all sizes are in `test_counts`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finespot import registry, zoo
from finespot.nn.layers import DualConv
from finespot.structures import Features, Targets

CLASSES, CONF = 3, 0.002
# Parameters that no network learns: constants, and what published counts hold though it never runs.
GATE = "neck.enhance.mix.kernel.gate.unused"
FROZEN = {"head.bins", "head.denoising.padding", f"{GATE}.weight", f"{GATE}.bias"}
# Run in the quick suite too.
QUICK = ("yolov8n",)
# Families whose networks have a level of stride 4 without saying so in their names.
WITH_P2 = ("yolo-sod", "yolo11-ass")
# What costs much and differs in little from what is here.
DEAR = (
    *("retinanet-r50-v2", "rtdetr-r18-p2", "yolo12n-p2", "yolox-nano-p2"),
    *("lrs-detr-b-p2", "rtmdet-tiny-p2", "yolo-sod-paper", "yolo11n-p2", "yolov5n-p2"),
    # On pictures as small as these, windows are the whole map, so that these networks are their hosts.
    *("esod-gpvit-l1", "esod-retinanet-r50", "esod-rtmdet-tiny", "esod-yolo11n", "esod-yolo12n", "esod-yolov8n"),
)
# The smallest of each variant of a family, in order: every process must collect the same.
SMALLEST = [
    name
    for family in zoo.families()
    for suffix in family.variants
    if (name := next(n for n in family.names() if n.endswith(suffix))) not in DEAR
]


def mark(name: str) -> Any:
    if name in QUICK:
        return name
    return pytest.param(name, marks=pytest.mark.slow if name in SMALLEST else pytest.mark.full)


NAMES = [mark(name) for name in zoo.names()]


def build(name: str, seed: int = 0, classes: int = CLASSES) -> zoo.Detector:
    torch.manual_seed(seed)
    options = registry.lookup("family", zoo.architecture(name).family).options
    # As many queries as there are cells: an untrained network ranks them by rounding errors. All windows: an untrained
    # seeker finds none.
    asked = {"queries": {"queries": 2000}, "windows": {"select": "all"}}
    more = {key: value for option, given in asked.items() if option in options for key, value in given.items()}
    return zoo.build(zoo.architecture(name, classes=classes, **more))


def pictures(size: tuple[int, int], batch: int = 2, seed: int = 1) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def targets(per_picture: list[int], size: tuple[int, int], ignore: bool = False, seed: int = 0) -> Targets:
    """Boxes from 4 pixels to the whole picture, every size alike; the last one an ignore region on request."""
    draw = torch.Generator().manual_seed(seed)
    count = sum(per_picture)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
    sides = 4 * (extent / 4) ** torch.rand(count, 2, generator=draw)
    centers = sides / 2 + torch.rand(count, 2, generator=draw) * (extent - sides)
    flags = torch.zeros(count, dtype=torch.bool)
    flags[count - 1 :] = ignore
    return Targets(
        torch.cat((centers - sides / 2, centers + sides / 2), 1),
        torch.randint(0, CLASSES, (count,), generator=draw),
        torch.repeat_interleave(torch.arange(len(per_picture)), torch.tensor(per_picture)),
        flags,
        len(per_picture),
    )


def loss_of(detector: zoo.Detector, size: tuple[int, int], truth: Targets) -> Any:
    torch.manual_seed(3)  # denoising draws
    return detector.loss(detector(pictures(size, truth.batch), truth), truth)


def rows_of(raw: dict[str, Tensor], picture: int) -> Any:
    """The rows of the raw output that are of a picture: it, or its windows."""
    return (raw["origins"][:, 0] == picture).numpy() if "origins" in raw else [picture]


def in_order(detector: zoo.Detector, values: Tensor) -> Tensor:
    """Values by size where queries are ranked: those of nearly equal rank change places by rounding."""
    return values if detector.head.suppress else values.flatten(1).sort(1).values


@pytest.mark.parametrize("name", NAMES)
def test_shapes_strides_and_channels(name: str) -> None:
    detector = build(name).eval()
    for size in ((96, 352), (160, 128)):
        with torch.no_grad():
            features: Features = detector.backbone(pictures(size))
            mixed = detector.neck(features)
            raw = detector(pictures(size))
        for part, given in ((detector.backbone, features), (detector.neck, mixed)):
            assert given.levels == part.levels
            assert [level.stride for level in given.levels] == sorted({level.stride for level in given.levels})
            for level, x in zip(given.levels, given.maps, strict=True):
                expected = (level.channels, *(math.ceil(side / level.stride) for side in size))
                assert x.shape[1:] == expected
        assert detector.head.inputs == detector.neck.levels
        boxes = detector.head.decode_boxes(raw)
        rows = len(raw.get("origins", boxes))
        assert rows >= 2
        assert boxes.shape == (rows, raw["scores"].shape[2], 4)
        assert raw["scores"].shape[:2] == (rows, CLASSES)
        assert torch.isfinite(boxes).all()
        assert (boxes[..., 2:] >= boxes[..., :2]).all()
    finest = min(level.stride for level in detector.head.inputs)
    assert (finest == 4) == ("-p2" in name or detector.architecture.family in WITH_P2)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_finite(name: str) -> None:
    detector, size = build(name).train(), (64, 96)
    for per_picture, ignore in (([0, 0], False), ([1, 0], False), ([0, 30], False), ([1, 3], True), ([0, 1], True)):
        terms = loss_of(detector, size, targets(per_picture, size, ignore))
        assert all(torch.isfinite(value) and value.ndim == 0 for value in terms.terms.values())
        assert int(terms.counts["targets"]) == sum(per_picture) - ignore
        detector.zero_grad()
        terms.total.backward()
        assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_gradient_whatever_the_batch(name: str) -> None:
    """Several processes wait for all of them; one class has made class branches idle."""
    detector, size = build(name, classes=1).train(), (64, 96)
    for per_picture, ignore in (([0, 0], False), ([1, 0], False), ([0, 1], True)):
        truth = targets(per_picture, size, ignore)
        truth.labels.zero_()
        detector.zero_grad()
        loss_of(detector, size, truth).total.backward()
        assert [key for key, p in detector.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    detector, size = build(name).train(), (128, 128)
    with torch.no_grad():  # some layers start at zero, behind which nothing learns in the first step
        for p in detector.parameters():
            p += 0.01 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * p.requires_grad
    loss_of(detector, size, targets([40, 40], size)).total.backward()
    dry = [
        key
        for key, p in detector.named_parameters()
        if p.requires_grad and (p.grad is None or not bool(p.grad.abs().sum() > 0))
    ]
    assert dry == []
    frozen = [key for key, p in detector.named_parameters() if not p.requires_grad]
    assert set(frozen) <= FROZEN


def merges(module: nn.Module) -> bool:
    """Whether fusing makes one dense convolution of two sparse ones, which has more parameters than they."""
    return isinstance(module, DualConv) and isinstance(module.bn, nn.BatchNorm2d)


@pytest.mark.parametrize("name", NAMES)
def test_fused_agrees_and_leaves_the_original_alone(name: str) -> None:
    detector = build(name).train()
    with torch.no_grad():
        for _ in range(2):  # move the running statistics off their start
            detector(pictures((64, 64), 4) * 3)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    twin = detector.fused()
    assert detector.training
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    assert zoo.count_parameters(twin) < zoo.count_parameters(detector) or any(map(merges, detector.modules()))
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    with torch.no_grad():
        raw, fused = detector.eval()(pictures((96, 160))), twin(pictures((96, 160)))
    for key in raw:
        one, other = in_order(detector, raw[key]), in_order(detector, fused[key])
        if key in ("picks", "origins", "cores"):
            assert torch.equal(one, other)
            continue
        assert torch.allclose(one, other, rtol=0, atol=1e-4 * max(float(one.abs().max()), 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_network_and_state_goes_round(name: str) -> None:
    first, second, other = build(name), build(name), build(name, seed=5)
    state, again = first.state_dict(), second.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in state.items())
    other.load_state_dict(state)
    with torch.no_grad():
        want, got = first.eval()(pictures((64, 64))), other.eval()(pictures((64, 64)))
    assert all(torch.equal(want[key], got[key]) for key in want)


@pytest.mark.parametrize("name", NAMES)
def test_selection_is_what_decoding_gives(name: str) -> None:
    detector = build(name).eval()
    with torch.no_grad():
        raw = detector(pictures((64, 96)))
        raw["scores"] = 3 * torch.randn(raw["scores"].shape, generator=torch.Generator().manual_seed(0))
        everything = detector.head.decode_boxes(raw).numpy()
    for multi_label in (False, True):
        found = detector.head.select(raw, CONF, multi_label=multi_label)
        assert len(found) == 2
        assert sum(len(scores) for _, scores, _ in found) > 0
        for picture, (boxes, scores, labels) in enumerate(found):
            assert (np.diff(scores) <= 0).all()
            assert ((scores >= np.float32(CONF)) & (scores <= 1)).all()
            assert set(labels) <= set(range(CLASSES))
            for box in boxes[:20]:
                assert np.abs(everything[rows_of(raw, picture)].reshape(-1, 4) - box).max(1).min() < 1e-2


@pytest.mark.parametrize("name", [mark(name) for name in SMALLEST])
def test_classes_have_rows_of_their_own(name: str) -> None:
    """Transfer to other classes copies rows by name, so the parameters that `class_rows` names divide by classes."""
    detector = build(name)
    state = dict(detector.head.named_parameters())
    rows = detector.head.class_rows()
    assert rows
    assert all(len(state[key]) % CLASSES == 0 for key in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.full) if n.startswith(("gpvit", "lrs-detr")) else n for n in SMALLEST],
)
def test_exported_graph_agrees(name: str) -> None:
    class Whole(nn.Module):
        def __init__(self, detector: zoo.Detector) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            raw = self.detector(images)
            return self.detector.head.decode_boxes(raw), raw["scores"]

    whole = Whole(build(name).fused())
    images = pictures((64, 96), 1)
    program = torch.export.export(whole, (images,))
    with torch.no_grad():
        want, got = whole(images), program.module()(images)
    for one, other, tolerance in zip(want, got, (1e-3, 1e-4)):
        assert torch.allclose(in_order(whole.detector, one), in_order(whole.detector, other), atol=tolerance)
    kept = getattr(whole.detector.head, "_points", {})
    assert all(type(value) is Tensor for value in kept.values()), "no tensor of the trace is kept"
