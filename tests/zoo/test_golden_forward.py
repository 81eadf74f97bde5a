"""One forward pass with formula weights against the released networks' numbers, by way of their state dict order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finespot import zoo
from finespot.weights.foreign.yolo import from_yolo, to_yolo

NAMES = ("yolov8n", "yolo11n", *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolo11n-p2", "yolov8n-p2")))
RAW_TOLERANCE, PIXEL_TOLERANCE = 2e-6, 2e-4


def noise(count: int, k: int) -> np.ndarray:
    """Values in [0, 1) from an integer hash of position and `k`."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64((k + 1) * 2246822519)) & mask
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2246822519) & mask
    h ^= h >> np.uint64(13)
    h = h * np.uint64(3266489917) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2**32


def formula_value(key: str, value: torch.Tensor, k: int) -> torch.Tensor:
    if not value.is_floating_point() or "dfl" in key:
        return value
    r = 2 * noise(value.numel(), k) - 1
    if value.ndim == 4:
        made = r * np.sqrt(3 / np.prod(value.shape[1:]))
    elif key.endswith("bn.weight"):
        made = 1 + 0.2 * r
    elif key.endswith("running_var"):
        made = 1 + 0.3 * r
    else:
        made = 0.1 * r
    return torch.from_numpy(made.astype(np.float32).reshape(tuple(value.shape)))


def formula_detector(name: str) -> zoo.Detector:
    architecture = zoo.architecture(name)
    detector = zoo.build(architecture).eval()
    theirs = to_yolo(detector.state_dict(), architecture)
    made = {key: formula_value(key, value, k) for k, (key, value) in enumerate(theirs.items())}
    detector.load_state_dict(from_yolo(made, architecture))
    return detector


def formula_picture() -> torch.Tensor:
    c, y, x = np.meshgrid(np.arange(3), np.arange(160), np.arange(192), indexing="ij")
    return torch.from_numpy((0.5 + 0.5 * np.sin(0.05 * x + 0.07 * y + 1.3 * c + 0.001 * x * y)).astype(np.float32))[
        None
    ]


@pytest.mark.parametrize("name", NAMES)
def test_forward(name: str, golden) -> None:
    want, detector = golden["forward"][name], formula_detector(name)
    with torch.no_grad():
        raw = detector(formula_picture())
        fused = detector.fused()(formula_picture())
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
