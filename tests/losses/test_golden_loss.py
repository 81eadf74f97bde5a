"""The whole loss on formula inputs against the released YOLOv8's: values, positives and gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finespot.nn.heads.dense_loss import DenseLoss, points_of
from finespot.nn.heads.points import make_anchors
from finespot.structures import Targets

CASES = json.loads((Path(__file__).parent / "data" / "loss.json").read_text())


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


def inputs(case: dict[str, Any]) -> tuple[dict[str, torch.Tensor], Targets]:
    """Raw predictions that are noise, raised where a target is, and the targets."""
    batch, count, classes, (height, width) = case["batch"], case["anchors"], case["nc"], case["hw"]
    boxes = (2 * (2 * noise(batch * 64 * count, 1) - 1)).astype(np.float32).reshape(batch, 64, count)
    scores = (2 * (2 * noise(batch * classes * count, 2) - 1) - 3).astype(np.float32).reshape(batch, classes, count)
    sizes = [(height // s, width // s) for s in case["strides"]]
    anchors = make_anchors(sizes, case["strides"], torch.device("cpu"))
    x, y, stride = anchors[0].double().numpy().T
    rows = []
    for image, label, cx, cy, w, h in case["targets"]:
        cx, w, cy, h = cx * width, w * width, cy * height, h * height
        x1, y1, x2, y2 = cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
        rows.append([x1, y1, x2, y2])
        near = np.flatnonzero((abs(x - cx) < max(w, 16) / 2) & (abs(y - cy) < max(h, 16) / 2))
        for side, distance in enumerate((x - x1, y - y1, x2 - x, y2 - y)):
            cells = np.clip(distance[near] / stride[near], 0, 15)
            peak = np.clip(4 - (np.arange(16) - cells[:, None]) ** 2, -4, 4)
            boxes[int(image), side * 16 : side * 16 + 16, near] += peak.astype(np.float32)
        scores[int(image), int(label), near] += 2
    assert boxes.astype(np.float64).sum() == pytest.approx(case["pred_boxes_sum"], abs=0.01)
    assert scores.astype(np.float64).sum() == pytest.approx(case["pred_scores_sum"], abs=0.01)
    table = np.array(case["targets"], dtype=np.float64).reshape(-1, 6)
    targets = Targets(
        torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
        torch.from_numpy(table[:, 1]).long(),
        torch.from_numpy(table[:, 0]).long(),
        torch.zeros(len(table), dtype=torch.bool),
        batch,
    )
    return {"boxes": torch.from_numpy(boxes), "scores": torch.from_numpy(scores), "anchors": anchors}, targets


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients(name: str) -> None:
    case = CASES[name]
    raw, targets = inputs(case)
    raw["boxes"].requires_grad_()
    raw["scores"].requires_grad_()
    found = DenseLoss()(raw, targets, case["strides"])
    assert [found.terms[key].item() for key in ("box", "cls", "dfl")] == pytest.approx(
        case["loss_box_cls_dfl"], rel=1e-5
    )
    total = found.total * case["batch"]
    assert total.item() == pytest.approx(case["total_times_batch"], rel=1e-5)
    total.backward()
    for key in ("boxes", "scores"):
        assert raw[key].grad.double().abs().sum().item() == pytest.approx(case[f"grad_abs_sum_{key}"], rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_positives(name: str) -> None:
    case = CASES[name]
    raw, targets = inputs(case)
    points = points_of(raw, case["strides"])
    loss = DenseLoss()
    found = loss.assigner(points, targets, points.candidates)
    counts = loss(raw, targets, case["strides"]).counts
    assert int(counts["positives"]) == sum(case["n_foreground"])
    for image in range(case["batch"]):
        # Of the points that do not overlap, the peer takes any, and those bear no loss.
        here = (found.rows // case["anchors"] == image) & (found.weights > 0)
        first = int((targets.image < image).sum())
        assert (found.rows[here] % case["anchors"]).tolist() == case["fg_index"][image]
        assert (found.targets[here] - first).tolist() == case["fg_gt"][image]
