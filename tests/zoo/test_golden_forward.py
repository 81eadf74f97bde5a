"""One forward pass with formula weights against the released networks' numbers, by way of their state dict order."""

from __future__ import annotations

import pytest
import torch
from formula_weights import formula, picture

from finespot import zoo
from finespot.weights.foreign.yolo import from_yolo, to_yolo

NAMES = ("yolov8n", "yolo11n", *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolo11n-p2", "yolov8n-p2")))
RAW_TOLERANCE, PIXEL_TOLERANCE = 2e-6, 2e-4


def formula_detector(name: str) -> zoo.Detector:
    architecture = zoo.architecture(name)
    detector = zoo.build(architecture).eval()
    theirs = to_yolo(detector.state_dict(), architecture)
    made = {key: formula(key, value, k) for k, (key, value) in enumerate(theirs.items())}
    detector.load_state_dict(from_yolo(made, architecture))
    return detector


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_forward(name: str, golden) -> None:
    want, detector = golden["forward"][name], formula_detector(name)
    with torch.no_grad():
        raw = detector(picture())
        fused = detector.fused()(picture())
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
        assert raw["boxes"][0, :8, i].tolist() == pytest.approx(sample["raw_box_first8"], abs=RAW_TOLERANCE)
        assert raw["scores"][0, :4, i].tolist() == pytest.approx(sample["raw_scores_first4"], abs=RAW_TOLERANCE)
        assert xywh[i].tolist() == pytest.approx(sample["xywh"], abs=PIXEL_TOLERANCE)


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n-p2"])
def test_initial_biases(name: str, golden) -> None:
    detector = zoo.build(zoo.architecture(name))
    state, want = detector.head.state_dict(), golden["biases"][name]
    levels = list(detector.head.box_branches)
    assert len(levels) == len(want["box"])
    for level, box, cls in zip(levels, want["box"], want["cls"]):
        assert state[f"box_branches.{level}.predict.bias"].unique().tolist() == [box]
        assert state[f"class_branches.{level}.predict.bias"].unique().tolist() == pytest.approx([cls], abs=1e-6)
