"""Whole runs on a dozen real pictures: what a run leaves behind, resumes, refuses and repeats."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from finespot import data, inference, weights
from finespot.data.builder import Builder
from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.structures import Classes
from finespot.training import RunResult, train
from finespot.training import run as running
from finespot.training.checkpoint import load_checkpoint
from finespot.training.keeper import RunFiles
from finespot.training.loop import Loop
from finespot.training.metrics_csv import read_metrics
from finespot.training.recipe import read_recipe
from finespot.training.tasks.detect import Detect

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
SMALL: dict[str, Any] = {"model": "yolo11n", "data": DATA, "imgsz": 64, "batch": 4, "epochs": 2, "quiet": True}


def small(project: Path, **keys: Any) -> RunResult:
    return train(project=project, **{**SMALL, **keys})


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return weights.load(path)[0].state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = tensors(one), tensors(other)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run of two epochs."""
    return small(tmp_path_factory.mktemp("runs"), name="base")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without curves and pictures, which take longer than these trainings."""
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])


@pytest.mark.slow
def test_run_folder(done: RunResult) -> None:
    folder = done.folder
    assert folder.name == "base"
    assert done.best == folder / "weights" / "best.safetensors"
    for name in ("last.safetensors", "resume.pt"):
        assert (folder / "weights" / name).is_file()
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots >= {"losses.png", "learning_rate.png", "scores.png", "pr_curves.png", "confusion.png", "predictions"}
    assert plots >= {"train_batch0.jpg", "train_batch1.jpg"}
    assert len(list((folder / "plots" / "predictions").iterdir())) == 4
    assert Image.open(folder / "plots" / "losses.png").size[0] > 500
    assert not list(folder.rglob("*.part"))


def test_recipe_and_environment_are_kept(done: RunResult) -> None:
    recipe = read_recipe(done.folder / "recipe.yaml")
    assert (recipe.model, recipe.imgsz, recipe.batch, recipe.precision) == ("yolo11n", 64, 4, "auto")
    made = json.loads((done.folder / "environment.json").read_text())
    assert (
        made["versions"]["torch"] == torch.__version__.split("+")[0] or made["versions"]["torch"] == torch.__version__
    )
    assert (made["threads"], made["seed"], made["device"], made["processes"]) == (1, 0, "cpu", 1)


def test_metrics_have_a_row_an_epoch(done: RunResult) -> None:
    rows = read_metrics(done.folder / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    columns = "train/box train/cls train/dfl val/AP val/AP50 lr/bias lr/norm lr/weight momentum augment/mosaic seconds"
    assert rows[1].keys() >= {*columns.split(), "pictures_per_s", "memory_mb", "boxes_dropped"}
    assert rows[1].keys() >= {"positives", "starved", "targets"}
    assert rows[0]["targets"] > 0


@pytest.mark.slow
def test_card_says_what_the_file_scores(done: RunResult) -> None:
    """The scores in the file are those of the file, bit for bit; the loop's differ by fp16 rounding at most."""
    card = weights.read_card(done.best)
    (record,) = card.metrics
    assert (record.protocol, record.split, record.imgsz) == ("coco", "val", 64)
    again = inference.validate(Session(done.best, threads=1), data.open_dataset(DATA, "val"), batch=8)
    assert again.report.values == record.values == done.report.values
    rows = read_metrics(done.folder / "metrics.csv")
    best = max(rows, key=lambda row: row["val/AP"])
    assert best["val/AP"] == pytest.approx(record.values["AP"], abs=1e-3)
    assert card.classes.names == ("Person", "Car", "Bicycle", "OtherVehicle")
    assert card.provenance["epochs"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_seed_repeats_a_run(done: RunResult, tmp_path: Path) -> None:
    again = small(tmp_path)
    assert same(done.folder / "weights" / "last.safetensors", again.folder / "weights" / "last.safetensors")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_unscored_best_is_the_last_epoch(tmp_path: Path) -> None:
    run = small(tmp_path, **{"val.every": 0})
    assert run.best.read_bytes() == (run.folder / "weights" / "last.safetensors").read_bytes()
    assert weights.read_card(run.best).provenance["epoch"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_scores_stay_with_their_epoch(tmp_path: Path) -> None:
    folder = small(tmp_path, epochs=3, save_every=1, **{"val.every": 2}).folder / "weights"
    scored = {n: bool(weights.read_card(folder / f"epoch{n}.safetensors").metrics) for n in (1, 2, 3)}
    assert scored == {1: False, 2: True, 3: True}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_resumed_after_an_interrupt_equals_uninterrupted(
    done: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, iteration=3)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, name="cut")
    monkeypatch.undo()
    folder = tmp_path / "cut"
    assert (folder / "weights" / "last.safetensors").is_file()
    assert load_checkpoint(folder / "weights" / "resume.pt")["progress"]["epoch"] == 1
    resumed = train(resume=folder, quiet=True)
    assert resumed.folder == folder
    for name in ("last.safetensors", "best.safetensors"):
        assert same(done.folder / "weights" / name, folder / "weights" / name)
    assert [row["epoch"] for row in read_metrics(folder / "metrics.csv")] == [1, 2]
    one, other = (load_checkpoint(run / "weights" / "resume.pt") for run in (done.folder, folder))
    assert one["progress"] == other["progress"]
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name])
    assert "resumed" in json.loads((folder / "environment.json").read_text())


def stop_at(monkeypatch: pytest.MonkeyPatch, iteration: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    backward = Loop.backward

    def stopping(self: Loop, *args: Any, **keys: Any) -> Any:
        if self.progress.iteration == iteration:
            raise error
        return backward(self, *args, **keys)

    monkeypatch.setattr(Loop, "backward", stopping)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_killed_in_the_first_epoch_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, iteration=0, error=RuntimeError)
    with pytest.raises(RuntimeError):
        small(tmp_path, epochs=1)
    monkeypatch.undo()
    assert train(resume=tmp_path / "run", quiet=True).best.is_file()


@pytest.mark.slow
def test_resume_that_does_not_fit(done: RunResult, tmp_path: Path) -> None:
    for keys, message in [
        ({"resume": tmp_path}, "no run to resume"),
        ({"resume": done.folder}, r"the run is finished \(2 of 2 epochs\)"),
        ({"resume": done.folder, "lr": 0.5}, r"keeps its recipe, but optimizer.lr would change; start a new run with"),
        ({"resume": done.folder, "epochs": 3}, "but epochs would change"),
        ({"resume": done.folder, "imgsz": 65}, "but imgsz would change"),
        ({"resume": done.folder, "imgsz": 63}, "the run is finished"),
        ({"resume": done.folder, "precision": "bf16"}, "the run is finished"),
        ({"resume": done.folder, "recipe": "default"}, "has its own recipe, but default was given"),
        ({"resume": done.folder, "project": tmp_path}, "has its own project"),
    ]:
        with pytest.raises(FineSpotError, match=message) as caught:
            train(quiet=True, **keys)
        assert "\n" not in str(caught.value)


class Doubled:
    """A format that gives two pictures one id."""

    def open(self, place: Path, split: str, findings: None = None) -> data.Dataset:
        builder = Builder("doubled", split, Classes(("car",)))
        for path in sorted(place.iterdir())[:2]:
            builder.picture(str(path), "same")
        return builder.build()


def test_a_broken_data_set_makes_no_run_folder(tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    shutil.copytree(ROOT / "samples" / "hit-uav", sample)
    with pytest.raises(FineSpotError, match="expected pictures of different ids but got 'same' twice"):
        small(tmp_path, data=f"{__name__}:Doubled:{sample / 'images' / 'val'}")
    for split in ("train", "val"):
        picture = next((sample / "images" / split).iterdir())
        whole = picture.read_bytes()
        picture.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FineSpotError, match=f"{picture.name}: expected a whole picture but the file is truncated"):
            small(tmp_path, data=str(sample / "hit-uav.yaml"))
        picture.write_bytes(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


@pytest.mark.slow
def test_early_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "foreign.pt").write_bytes(b"PK\3\4")
    card = weights.read_card("hit-uav-n")
    card.architecture = replace(card.architecture, family="yolo99")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors", {"finespot": card.to_json()})
    for keys, message in [
        ({"data": None}, "data: no data set is named"),
        ({"model": "yolo99"}, "yolo99"),
        ({"epoch": 3}, r"unknown recipe key 'epoch'; did you mean epochs\?"),
        ({"precision": "fp16", "device": "cpu"}, "precision: fp16 needs a GPU"),
        ({"device": "tpu"}, "device: expected auto, cpu"),
        ({"freeze": ["backbon"]}, "did you mean backbone"),
        ({"freeze": ["backbone", "neck", "head"]}, "freeze: nothing is left to train where backbone, neck, head are"),
        ({"seed": 10**30}, "seed=1000.*: expected a whole number from 0 to 9223372036854775807"),
        ({"imgsz": 100_000_000}, "imgsz=100000000: expected a whole number from 1 to 16384"),
        ({"model": "yolo11n.pt"}, "yolo11n.pt: expected a weight file .*; 'yolo11n' is the architecture"),
        ({"model": "x.pt"}, "x.pt: expected a weight file but there is none"),
        ({"model": str(tmp_path / "foreign.pt")}, "foreign.pt: not a readable safetensors file .* of other toolkits"),
        ({"model": str(tmp_path / "other.safetensors")}, "other.safetensors: unknown family 'yolo99'"),
        ({"val.protocol": "cocoa"}, "cocoa"),
        ({"splits.val": "test"}, "test"),
        ({"loss.box_loss": "ciuo"}, "ciuo.*did you mean.*ciou"),
        ({"weights": "absent"}, "absent"),
    ]:
        with pytest.raises(FineSpotError, match=message) as caught:
            small(tmp_path, **keys)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_full_disk_keeps_the_last_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = torch.save, []

    def full(state: Any, file: Any) -> None:
        real(state, file)
        written.append(state["progress"]["epoch"])
        if written == [0, 1, 2]:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(FineSpotError, match=r"resume.pt: the checkpoint could not be written.*last good one is kept"):
        small(tmp_path)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run" / "weights" / "resume.pt")["progress"]["epoch"] == 1
    assert train(resume=tmp_path / "run", quiet=True).best.is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_frozen_backbone_is_bit_identical(tmp_path: Path) -> None:
    start = small(tmp_path, epochs=1)
    run = small(tmp_path, weights=str(start.best), freeze=["backbone"], epochs=1)
    before, after = tensors(start.best), tensors(run.folder / "weights" / "last.safetensors")
    for name, value in before.items():
        if name.startswith("backbone."):
            assert torch.equal(value, after[name]), name
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("neck."))
    assert read_metrics(run.folder / "metrics.csv")[0]["frozen"] == "backbone"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_started_from_a_weight_file(tmp_path: Path) -> None:
    start = small(tmp_path, epochs=1)
    start.best.rename(start.best.with_name("BEST.SAFETENSORS"))
    start = replace(start, best=start.best.with_name("BEST.SAFETENSORS"))
    run = small(tmp_path, model=str(start.best), epochs=1, lr=1e-9, warmup_epochs=0)
    before, after = tensors(start.best), tensors(run.best)
    moved = max(float((before[n] - after[n]).abs().max()) for n in before if n.endswith("conv.weight"))
    assert moved < 1e-4
    assert weights.read_card(run.best).provenance["started_from"] == "BEST.SAFETENSORS"


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_decisions_are_printed_once_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path, imgsz=60, epochs=1, quiet=False)
    printed = capsys.readouterr().out
    for line in (
        "precision: fp32 (auto on cpu)",
        "imgsz: 64 (60 rounded up to a multiple of the network's stride 32)",
        "workers: 0 (the CPU trains",
        "val.batch: 8 (twice the training batch",
        "epoch 1/1  box",
        "done: ",
    ):
        assert printed.count(line) == 1, line
    small(tmp_path, epochs=1)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_memory_that_does_not_suffice_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Detect, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Detect, "step", full)
    with pytest.raises(FineSpotError, match=r"does not suffice for a batch of \d pictures of \d+x\d+ px on cpu; lower"):
        small(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_loss_that_is_not_finite_names_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Detect.step

    def poisoned(self: Detect, batch: Any) -> Any:
        losses = step(self, batch)
        losses.terms["box"] = losses.terms["box"] * float("nan")
        return losses

    monkeypatch.setattr(Detect, "step", poisoned)
    with pytest.raises(FineSpotError, match=r"the loss is nan in epoch 1, iteration 0, for the pictures .*\.jpg"):
        small(tmp_path)


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from finespot.training import train
from finespot.training.loop import Loop
backward = Loop.backward
def slow(self, *args, **keys):
    if self.progress.iteration == 3:
        print("in epoch 2", flush=True)
        time.sleep(600)
    return backward(self, *args, **keys)
if {slow}:
    Loop.backward = slow
train({arguments})
"""


@pytest.mark.slow
def test_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    keys = {**SMALL, "imgsz": 96, "epochs": 3}
    whole = train(project=tmp_path, name="whole", **keys)
    arguments = f"project={str(tmp_path)!r}, name='killed', **{keys!r}"
    process = _python(KILLED.format(tests=str(Path(__file__).parent), slow=True, arguments=arguments))
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "in epoch 2"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    folder = tmp_path / "killed"
    resumed = _python(KILLED.format(tests="", slow=False, arguments=f"resume={str(folder)!r}, quiet=True"))
    assert resumed.wait(timeout=300) == 0
    for name in ("last.safetensors", "best.safetensors"):
        assert same(whole.folder / "weights" / name, folder / "weights" / name)


@pytest.mark.slow
def test_interrupt_saves_and_goes_up(tmp_path: Path) -> None:
    arguments = f"project={str(tmp_path)!r}, **{ ({**SMALL, 'quiet': False})!r}"
    process = _python(KILLED.format(tests="", slow=True, arguments=arguments))
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "in epoch 2":
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) != 0
    assert "interrupted in epoch 2: the averaged weights are in" in rest
    assert weights.read_card(tmp_path / "run" / "weights" / "last.safetensors").provenance["epoch"] == 1


def _python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
