"""Rows by class name where one layer has the classes of several anchors, one anchor behind the other."""

from __future__ import annotations

import pytest
import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.weights import Card

FROM, TO = Classes(("person", "car")), Classes(("car", "dog", "person"))


def build(classes: int, seed: int, name: str = "retina") -> zoo.Detector:
    torch.manual_seed(seed)
    # All parts but the head are small here.
    return zoo.build(zoo.architecture("yolov8n", classes, neck="fpn(width=16, count=0)", head=name))


def test_rows_of_every_anchor_follow_their_names(tmp_path) -> None:
    source, target = build(2, 0), build(3, 1)
    file = weights.save(
        tmp_path / "w.safetensors", source, Card(architecture=source.architecture, classes=FROM, imgsz=64)
    )
    start = {name: value.clone() for name, value in target.state_dict().items()}
    saved = weights.load(file)[0].state_dict()
    report = weights.transfer(target, TO, file)
    assert report.classes_matched == ("car", "person")
    assert report.classes_new == ("dog",)
    for name in ("head.classify.weight", "head.classify.bias"):
        given = saved[name].unflatten(0, (9, 2))
        old, new = (one[name].unflatten(0, (9, 3)) for one in (start, target.state_dict()))
        assert torch.equal(new[:, 0], given[:, 1])
        assert torch.equal(new[:, 1], old[:, 1])
        assert torch.equal(new[:, 2], given[:, 0])
    counted = sum(p.numel() for p in target.parameters())
    left = sum(start[f"head.classify.{part}"].numel() for part in ("weight", "bias")) / 3
    assert report.share == pytest.approx(1 - left / counted)


def test_another_count_of_anchors_does_not_fit(tmp_path, monkeypatch) -> None:
    source, target = build(3, 0), build(2, 1)
    file = weights.save(
        tmp_path / "w.safetensors", source, Card(architecture=source.architecture, classes=TO, imgsz=64)
    )
    monkeypatch.setattr(type(target.head), "class_repeats", 3)
    report = weights.transfer(target, FROM, file)
    assert {"head.classify.weight", "head.classify.bias"} <= set(report.mismatched)
