"""RT-DETR: parameters, operations and forward passes against the authors' networks; our P2 variants; options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from formula_weights import formula, picture
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Features
from finespot.weights.foreign.rtdetr import from_rtdetr, to_rtdetr

GOLDEN = json.loads((Path(__file__).parent / "data" / "rtdetr.json").read_text())
CLASSES = 3


def quick(names) -> list:
    return [name if "r18" in name else pytest.param(name, marks=pytest.mark.slow) for name in names]


def on_meta(name: str, classes: int = 80, **options) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes=classes, **options))


def build(name: str, **options) -> zoo.Detector:
    torch.manual_seed(0)
    return zoo.build(zoo.architecture(name, classes=CLASSES, **options))


def pictures(size: tuple[int, int], batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["counts"]))
def test_parameters(name: str) -> None:
    many, few = on_meta(name), on_meta(name, classes=10)
    counts = [zoo.count_parameters(one) for one in (many, few, many.fused(), few.fused())]
    assert counts == GOLDEN["counts"][name]


@pytest.mark.parametrize("name", quick(GOLDEN["own_counts"]))
def test_parameters_of_the_variants_of_our_own(name: str) -> None:
    assert zoo.count_parameters(on_meta(name)) == GOLDEN["own_counts"][name]


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["gflops"]))
def test_gflops(name: str) -> None:
    """The published figures leave out the products inside attention, and put the boxes of all cells through the box
    layers of the query selection, of which only those of the chosen cells are wanted.
    """
    detector = on_meta(name)
    cells, coarse, queries, width = 8400, 400, 300, 256
    attention = coarse**2 * detector.neck.levels[0].channels + len(detector.head.layers) * queries**2 * width
    not_chosen = (cells - queries) * (2 * width**2 + 4 * width)
    gflops = zoo.count_gflops(detector, (640, 640)) + (2 * not_chosen - 4 * attention) / 1e9
    assert gflops == pytest.approx(GOLDEN["gflops"][name], abs=5.1e-3)


def formula_detector(name: str) -> zoo.Detector:
    """Weights that depend on the authors' keys only, by way of the key map."""
    architecture = zoo.architecture(name)
    detector = zoo.build(architecture).eval()
    theirs = {key: formula(key, value) for key, value in to_rtdetr(detector.state_dict(), architecture).items()}
    detector.load_state_dict(from_rtdetr(theirs, architecture))
    return detector


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["forward"]))
def test_forward(name: str) -> None:
    want, detector = GOLDEN["forward"][name], formula_detector(name)
    images = picture(256, 256)
    with torch.no_grad():
        features = detector.backbone(images)
        mixed = detector.neck(features)
        raw = detector.head(mixed)
        fused = detector.fused()(images)
    found = {"c3": features.maps[0], "c5": features.maps[-1], "p3": mixed.maps[0], "p5": mixed.maps[-1]}
    # Scores as the authors lay them out, query by query.
    found |= {"scores": raw["scores"].transpose(1, 2), "boxes": raw["boxes"]}
    for key, value in found.items():
        total, absolute = want[key]
        # The sums are published with six digits.
        assert value.double().sum().item() == pytest.approx(total, abs=1e-5 * absolute), key
        assert value.double().abs().sum().item() == pytest.approx(absolute, rel=1e-5), key
    for key, samples in want["values"].items():
        for index, value in samples:
            assert found[key].flatten()[index].item() == pytest.approx(value, abs=1e-5), key
    # Queries of nearly equal rank may change places.
    assert fused["boxes"].sum().item() == pytest.approx(raw["boxes"].sum().item(), rel=1e-4)
    assert fused["scores"].abs().sum().item() == pytest.approx(raw["scores"].abs().sum().item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(["rtdetr-r18", "rtdetr-r18-p2", "rtdetr-l-p2"]))
def test_shapes_of_rectangles(name: str) -> None:
    detector, size = build(name).eval(), (96, 352)
    strides = [4, 8, 16, 32] if name.endswith("-p2") else [8, 16, 32]
    assert [level.stride for level in detector.head.inputs] == strides
    with torch.no_grad():
        features: Features = detector.backbone(pictures(size))
        raw = detector(pictures(size))
    for level, x in zip(features.levels, features.maps):
        assert x.shape[1:] == (level.channels, size[0] // level.stride, size[1] // level.stride)
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 300, 4),
        "scores": (2, CLASSES, 300),
        "extent": (1, 4),
    }
    assert raw["extent"].tolist() == [[352, 96, 352, 96]]
    assert detector.head.decode_boxes(raw).shape == (2, 300, 4)


@pytest.mark.slow
def test_fused_agrees_and_leaves_the_original_alone() -> None:
    detector = build("rtdetr-r18").train()
    for _ in range(2):  # move the running statistics off their start
        detector(pictures((64, 64), 4) * 3)
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    twin = detector.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    detector.eval()
    with torch.no_grad():
        maps = detector.neck(detector.backbone(pictures((96, 160)))).maps
        fused_maps = twin.neck(twin.backbone(pictures((96, 160)))).maps
        raw, fused = detector(pictures((96, 160))), twin(pictures((96, 160)))
    assert all(torch.allclose(a, b, rtol=0, atol=1e-4) for a, b in zip(maps, fused_maps))
    assert torch.allclose(raw["scores"].sort().values, fused["scores"].sort().values, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_options_of_the_architecture() -> None:
    detector = build("rtdetr-r18", queries=7, denoising=0, layers=2)
    assert len(detector.head.layers) == 2
    assert detector.head.denoising is None
    assert detector.eval()(pictures((64, 64)))["boxes"].shape == (2, 7, 4)
    assert not build("rtdetr-r18").head.suppress
    for option in ({"queries": 0}, {"layers": 0}, {"denoising": -1}, {"queries": 2.5}):
        with pytest.raises(FineSpotError, match=f"expected {next(iter(option))} to be a number of"):
            on_meta("rtdetr-r18", **option)
    with pytest.raises(FineSpotError, match="unknown rtdetr option 'query'"):
        on_meta("rtdetr-r18", query=5)


def test_names_go_round() -> None:
    for name in ("rtdetr-r18", "rtdetr-x-p2"):
        assert name in zoo.names()
        assert zoo.name_of(zoo.architecture(name)) == name
    assert zoo.normalization_of(zoo.architecture("rtdetr-l")).mean == (0, 0, 0)


SLOW, FULL = pytest.mark.slow, pytest.mark.full


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=mark)
        for name, mark in (("rtdetr-r18", SLOW), ("rtdetr-l", FULL), ("rtdetr-r18-p2", FULL))
    ],
)
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
    # Cells of nearly equal rank may change places.
    for one, other in zip(want, got):
        assert torch.allclose(one.flatten().sort().values, other.flatten().sort().values, atol=1e-3)
    assert all(
        type(value) is torch.Tensor for kept in whole.detector.head.selection._anchors.values() for value in kept
    )


@pytest.mark.slow
def test_a_p2_network_takes_over_what_fits() -> None:
    small, large = build("rtdetr-r18").state_dict(), build("rtdetr-r18-p2").state_dict()
    fitting = [key for key, value in large.items() if key in small and small[key].shape == value.shape]
    share = sum(large[key].numel() for key in fitting) / sum(value.numel() for value in small.values())
    assert share > 0.98
