"""A small detector with random weights that still finds things, and the sample pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finespot import images, zoo
from finespot.inference import Model
from finespot.runtimes import Session
from finespot.structures import Classes
from finespot.weights import Card

ROOT = Path(__file__).parents[2]
CLASSES = Classes(("Person", "Car", "Bicycle", "OtherVehicle"))


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "samples" / "hit-uav"


@pytest.fixture(scope="session")
def detector(samples):
    """yolo11n with batch norm settled on one picture, so that scores differ from place to place."""
    torch.manual_seed(0)
    made = zoo.build(zoo.architecture("yolo11n", classes=4))
    picture = images.open_image(samples / "images" / "val" / "1_70_70_0_07716.jpg")
    pixels = images.resize(images.to_rgb8(picture.read(None), 8), (256, 320))
    batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    norms = [m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        made.train()(batch)
        for norm, momentum in zip(norms, kept):
            norm.momentum = momentum
        for name, parameter in made.named_parameters():
            if name.removeprefix("head.") in made.head.class_rows() and name.endswith("bias"):
                parameter.fill_(-2.0)
    return made.eval()


@pytest.fixture(scope="session")
def card(detector):
    return Card(architecture=detector.architecture, classes=CLASSES, imgsz=160)


@pytest.fixture(scope="session")
def session(detector, card):
    return Session(detector, card=card, threads=1)


@pytest.fixture
def model(session):
    return Model(session)
