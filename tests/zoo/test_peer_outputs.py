"""Networks compute what another toolkit's released code computes: recorded outputs of formula-made weights.

`data/peer_outputs.json` was written by benchmarks/peers/golden.py (its docstring has the formulas); nothing of that
toolkit is needed here.
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from formula_weights import formula, picture

from finespot import zoo
from finespot.weights.foreign.yolo import from_yolo, to_yolo

RECORDED = json.loads((Path(__file__).parent / "data" / "peer_outputs.json").read_text())
UNIT = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
# A wrong epsilon in batch normalization moves single values by 1e-4; two correct networks differ by 1e-6.
RAW, PIXELS, SUM = 5e-6, 5e-4, 2e-3
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name[6] == "m" else name for name in RECORDED["models"]]


def entries(record: dict[str, Any]) -> list[str]:
    """The recorded names of a state dict, in order."""
    keys: list[str] = []
    for name in record["keys"]:
        prefix = name.removesuffix(".conv+bn")
        keys += [name] if prefix == name else [f"{prefix}.{part}" for part in UNIT]
    return keys


@functools.lru_cache(maxsize=1)
def filled(name: str) -> zoo.Detector:
    """FineSpot's network with the formula's weights, given in the peer's order. Shared: do not change it."""
    architecture = zoo.architecture(name)
    detector = zoo.build(architecture).eval()
    foreign = to_yolo(detector.state_dict(), architecture)
    state = {key: formula(key, foreign[key], k) for k, key in enumerate(entries(RECORDED["models"][name]))}
    detector.load_state_dict(from_yolo(state, architecture))
    return detector


@pytest.mark.parametrize("name", NAMES)
def test_entries_have_the_recorded_names_and_order(name: str) -> None:
    architecture = zoo.architecture(name)
    assert list(to_yolo(zoo.build(architecture).state_dict(), architecture)) == entries(RECORDED["models"][name])


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_raw_outputs_and_boxes_are_the_recorded_ones(name: str, fused: bool) -> None:
    record = RECORDED["models"][name]
    detector = filled(name)
    with torch.inference_mode():
        raw = (detector.fused() if fused else detector)(picture(*RECORDED["input"]))
        corners = detector.head.decode_boxes(raw)[0].double()
    boxes, scores = raw["boxes"][0].double(), raw["scores"][0].double()
    assert boxes.shape == (64, record["anchors"])
    sums = {"boxes_sum": boxes, "scores_sum": scores, "boxes_abs_sum": boxes.abs(), "scores_abs_sum": scores.abs()}
    for key, values in sums.items():
        assert values.sum().item() == pytest.approx(record[key], abs=SUM, rel=1e-6), key
    centers = torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    for sample in record["samples"]:
        anchor = sample["anchor"]
        np.testing.assert_allclose(boxes[::8, anchor], sample["boxes"], rtol=0, atol=RAW)
        np.testing.assert_allclose(scores[::16, anchor], sample["scores"], rtol=0, atol=RAW)
        np.testing.assert_allclose(centers[anchor], sample["cxcywh"], rtol=0, atol=PIXELS)


@pytest.mark.slow
def test_a_wrong_epsilon_would_be_seen() -> None:
    detector = copy.deepcopy(filled("yolov8n"))
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-5
    with torch.inference_mode():
        boxes = detector(picture(*RECORDED["input"]))["boxes"][0]
    samples = RECORDED["models"]["yolov8n"]["samples"]
    assert max(float((boxes[::8, s["anchor"]] - torch.tensor(s["boxes"])).abs().max()) for s in samples) > 4 * RAW
