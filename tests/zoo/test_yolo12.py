"""YOLO12: counts of all sizes, one forward pass with formula weights, what the larger sizes add, what it must do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from formula_weights import formula, picture
from torch import nn

from finespot import zoo
from finespot.nn.layers import A2C2f, AreaAttention
from finespot.weights.foreign.yolo import from_yolo, to_yolo

GOLDEN = json.loads((Path(__file__).parent / "data" / "yolo12.json").read_text())
NAMES = list(GOLDEN["counts"])
SLOW_BUT_N = [name if name == "yolo12n" else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def on_meta(name: str, classes: int = 80) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes))


def test_names_are_those_of_the_family() -> None:
    assert zoo.YOLO12.names() == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    detector = on_meta(name)
    assert zoo.count_parameters(detector) == GOLDEN["counts"][name]["params"]
    # 80 classes: the class branch is 80 or more channels wide; for fewer classes it is as wide as the finest level.
    assert zoo.count_parameters(detector) > zoo.count_parameters(on_meta(name, classes=10))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_BUT_N)
def test_fused_parameters_and_operations(name: str) -> None:
    want, detector = GOLDEN["counts"][name], on_meta(name)
    assert zoo.count_parameters(detector.fused()) == want["params_fused"]
    assert zoo.count_gflops(detector, (640, 640)) == pytest.approx(want["gflops_counted"], abs=6e-5)


@pytest.mark.slow
def test_forward_is_that_of_the_released_network() -> None:
    architecture, want = zoo.architecture("yolo12n"), GOLDEN["forward"]["yolo12n"]
    detector = zoo.build(architecture).eval()
    theirs = to_yolo(detector.state_dict(), architecture)
    made = {key: formula(key, value, k) for k, (key, value) in enumerate(theirs.items())}
    detector.load_state_dict(from_yolo(made, architecture))
    with torch.no_grad():
        raw, fused = detector(picture()), detector.fused()(picture())
    for key in ("boxes", "scores"):
        assert raw[key].double().sum().item() == pytest.approx(want[f"raw_{key}_sum"], abs=1e-4)
        assert raw[key].double().abs().sum().item() == pytest.approx(want[f"raw_{key}_abs_sum"], abs=1e-4)
        assert torch.allclose(raw[key], fused[key], rtol=0, atol=1e-5)
    boxes = detector.head.decode_boxes(raw)[0].double()
    xywh = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), 1)
    assert xywh.sum(0).tolist() == pytest.approx(want["out_xywh_sum"], rel=1e-6)
    assert torch.sigmoid(raw["scores"].double()).sum().item() == pytest.approx(want["out_scores_sum"], rel=1e-6)
    for sample in want["samples"]:
        i = sample["anchor"]
        assert raw["boxes"][0, :8, i].tolist() == pytest.approx(sample["raw_box_first8"], abs=2e-6)
        assert raw["scores"][0, :4, i].tolist() == pytest.approx(sample["raw_scores_first4"], abs=2e-6)
        assert xywh[i].tolist() == pytest.approx(sample["xywh"], abs=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "residual"), [("yolo12n", False), ("yolo12m", False), ("yolo12l", True)])
def test_large_sizes_scale_their_residuals(name: str, residual: bool) -> None:
    detector = on_meta(name)
    blocks = [block for block in detector.backbone.modules() if isinstance(block, A2C2f)]
    assert [block.scale is not None for block in blocks] == [residual, residual]
    assert all(block.scale is None for block in detector.neck.modules() if isinstance(block, A2C2f))
    areas = [part.areas for part in detector.modules() if isinstance(part, AreaAttention)]
    assert areas == sorted(areas, reverse=True)
    assert set(areas) == {4, 1}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolo12n", pytest.param("yolo12n-p2", marks=pytest.mark.slow)])
def test_learns_from_any_picture_of_whole_strides(name: str, make_targets) -> None:
    torch.manual_seed(0)
    detector, size = zoo.build(zoo.architecture(name, 3)).train(), (96, 160)
    strides = [level.stride for level in detector.head.inputs]
    assert strides == ([4, 8, 16, 32] if name.endswith("-p2") else [8, 16, 32])
    raw = detector(torch.rand(2, 3, *size))
    assert raw["scores"].shape == (2, 3, sum(size[0] // s * (size[1] // s) for s in strides))
    terms = detector.loss(raw, make_targets([30, 30], size, 3))
    terms.total.backward()
    dry = [key for key, p in detector.named_parameters() if p.requires_grad and not bool(p.grad.abs().sum() > 0)]
    assert [key for key in dry if "box_branches" not in key] == []
    assert all(p.grad.isfinite().all() for p in detector.parameters() if p.requires_grad)
    twin = detector.fused()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
