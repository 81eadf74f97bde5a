"""FineSpot's side of the comparisons: the peer's weights in a FineSpot detector, a weight file, a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.weights.foreign.yolo import from_yolo


def detector(name: str, state: dict[str, torch.Tensor], classes: int = 80) -> Any:
    """FineSpot's detector of the same name with the peer's weights, in eval mode."""
    architecture = zoo.architecture(name, classes=classes)
    built = zoo.build(architecture).eval()
    built.load_state_dict(from_yolo(state, architecture))
    return built


def weight_file(path: Path, network: Any, names: list[str], imgsz: int = 640) -> Path:
    """A FineSpot weight file of a detector, in float32 so that both sides compute with the same numbers."""
    card = weights.Card(architecture=network.architecture, classes=Classes(tuple(names)), imgsz=imgsz)
    path.parent.mkdir(parents=True, exist_ok=True)
    return weights.save(path, network, card, half=False)
