"""A command line to call, a random network, a data set of two pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_factory import STRANGE, Run
from PIL import Image

import finespot.cli
from finespot import weights, zoo
from finespot.structures import Classes


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; returns its exit code and what it printed on both streams."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            finespot.cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return call


@pytest.fixture(scope="module")
def card() -> weights.Card:
    architecture = zoo.architecture("yolo11n", 2)
    return weights.Card(architecture=architecture, classes=Classes(STRANGE), imgsz=64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, card: weights.Card) -> Path:
    """A random network of two classes with brackets in their names."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return weights.save(path, zoo.build(card.architecture), card)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A COCO data set of two pictures with an object each; returns its folder."""
    folder = tmp_path / "set"
    (folder / "images" / "val").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / "images" / "val" / f"{name}.png")
    truth = {
        "images": [{"id": k, "file_name": f"{name}.png", "width": 60, "height": 40} for k, name in enumerate("ab")],
        "categories": [{"id": k, "name": name} for k, name in enumerate(STRANGE)],
        "annotations": [
            {"id": k + 1, "image_id": k, "category_id": k, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
            for k in range(2)
        ],
    }
    (folder / "annotations" / "val.json").write_text(json.dumps(truth))
    return folder


@pytest.fixture
def files(dataset: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A file of truth and one of detections."""
    found = [{"image_id": 0, "category_id": 0, "bbox": [5, 5, 10, 10], "score": 0.5}]
    truth = Path(shutil.copy(dataset / "annotations" / "val.json", tmp_path / "t.json"))
    (tmp_path / "d.json").write_text(json.dumps(found))
    return truth, tmp_path / "d.json"
