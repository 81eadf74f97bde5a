"""Pictures: drawn without pyplot, readable as images, empty cases too."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth, confusion_matrix, evaluate, plots
from finespot.structures import Classes

DATA = Path(__file__).parent / "data/coco"


@pytest.fixture(scope="module")
def tables() -> tuple[Truth, Results]:
    truth = Truth.read(DATA / "gt.json")
    return truth, Results.read(DATA / "dt.json", truth)


def colorful(path: Path) -> bool:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    return len(pixels) > 300**2 and len(np.unique(pixels[::50], axis=0)) > 10


@pytest.mark.slow
def test_pr_curves(tables, tmp_path) -> None:
    path = plots.pr_curves(evaluate(*tables), tmp_path / "new/pr.png")
    assert colorful(path)


@pytest.mark.slow
def test_pr_curves_without_objects_and_with_many_classes(tables, tmp_path) -> None:
    report = evaluate(*tables)
    assert plots.pr_curves(replace(report, curves={}), tmp_path / "none.png").exists()
    curve = next(iter(report.curves.values()))
    curve = replace(curve, iou=0.5)
    names = tuple(f"class {k}" for k in range(40))
    averages = replace(report.averages, average={(0, 100): np.full((40, 10), 0.5)})
    many = replace(report, classes=names, curves=dict.fromkeys(names, curve), averages=averages)
    assert plots.pr_curves(many, tmp_path / "many.png").exists()


@pytest.mark.slow
def test_confusion(tables, tmp_path) -> None:
    truth, results = tables
    assert colorful(plots.confusion(confusion_matrix(truth, results), truth.classes, tmp_path / "confusion.png"))
    path = plots.confusion(confusion_matrix(truth, results), truth.classes, tmp_path / "x.svg", conf=0.4, iou=0.6)
    assert "score 0.4 or more" in path.read_text()
    assert "0.6 or more" in path.read_text()
    with pytest.raises(FineSpotError, match="expected a matrix of 3 x 3"):
        plots.confusion(np.zeros((5, 5), np.int64), Classes(("a", "b")), tmp_path / "x.png")


def test_unknown_kind_of_file(tables, tmp_path) -> None:
    with pytest.raises(FineSpotError, match="cannot draw a picture of this kind"):
        plots.pr_curves(evaluate(*tables), tmp_path / "pr.doc")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pr.svg", "pr.PDF", "pr.png"])
def test_kinds_of_files(tables, tmp_path, name) -> None:
    path = plots.pr_curves(evaluate(*tables), tmp_path / name)
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}[name[-3:].lower()]
    assert path.read_bytes().startswith(start)


def test_a_full_disk_keeps_the_old_picture(tables, tmp_path, monkeypatch) -> None:
    path = tmp_path / "pr.png"
    path.write_bytes(b"old")

    def full(*names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(FineSpotError, match=r"pr\.png: cannot be written \(No space left"):
        plots.pr_curves(evaluate(*tables), path)
    assert [one.name for one in tmp_path.iterdir()] == ["pr.png"]
    assert path.read_bytes() == b"old"


@pytest.mark.slow
def test_evaluating_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys, finespot.metrics, finespot.metrics.plots;"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
