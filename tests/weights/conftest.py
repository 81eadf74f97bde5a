"""A small detector with seeded random weights."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo
from finespot.structures import Classes
from finespot.weights import Card

CLASSES = Classes(("person", "car", "boat"), (3, 7, 9))


@pytest.fixture(scope="session")
def detector():
    torch.manual_seed(1)
    return zoo.build(zoo.architecture("yolov8n", classes=3)).eval()


@pytest.fixture
def card(detector):
    return Card(architecture=detector.architecture, classes=CLASSES, imgsz=160)


@pytest.fixture
def saved(detector, card, tmp_path):
    from finespot import weights

    return weights.save(tmp_path / "w.safetensors", detector, card)
