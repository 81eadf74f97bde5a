"""RTMDet against the released networks: parameters, operations, one forward pass with formula weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.weights.foreign import mmdetection_rtmdet, mmyolo_rtmdet

GOLDEN = json.loads((Path(__file__).parent / "data" / "rtmdet.json").read_text())
SMALL = ("rtmdet-tiny", "rtmdet-s", "rtmdet-tiny-p2")


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
    assert [zoo.count_parameters(part) for part in (detector.backbone, detector.neck, detector.head)] == want["parts"]


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["own_counts"]))
def test_counts_of_our_p2_variants(name: str) -> None:
    want, detector = GOLDEN["own_counts"][name], build(name)
    assert zoo.count_parameters(detector) == want["params"]
    assert zoo.count_parameters(detector.fused()) == want["fused"]
    assert zoo.count_gflops(detector, (640, 640)) == pytest.approx(want["gflops"], abs=6e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["counts"], ("rtmdet-tiny",)))
def test_gflops(name: str) -> None:
    assert zoo.count_gflops(build(name), (640, 640)) == pytest.approx(GOLDEN["counts"][name]["gflops"], abs=6e-4)


def test_every_name_is_counted() -> None:
    assert set(zoo.RTMDET.names()) == {*GOLDEN["counts"], *GOLDEN["own_counts"]}


@pytest.mark.slow
def test_exponents_are_those_of_the_recipes() -> None:
    assert [size for size in zoo.RTMDET.sizes if build(f"rtmdet-{size}").head.exp] == ["l", "x"]
    with torch.device("meta"):
        assert zoo.build(zoo.architecture("rtmdet-tiny", exp=True)).head.exp
        assert not zoo.build(zoo.architecture("rtmdet-l", exp=False)).head.exp
    with pytest.raises(FineSpotError, match="option 'expo'"):
        zoo.build(zoo.architecture("rtmdet-tiny", expo=True))


def test_pictures_are_normalized_in_the_order_of_rgb() -> None:
    normalization = zoo.normalization_of(zoo.architecture("rtmdet-s"))
    assert [255 * value for value in normalization.mean] == pytest.approx([123.675, 116.28, 103.53])
    assert [255 * value for value in normalization.std] == pytest.approx([58.395, 57.12, 57.375])


@pytest.mark.slow
@pytest.mark.parametrize("name", quick(GOLDEN["forward"], ("rtmdet-tiny",)))
def test_forward(name: str, formula_detector, formula_picture) -> None:
    def first_level(key: str) -> str:
        return re.sub(r"(cls_convs|reg_convs)\.\d(\.\d\.conv\.weight)", r"\1.0\2", key)

    want, detector = GOLDEN["forward"][name], formula_detector(name, mmdetection_rtmdet.entries, first_level)
    picture = formula_picture.flip(1)  # the formula's first channel is the file's: blue
    with torch.no_grad():
        features = detector.backbone(picture)
        mixed = detector.neck(features)
        raw = detector.head(mixed)
    found = {"c5": features.maps[2], "p3": mixed.maps[0]}
    for key in ("scores", "boxes"):
        found[f"{key}_p3"] = raw[key][..., : 20 * 24].unflatten(2, (20, 24))
        found[f"{key}_p5"] = raw[key][..., -5 * 6 :].unflatten(2, (5, 6))
    for key, values in found.items():
        assert list(values.shape) == want[key]["shape"]
        assert values.double().sum().item() == pytest.approx(want[key]["sum"], abs=1e-5 * want[key]["abs"])
        assert values.double().abs().sum().item() == pytest.approx(want[key]["abs"], rel=1e-5)
        for place, value in want[key]["at"].items():
            assert values.flatten()[int(place)].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rtmdet-tiny-p2", pytest.param("rtmdet-s", marks=pytest.mark.slow)])
def test_training_reaches_everything_and_fusing_changes_nothing(name: str, make_targets) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, classes=3)).train()
    targets = make_targets([40, 40], (96, 128), 3)
    detector.loss(detector(torch.rand(2, 3, 96, 128)), targets).total.backward()
    dry = [key for key, p in detector.named_parameters() if not bool(p.grad.abs().sum() > 0)]
    # Objects of 40 pixels or less may leave the coarsest levels without a positive, so their boxes learn nothing.
    assert [key for key in dry if "box_branch" not in key] == []
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters())
    for _ in range(2):  # move the running statistics off their start
        detector(torch.rand(4, 3, 64, 64))
    twin, picture = detector.fused(), torch.rand(1, 3, 96, 160)
    left = [key for key, module in twin.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert left
    assert all(".norms." in key for key in left)  # those behind shared kernels
    with torch.no_grad():
        raw, fused = detector.eval()(picture), twin(picture)
    assert all(torch.allclose(raw[key], fused[key], rtol=0, atol=1e-4) for key in raw)


def test_namings_hold_the_same_network() -> None:
    architecture = zoo.architecture("rtmdet-tiny")
    names = [{e.ours for e in module.entries(architecture)} for module in (mmdetection_rtmdet, mmyolo_rtmdet)]
    assert names[0] == names[1]
