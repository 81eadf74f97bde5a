"""RetinaNet: published counts, any sides, training and inference as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture

GOLDEN = json.loads((Path(__file__).parent / "data" / "retinanet.json").read_text())
NAMES = ("retinanet-r50", "retinanet-r50-v2")


def meta(name: str, classes: int = 80, **options: object) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes, **options))


@pytest.mark.parametrize("classes", [91, 80, 10])
@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str, classes: int) -> None:
    detector, parts = meta(name, classes), GOLDEN["parts"][name]
    assert zoo.count_parameters(detector.backbone) == parts["backbone"]
    assert zoo.count_parameters(detector.neck) == parts["neck"]
    assert zoo.count_parameters(detector.head) == parts["head"][str(classes)]
    assert zoo.count_parameters(detector) == GOLDEN["totals"][name][str(classes)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_gflops(name: str) -> None:
    gflops = zoo.count_gflops(meta(name, 91), (800, 800))
    assert gflops == pytest.approx(GOLDEN["gflops_800_91"][name], abs=0.05)


@pytest.mark.slow
def test_fusing_takes_every_batch_norm_away() -> None:
    detector = meta("retinanet-r50-v2")
    norms = [m for m in detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    fused = detector.fused()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fused.modules())
    # Scale and shift of a channel become one bias.
    assert zoo.count_parameters(detector) - zoo.count_parameters(fused) == sum(m.num_features for m in norms)


def test_names() -> None:
    assert set(NAMES) <= set(zoo.names())
    assert zoo.name_of(Architecture("retinanet", "r50", 3, {"form": "v2"})) == "retinanet-r50-v2"
    assert zoo.name_of(Architecture("retinanet", "r50", 3, {"norm_eps": 0.0})) == "retinanet-r50 (norm_eps=0.0)"
    assert zoo.normalization_of(zoo.architecture("retinanet-r50")).std == (0.229, 0.224, 0.225)


def test_options_change_the_network() -> None:
    plain, frozen = meta("retinanet-r50"), meta("retinanet-r50", norm_eps=0.0)
    assert {m.eps for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-5}
    assert {m.eps for m in frozen.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.0}
    other = meta("retinanet-r50", form="mmdetection")
    assert (plain.neck.from_backbone, plain.neck.extra_relu, plain.head.spread) == (False, True, True)
    assert (other.neck.from_backbone, other.neck.extra_relu, other.head.spread) == (True, False, False)
    assert other.head.anchor_sizes[0][0] == pytest.approx((32 * 2**0.5, 16 * 2**0.5))
    with pytest.raises(FineSpotError, match="unknown form of retinanet 'v3'"):
        meta("retinanet-r50", form="v3")


@pytest.mark.slow
def test_a_backbone_of_another_depth() -> None:
    detector = meta("retinanet-r50", backbone="resnet(depth=101)")
    assert zoo.count_parameters(detector.backbone) == 42_500_160


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(96, 352), (160, 192)])
def test_training_and_inference_at_sides_of_32(name: str, size: tuple[int, int], make_targets) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, classes=3))
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    targets = make_targets([12, 0], size, 3)
    terms = detector.loss(detector(pictures, targets), targets)
    assert set(terms.terms) == {"box", "cls"}
    terms.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())
    assert [key for key, p in detector.named_parameters() if not bool(p.grad.abs().sum() > 0)] == []
    detector.eval()
    with torch.no_grad():
        raw = detector(pictures)
    boxes, scores, labels = detector.head.select(raw, 0.001)[0]
    assert len(boxes) == len(scores) == len(labels) > 0
    twin = detector.fused()
    with torch.no_grad():
        again = twin(pictures)
    assert all(torch.allclose(raw[key], again[key], rtol=0, atol=1e-4) for key in raw)
