"""Runs that go on: what must lie in their folder, and what is said where it does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finespot.errors import FineSpotError
from finespot.training import run as running
from finespot.training import train
from finespot.training.checkpoint import load_checkpoint, save_checkpoint
from finespot.training.keeper import RunFiles
from finespot.training.metrics_csv import read_metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"


@pytest.fixture(autouse=True, scope="module")
def _undrawn() -> object:
    """Runs without curves and pictures, which take longer than these trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "draw", lambda self: None)
        patch.setattr(running, "draw_report", lambda *args: [])
        patch.setattr(running, "draw_predictions", lambda *args: [])
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of two epochs."""
    project = tmp_path_factory.mktemp("runs")
    return train("yolo11n", DATA, project=project, imgsz=64, batch=4, epochs=2, device="cpu", quiet=True).folder


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """The folder of a run that was killed after the first of its two epochs."""
    folder = tmp_path / "half"
    shutil.copytree(whole, folder)
    state = load_checkpoint(folder / "weights" / "resume.pt")
    state["progress"].update(epoch=1, iteration=2, steps=2, best=0.0, best_epoch=1)
    save_checkpoint(state, folder / "weights" / "resume.pt")
    return folder


def refused(folder: Path, message: str) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        train(resume=folder, quiet=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def epoch_1_is(name: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(b"\n1,", b"\n" + name + b",")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content + b"\xff\xfe\n", "cannot be read"),
        (lambda content: content.partition(b"\n")[2], "expected the number of an epoch .* but got None"),
        (epoch_1_is(b"one"), "expected the number of an epoch .* but got one"),
        (epoch_1_is(b"0"), "expected the number of an epoch .* but got 0"),
        (epoch_1_is(b"2"), "expected one row an epoch but got several of one"),
        (epoch_1_is(b"1,1"), "row 1 has not as many cells as the header"),
        (lambda content: content[:-30], "row 2 has not as many cells as the header"),
    ],
    ids=["no text", "no header", "no number", "zero", "twice", "long", "cut off"],
)
def test_figures_that_would_be_written_over_are_refused(
    half: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    path = half / "metrics.csv"
    path.write_bytes(change(path.read_bytes()))
    damaged = path.read_bytes()
    refused(half, f"metrics.csv: {message}.*; mend it, or move it away")
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("left", [None, ""], ids=["gone", "empty"])
def test_figures_that_are_lost_are_said(half: Path, left: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = half / "metrics.csv"
    path.unlink()
    if left is not None:
        path.write_text(left)
    train(resume=half)
    assert capsys.readouterr().out.count(f"resume: {path} lacks 1 of 1 rows, which stay lost\n") == 1
    assert [row["epoch"] for row in read_metrics(path)] == [2]


def test_best_weights_that_are_gone_are_missed_before_the_next_epoch(half: Path) -> None:
    best = half / "weights" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:1000])
    refused(half, "best.safetensors: not a readable safetensors file")
    best.unlink()
    refused(half, r"best.safetensors: the best weights so far \(epoch 1\) are gone.*copy last.safetensors to this name")
    assert load_checkpoint(half / "weights" / "resume.pt")["progress"]["epoch"] == 1


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        (
            "model: yolo11n",
            "model: yolov8n",
            r"resume: the checkpoint does not fit this model \(tensors that it lacks: \d+ of \d+",
        ),
        ("  name: sgd", "  name: adamw", r"recipe.yaml:\d+: unknown recipe key 'optimizer.momentum': adamw has none"),
    ],
)
def test_a_recipe_that_was_edited(half: Path, was: str, now: str, message: str) -> None:
    recipe = half / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(was, now))
    refused(half, message)


@pytest.mark.parametrize("place", ["weights", "weights/last.safetensors", "plots"])
def test_a_place_in_a_run_folder_points_to_it(whole: Path, place: str) -> None:
    refused(whole / place, rf"{place}: no run to resume \(it holds no recipe.yaml\); its run folder is {whole}$")
