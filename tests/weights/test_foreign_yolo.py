"""State dicts of released YOLO files to ours and back: keys, order, exact values, errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign.yolo import FAMILIES, entries, from_yolo, to_yolo

NAMES = [name for family in zoo.families() if family.name in FAMILIES for name in family.names()]
GOLDEN = json.loads((Path(__file__).parents[1] / "zoo" / "data" / "golden.json").read_text())


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_keys_shapes_and_order(name: str) -> None:
    architecture = zoo.architecture(name)
    with torch.device("meta"):
        ours = zoo.build(architecture).state_dict()
    theirs = to_yolo({key: torch.zeros(value.shape) for key, value in ours.items()}, architecture)
    assert [[key, list(value.shape)] for key, value in theirs.items()] == GOLDEN["state_dict"][name]


@pytest.mark.parametrize(
    "name",
    [
        "yolov8n-p2",
        "yolo11n",
        pytest.param("yolov8m", marks=pytest.mark.slow),
        pytest.param("yolo11l-p2", marks=pytest.mark.slow),
    ],
)
def test_there_and_back_is_exact(name: str) -> None:
    architecture = zoo.architecture(name, classes=3)
    with torch.device("meta"):
        shapes = zoo.build(architecture).state_dict()
    ours = {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes.items()}
    again = from_yolo(to_yolo(ours, architecture), architecture)
    assert set(again) == set(ours)
    # Batch counters of a fork's branches are one number in the file.
    assert all(torch.equal(again[key], ours[key]) for key in ours if not key.endswith("num_batches_tracked"))


@pytest.mark.parametrize(
    "name", [n if n in ("yolov8n", "yolo11n-p2") else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_the_map_names_every_tensor(name: str) -> None:
    architecture = zoo.architecture(name, classes=2)
    with torch.device("meta"):
        ours = zoo.build(architecture).state_dict()
    assert {key for entry in entries(architecture) for key in entry.ours} == set(ours)


@pytest.mark.slow
def test_what_does_not_fit_is_refused() -> None:
    architecture = zoo.architecture("yolov8n", classes=3)
    theirs = to_yolo(zoo.build(architecture).state_dict(), architecture)
    with pytest.raises(FineSpotError, match=r"expected shape .* check size and class count"):
        from_yolo(theirs, zoo.architecture("yolov8n", classes=4))
    with pytest.raises(FineSpotError, match="missing"):
        from_yolo({k: v for k, v in theirs.items() if k != "model.0.conv.weight"}, architecture)
    with pytest.raises(FineSpotError, match="do not belong"):
        from_yolo({**theirs, "model.99.weight": torch.zeros(1)}, architecture)
    with pytest.raises(FineSpotError):
        from_yolo(theirs, zoo.architecture("yolov8s", classes=3))


def test_a_fused_state_is_refused() -> None:
    architecture = zoo.architecture("yolov8n", classes=2)
    with pytest.raises(FineSpotError, match="unfused tensor"):
        to_yolo(zoo.build(architecture).fused().state_dict(), architecture)


def test_networks_with_other_parts_are_refused() -> None:
    class Plain(nn.Module):
        def __init__(self, inputs, widths, block):
            super().__init__()
            self.inputs = self.levels = inputs

    sys.modules["plain_neck"] = module = ModuleType("plain_neck")
    module.Plain = Plain
    with pytest.raises(FineSpotError, match="is not a released YOLOv8, YOLO11 or YOLO12"):
        to_yolo({}, Architecture("yolov8", "n", 2, {"neck": "plain_neck:Plain"}))
