"""Levels of a detector's head switched off by name or stride."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from finespot import weights, zoo
from finespot.errors import FineSpotError
from finespot.structures import Classes
from finespot.weights import Card


@pytest.fixture(scope="module")
def detector() -> zoo.Detector:
    torch.manual_seed(0)
    return zoo.build(zoo.architecture("yolov8n-p2", classes=2)).eval()


def points(detector: zoo.Detector) -> int:
    with torch.no_grad():
        return int(detector(torch.zeros(1, 3, 64, 64))["scores"].shape[2])


@pytest.mark.slow
def test_by_name_and_by_stride(detector: zoo.Detector) -> None:
    for levels, off, count in (
        (["p2"], ["p2"], 84),
        ([4], ["p2"], 84),
        ([4, "p5", 32], ["p2", "p5"], 80),
        ([], [], 340),
    ):
        detector.switch_off(levels)
        assert (detector.levels_off, points(detector)) == (off, count)
        assert points(detector.fused()) == count


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["p6"], r"levels: the head has no level p6; it has p2 \(stride 4\), p3 \(stride 8\), p4"),
        ([2], "levels: the head has no level 2; it has p2"),
        ([4, 8, 16, 32], "levels: no level would be on: the head has only p2, p3, p4, p5"),
    ],
)
def test_levels_that_cannot_be_off(detector: zoo.Detector, levels: list[int | str], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        detector.switch_off(levels)
    assert detector.levels_off == []


@pytest.mark.slow
def test_a_weight_file_knows_the_levels_that_are_off(detector: zoo.Detector, tmp_path: Path) -> None:
    assert detector.architecture is not None
    card = Card(architecture=detector.architecture, classes=Classes(("a", "b")))
    detector.switch_off(["p2"])
    path = weights.save(tmp_path / "off.safetensors", detector, card)
    detector.switch_off([])
    assert weights.read_card(path).levels_off == ["p2"]
    assert card.levels_off == []
    again, read = weights.load(path)
    assert (again.levels_off, points(again)) == (["p2"], 84)
    whole = weights.save(tmp_path / "on.safetensors", detector, read)
    assert weights.read_card(whole).levels_off == [], "the network says it, not the card"
    assert points(weights.load(whole)[0]) == 340


@pytest.mark.slow
def test_a_file_with_a_level_that_its_network_lacks(tmp_path: Path) -> None:
    detector = zoo.build(zoo.architecture("yolov8n", classes=1))
    assert detector.architecture is not None
    card = Card(architecture=detector.architecture, classes=Classes(("a",)))
    path = weights.save(tmp_path / "w.safetensors", detector, card)
    damaged = msgspec.structs.replace(card, levels_off=["p2"]).to_json()
    save_file(load_file(path), path, {"finespot": damaged})
    with pytest.raises(FineSpotError, match=r"w.safetensors: levels: the head has no level p2; it has p3"):
        weights.load(path)
