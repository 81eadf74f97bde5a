"""Small data sets made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

MakeYolo = Callable[..., Path]
MakeCoco = Callable[..., Path]


def save_picture(path: Path, size: tuple[int, int] = (100, 200), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def make_yolo(tmp_path: Path) -> MakeYolo:
    """Write a YOLO data set: `labels` maps picture stems of the train split to label text (None: no file)."""

    def make(labels: dict[str, str | None], yaml: str | None = None, size: tuple[int, int] = (100, 200)) -> Path:
        for number, (stem, text) in enumerate(labels.items()):
            save_picture(tmp_path / "images" / "train" / f"{stem}.png", size, number)
            label = tmp_path / "labels" / "train" / f"{stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                label.write_text(text)
        file = tmp_path / "data.yaml"
        file.write_text(yaml or "train: images/train\nval: images/train\nnames: [person, car]\n")
        return file

    return make


@pytest.fixture
def make_coco(tmp_path: Path) -> MakeCoco:
    """Write a COCO data set with the pictures a.png and b.png (100 x 200); `changes` replace keys of the file."""

    def make(records: list[dict[str, Any]], **changes: Any) -> Path:
        for number, stem in enumerate("ba"):
            save_picture(tmp_path / "images" / "train" / f"{stem}.png", seed=number)
        content = {
            "images": [
                {"id": 7, "file_name": "b.png", "width": 200, "height": 100},
                {"id": 3, "file_name": "a.png", "width": 200, "height": 100},
            ],
            "categories": [{"id": 9, "name": "car"}, {"id": 4, "name": "person"}],
            "annotations": records,
        }
        content.update(changes)
        file = tmp_path / "annotations" / "train.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}, indent=1))
        return tmp_path

    return make
