"""YOLOX against the released networks: parameters, operations, one forward pass with formula weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from finespot import zoo
from finespot.weights.foreign import yolox

GOLDEN = json.loads((Path(__file__).parent / "data" / "yolox.json").read_text())
SMALL = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-nano-p2")


def quick(names: Any, but: tuple[str, ...] = SMALL) -> list[Any]:
    return [name if name in but else pytest.param(name, marks=pytest.mark.slow) for name in names]


def build(name: str, classes: int = 80) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes=classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["counts"]))
def test_published_counts(name: str) -> None:
    want, detector = GOLDEN["counts"][name], build(name)
    assert zoo.count_parameters(detector) == want["params"]
    assert zoo.count_parameters(build(name, classes=10)) == want["params_10"]
    assert zoo.count_parameters(detector.fused()) == want["fused"]
    if "parts" in want:
        assert [zoo.count_parameters(part) for part in (detector.backbone, detector.neck, detector.head)] == want[
            "parts"
        ]


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["own_counts"]))
def test_counts_of_our_p2_variants(name: str) -> None:
    want, detector = GOLDEN["own_counts"][name], build(name)
    assert zoo.count_parameters(detector) == want["params"]
    assert zoo.count_parameters(detector.fused()) == want["fused"]
    assert zoo.count_gflops(detector, (640, 640)) == pytest.approx(want["gflops"], abs=6e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["counts"], ("yolox-nano",)))
def test_gflops(name: str) -> None:
    want, detector = GOLDEN["counts"][name], build(name)
    assert zoo.count_gflops(detector, (640, 640)) == pytest.approx(want["gflops"], abs=6e-4)
    if "gflops_416" in want:
        assert zoo.count_gflops(detector, (416, 416)) == pytest.approx(want["gflops_416"], abs=6e-4)


def test_every_name_is_counted() -> None:
    assert set(zoo.YOLOX.names()) == {*GOLDEN["counts"], *GOLDEN["own_counts"]}


def test_pictures_are_wanted_from_0_to_255() -> None:
    normalization = zoo.normalization_of(zoo.architecture("yolox-s"))
    assert normalization.mean == (0, 0, 0)
    assert [1 / (255 * std) for std in normalization.std] == pytest.approx([1, 1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["forward"], ("yolox-nano",)))
def test_forward(name: str, formula_detector, formula_picture) -> None:
    want, detector = GOLDEN["forward"][name], formula_detector(name, yolox.entries)
    picture = formula_picture.flip(1)  # the formula's first channel is the file's: blue
    with torch.no_grad():
        p3, _, p5 = detector.neck(detector.backbone(picture)).maps
        raw = detector(picture)
    boxes = detector.head.decode_boxes(raw)
    xywh = torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), -1)
    scores = torch.cat((torch.sigmoid(raw["objectness"]), torch.sigmoid(raw["scores"])), 1).transpose(1, 2)
    for key, found in {"p3": p3, "p5": p5, "decoded": torch.cat((xywh, scores), -1)}.items():
        assert list(found.shape) == want[key]["shape"]
        assert found.double().sum().item() == pytest.approx(want[key]["sum"], abs=1e-5 * want[key]["abs"])
        assert found.double().abs().sum().item() == pytest.approx(want[key]["abs"], rel=1e-5)
        for place, value in want[key]["at"].items():
            assert found.flatten()[int(place)].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolox-nano", "yolox-nano-p2", pytest.param("yolox-tiny-p2", marks=pytest.mark.slow)])
def test_training_reaches_everything_and_fusing_changes_nothing(name: str, make_targets) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, classes=3)).train()
    targets = make_targets([40, 40], (96, 128), 3)
    detector.loss(detector(torch.rand(2, 3, 96, 128) * 255), targets).total.backward()
    assert [key for key, p in detector.named_parameters() if not bool(p.grad.abs().sum() > 0)] == []
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters())
    for _ in range(2):  # move the running statistics off their start
        detector(torch.rand(4, 3, 64, 64) * 255)
    twin, picture = detector.fused(), torch.rand(1, 3, 96, 160) * 255
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in twin.modules())
    with torch.no_grad():
        raw, fused = detector.eval()(picture), twin(picture)
    assert all(torch.allclose(raw[key], fused[key], rtol=0, atol=1e-4) for key in raw)
