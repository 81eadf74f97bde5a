"""Whole runs of a P2 network in stages: what they say, keep and refuse, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

import finespot.cli
from finespot import data, inference, weights
from finespot.data import loader
from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.training import RunResult, train
from finespot.training import run as running
from finespot.training.checkpoint import load_checkpoint
from finespot.training.keeper import RunFiles
from finespot.training.loop import Loop
from finespot.training.metrics_csv import read_metrics

pytestmark = pytest.mark.slow

DATA = f"hit-uav:{Path(__file__).parents[2] / 'samples' / 'hit-uav'}"
# Of four epochs: P2 off in the first; SGD; AdamW with a frozen backbone in the third.
STAGES: dict[str, Any] = {
    "name": "mine",
    "levels": {4: 0.25},
    "stages": [
        {"first": 0},
        {"first": 0.25, "lr_factor": 0.5, "augment": {"mosaic": 0.0}},
        {"first": 0.5, "optimizer": {"name": "adamw"}, "freeze": ["backbone"]},
    ],
}
SMALL: dict[str, Any] = {
    "data": DATA,
    "imgsz": 64,
    "batch": 4,
    "nominal_batch": 4,
    "epochs": 4,
    "close_mosaic": 1,
    "device": "cpu",
    "quiet": True,
    "curriculum": STAGES,
    "val.every": 4,
    "save_every": 1,
}


def small(project: Path, model: str = "yolo11n-p2", **keys: Any) -> RunResult:
    return train(model, project=project, **{**SMALL, **keys})


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return weights.load(path)[0].state_dict()


@pytest.fixture(autouse=True, scope="module")
def _undrawn() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "draw", lambda self: None)
        patch.setattr(RunFiles, "first_batches", lambda self, batch: None)
        patch.setattr(running, "draw_report", lambda *args: [])
        patch.setattr(running, "draw_predictions", lambda *args: [])
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return small(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("iteration", [3, *(pytest.param(one, marks=pytest.mark.full) for one in (4, 7))])
def test_a_run_killed_in_a_stage_goes_on_in_it(
    whole: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iteration: int
) -> None:
    """In the second stage, in the first epoch of the third, and within it."""
    backward = Loop.backward

    def stopping(self: Loop, *args: Any, **keys: Any) -> Any:
        if self.progress.iteration == iteration:
            raise RuntimeError("killed")
        return backward(self, *args, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "backward", stopping)
        with pytest.raises(RuntimeError, match="killed"):
            small(tmp_path, name="cut")
    folder = tmp_path / "cut"
    assert load_checkpoint(folder / "weights" / "resume.pt")["progress"]["epoch"] == iteration // 2
    train(resume=folder, quiet=True)
    one, other = (load_checkpoint(run / "weights" / "resume.pt") for run in (whole.folder, folder))
    assert one["progress"] == other["progress"]
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert all(torch.equal(value, other["ema"]["model"][name]) for name, value in one["ema"]["model"].items())
    rows, again = (read_metrics(run / "metrics.csv") for run in (whole.folder, folder))
    measured = ("seconds", "pictures_per_s", "memory_mb")
    assert [{k: v for k, v in row.items() if k not in measured} for row in rows] == [
        {k: v for k, v in row.items() if k not in measured} for row in again
    ]


def test_the_table_of_epochs(whole: RunResult) -> None:
    rows = read_metrics(whole.folder / "metrics.csv")
    assert [row["stage"] for row in rows] == [1, 2, 3, 3]
    assert [row.get("levels_off") for row in rows] == ["p2", None, None, None]
    assert [row.get("frozen") for row in rows] == [None, None, "backbone", "backbone"]
    assert [row["augment/mosaic"] for row in rows] == [1.0, 0.0, 1.0, 0.0]
    assert ["momentum" in row for row in rows] == [True, True, False, False]
    assert rows[0]["train/cls"] < 2 * rows[1]["train/cls"]
    card = weights.read_card(whole.best)
    assert (card.provenance["curriculum"], "stage" in card.provenance) == ("mine", False)


def test_weights_know_which_levels_are_off(whole: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of an epoch without P2 predicts at the points of three levels, those after it at all."""
    early, late = (whole.folder / "weights" / f"epoch{epoch}.safetensors" for epoch in (1, 2))
    assert [weights.read_card(path).levels_off for path in (early, late)] == [["p2"], []]
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for path, points in ((early, 8**2 + 4**2 + 2**2), (late, 16**2 + 8**2 + 4**2 + 2**2)):
        detector, _ = weights.load(path)
        assert detector(images)["scores"].shape[2] == points
        assert detector.fused()(images)["scores"].shape[2] == points
        assert weights.save(path.with_name("again.safetensors"), detector, weights.read_card(path)).is_file()
        assert weights.read_card(path.with_name("again.safetensors")).levels_off == detector.levels_off
    for path, said in ((early, True), (late, False)):
        with pytest.raises(SystemExit):
            finespot.cli.main(["info", str(path), "--imgsz", "64"])
        assert ("levels that are off, as they were not trained yet: p2" in capsys.readouterr().out) == said


def test_validation_is_that_of_the_saved_file(tmp_path: Path) -> None:
    """While P2 is off, in the run as with the file."""
    run = small(tmp_path, epochs=2, **{"val.every": 1, "curriculum": {"levels": {"p2": 2}, "stages": [{"first": 0}]}})
    early = run.folder / "weights" / "epoch1.safetensors"
    scored = inference.validate(Session(early, threads=1), data.open_dataset(DATA, "val"), batch=8, conf=0.001)
    row = read_metrics(run.folder / "metrics.csv")[0]
    assert scored.report.values["AP"] == pytest.approx(row["val/AP"], abs=1e-3)


def test_weights_of_an_epoch_without_a_level_say_that_it_has_not_learned(
    whole: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, late = (whole.folder / "weights" / f"epoch{epoch}.safetensors" for epoch in (1, 2))
    warning = "warning: in these weights p2 was off: what was taken of its branches has not learned"
    for path, said in ((early, True), (late, False)):
        small(tmp_path, name=path.stem, stage=2, weights=str(path), quiet=False)
        assert (warning in capsys.readouterr().out) == said


def test_one_stage_from_weights(whole: RunResult, tmp_path: Path) -> None:
    before = whole.folder / "weights" / "epoch2.safetensors"
    run = small(tmp_path, stage=3, weights=str(before))
    rows = read_metrics(run.folder / "metrics.csv")
    assert [(row["epoch"], row["stage"]) for row in rows] == [(3, 3), (4, 3)]
    measured = read_metrics(whole.folder / "metrics.csv")[2:]
    for key in ("lr/weight", "augment/mosaic", "frozen", "targets"):
        assert [row[key] for row in rows] == [row[key] for row in measured]
    first, last = tensors(before), tensors(run.folder / "weights" / "last.safetensors")
    assert all(torch.equal(first[name], last[name]) for name in first if name.startswith("backbone."))
    assert any(not torch.equal(first[name], last[name]) for name in first if name.startswith("head."))
    assert weights.read_card(run.best).provenance["stage"] == 3
    with pytest.raises(FineSpotError, match=r"the run is finished \(4 of 4 epochs\)"):
        train(resume=run.folder, quiet=True)
    with pytest.raises(FineSpotError, match="a resumed run keeps its recipe, but stage would change"):
        train(resume=run.folder, quiet=True, stage=2)


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small(tmp_path, stage=2, quiet=False)
    said = capsys.readouterr().out
    assert "of the curriculum mine" in said
    row = next(line.split() for line in said.splitlines() if line.startswith("2 of 3"))
    assert " ".join(row) == ("2 of 3 2 to 2 0.003762 to 0.003762 sgd, momentum 0.937, decay 0.0005 mosaic 0 none all")
    assert "1 of 3" not in said
    assert "warning: stage 2 begins with fresh weights; --weights takes those of the one before" in said
    assert said.index("epoch 2: stage 2 of 3 begins") < said.index("epoch 2/4")
    assert "2 batches an epoch, 1 epochs into" in said


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        ("yolo11n", {"curriculum": "hcp-400"}, r"levels: the head has no level p2; it has p3 \(stride 8\), p4"),
        ("rtdetr-r18", {"curriculum": "hcp-400", "recipe": "default"}, "levels: the head .* all its levels at once"),
        (
            "yolo11n-p2",
            {"curriculum": {"stages": [{"first": 0, "freeze": ["nek"]}]}},
            "freeze: unknown part .* did you mean neck",
        ),
        ("yolo11n-p2", {"curriculum": "hcp"}, "unknown curriculum 'hcp'; did you mean hcp-400"),
        ("yolo11n-p2", {"curriculum": "hcp-400", "lr": 1.0}, "optimizer.lr: the curriculum 'hcp-400' sets it in every"),
    ],
)
def test_what_cannot_be_done_makes_no_run_folder(
    tmp_path: Path, model: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        small(tmp_path, model, **{"epochs": 8, "close_mosaic": 0, **keys})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_hcp_400_on_yolo_sod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight epochs of the preset: rates from the optimizer, augmentation from where workers compose pictures, levels
    from the network and the points of its output, the level that waits from the weights.
    """
    used, seen, backward = tmp_path / "used.jsonl", [], Loop.backward

    class Watched(loader.Composer):
        def compose(self, *args: Any, **keys: Any) -> Any:
            with used.open("a") as file:
                file.write(json.dumps(msgspec.to_builtins(self.augment)) + "\n")
            return super().compose(*args, **keys)

    def watching(self: Loop, *args: Any, **keys: Any) -> Any:
        model = self.task.model
        rates = {group["lr"] for group in self.optimizer.param_groups}
        seen.append((type(self.optimizer.optimizer).__name__, rates, model.levels_off))
        return backward(self, *args, **keys)

    monkeypatch.setattr(loader, "Composer", Watched)
    monkeypatch.setattr(Loop, "backward", watching)
    run = small(
        tmp_path,
        "yolo-sod",
        curriculum="hcp-400",
        epochs=8,
        close_mosaic=0,
        batch=8,
        nominal_batch=8,
        workers=1,
        **{"val.every": 8},
    )
    stage = [0, 1, 1, 2, 2, 2, 2, 3]
    falls = [1.0, 1.0, 0.505, 1.0, 0.7525, 0.505, 0.2575, 1.0]
    lr = [(0.002, 0.001, 0.0006, 0.0003)[one] * fall for one, fall in zip(stage, falls)]
    assert {name for name, *_ in seen} == {"AdamW"}
    assert [rates.pop() for _, rates, _ in seen] == pytest.approx(lr)
    assert [off for *_, off in seen] == [["p2"], *[[]] * 7]
    made = [json.loads(line) for line in used.read_text().splitlines()]
    for key, table in {
        "mosaic": (1.0, 1.0, 0.8, 0.0),
        "copy_paste": (0.1, 0.1, 0.05, 0.0),
        "translate": (0.1, 0.1, 0.08, 0.05),
        "hsv_v": (0.4, 0.4, 0.3, 0.2),
    }.items():
        used_in = [{augment[key] for augment in made[start : start + 8]} for start in range(0, 64, 8)]
        assert used_in == [{table[one]} for one in stage]
    rows = read_metrics(run.folder / "metrics.csv")
    assert [row["stage"] for row in rows] == [one + 1 for one in stage]
    # The original's class loss was 1952 where its level was off.
    assert 0.2 < rows[0]["train/cls"] / rows[1]["train/cls"] < 2
    first, second = (run.folder / "weights" / f"epoch{epoch}.safetensors" for epoch in (1, 2))
    images, points = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), 8**2 + 4**2 + 2**2
    assert [weights.load(path)[0](images)["scores"].shape[2] for path in (first, second)] == [points, points + 16**2]


def test_tiles_in_stages(tmp_path: Path) -> None:
    """Four epochs of the preset on tiles, whose joining works as on whole pictures."""
    run = small(
        tmp_path, "yolov8n-p2", epochs=8, close_mosaic=0, batch=16, curriculum="hcp-400", stage=1, **{"tile.size": 320}
    )
    (row,) = read_metrics(run.folder / "metrics.csv")
    assert (row["stage"], row["levels_off"], row["augment/mosaic"]) == (1, "p2", 1.0)
