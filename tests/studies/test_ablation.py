"""A study of two rows on the sample pictures: trained, killed, gone on with, changed, and with a row that fails."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finespot.data import Dataset, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import validate
from finespot.runtimes import Session
from finespot.studies import Ablation, Plan, Row, ablate, ablation, cells, load_study, plan
from finespot.studies.ablation import _Left
from finespot.studies.costs import RowCost, count
from finespot.training import run as running
from finespot.training import train
from finespot.training.keeper import RunFiles
from finespot.training.loop import Loop

DATA = f"hit-uav:{Path(__file__).parents[2] / 'samples' / 'hit-uav'}"
# From trained weights, so that there are scores to look at after an epoch.
STUDY = """
base: {model: hit-uav-n, epochs: 2, imgsz: 100, batch: 4, device: cpu, lr: 1e-5, close_mosaic: 0, warmup_epochs: 0}
seeds: [3]
rows:
  plain: {claimed: {AP: 20, protocol: theirs, source: paper}}
  bright: {set: {augment.hsv_v: 0.1}, claimed: {AP: 21.5, protocol: theirs, source: paper}}
"""


@pytest.fixture(autouse=True, scope="module")
def _undrawn() -> Iterator[None]:
    """Runs without curves and pictures, which take longer than these trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "draw", lambda self: None)
        patch.setattr(running, "draw_report", lambda *args: [])
        patch.setattr(running, "draw_predictions", lambda *args: [])
        yield


@dataclass
class Trainings:
    """Which trainings were begun and which went on; interrupts the epoch of this number (from 0) of all."""

    begun: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    epochs: int = 0
    stop: int | None = None

    def train(self, **options: Any) -> running.RunResult:
        if options.get("resume") is not None:
            self.resumed.append(Path(options["resume"]).parents[1].name)
        else:
            self.begun.append(Path(options["project"]).parent.name)
        return train(**options)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made, whole = Trainings(), Loop.train_epoch

    def train_epoch(self: Loop, epoch: int) -> Any:
        made.epochs += 1
        if made.epochs - 1 == made.stop:
            raise KeyboardInterrupt
        return whole(self, epoch)

    monkeypatch.setattr(cells, "train", made.train)
    monkeypatch.setattr(Loop, "train_epoch", train_epoch)
    return made


def planned(folder: Path, text: str = STUDY, rows: list[str] | None = None, **options: Any) -> Plan:
    path = folder.parent / "mine.yaml"
    path.write_text(text)
    return plan(load_study(path, DATA, **options), rows=rows, out=folder)


@pytest.fixture(scope="module")
def _costs() -> dict[tuple[str, int], RowCost]:
    return {}


@pytest.fixture
def counted_once(monkeypatch: pytest.MonkeyPatch, _costs: dict[tuple[str, int], RowCost]) -> None:
    """Costs of networks that were counted already."""

    def counted(rows: list[Row], dataset: Dataset) -> dict[str, RowCost]:
        for row in rows:
            key = (row.recipe.model, row.recipe.imgsz)
            if key not in _costs:
                _costs[key] = count([row], dataset)[row.name]
        return {row.name: _costs[row.recipe.model, row.recipe.imgsz] for row in rows}

    monkeypatch.setattr(ablation, "count", counted)


@pytest.fixture
def undrawn_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables without their picture."""
    monkeypatch.setattr(ablation, "draw", lambda results, path: None)


# Not validated while they train: a second each.
ONCE = {"epochs": 1, "val.every": 0}


def done(plan: Plan, said: list[str] | None = None) -> Ablation:
    return ablate(plan, quiet=True, rounds=3, threads=1, note=(said if said is not None else []).append)


@pytest.mark.slow
@pytest.mark.usefixtures("counted_once")
def test_a_killed_study_goes_on_and_a_changed_one_is_refused(tmp_path: Path, trainings: Trainings) -> None:
    folder = tmp_path / "out"
    trainings.stop = 3
    with pytest.raises(KeyboardInterrupt):
        done(planned(folder))
    assert trainings.begun == ["plain", "bright"]
    part = json.loads((folder / "ablation.json").read_text())
    assert [len(row["cells"]) for row in part["rows"]] == [1, 0]
    assert part["latency"] is None

    trainings.stop = None
    said: list[str] = []
    made = done(planned(folder), said)
    assert (trainings.begun, trainings.resumed) == (["plain", "bright"], ["bright"])
    assert trainings.epochs == 5  # of four wanted ones, one was interrupted
    assert len(said) == 1
    assert said[0].startswith("cell 2 of 2: bright, seed 3 (about ")
    plain, bright = made.results.lines
    assert [one.epochs for line in (plain, bright) for one in line.done] == [2, 2]
    assert not list(folder.glob("cells/*/*/run2"))
    check_scores(folder, made)
    check_files(made)

    again = done(planned(folder), said)
    assert (trainings.epochs, len(said)) == (5, 1)
    assert [line.scores for line in again.results.lines] == [line.scores for line in made.results.lines]
    check_changes(folder)


def check_scores(folder: Path, made: Ablation) -> None:
    """What a cell scores is what the last epoch's weights score; there is something to see."""
    outcome = made.results.lines[1].done[0]
    session = Session(folder / outcome.weights, device="cpu", threads=1)
    assert session.card.imgsz == 128
    report = validate(session, open_dataset(DATA, "val"), batch=8).report
    assert outcome.values == pytest.approx(report.values, abs=1e-4)
    assert outcome.values["AP"] > 0.01  # type: ignore[operator]
    assert outcome.weights == "cells/bright/seed-3/run/weights/last.safetensors"
    assert outcome.best_epoch in (1, 2)
    assert outcome.best_values["AP"] is not None
    assert set(outcome.per_class) == {"Person", "Car", "Bicycle", "OtherVehicle"}


def check_files(made: Ablation) -> None:
    """The four files hold the same."""
    names = ["ablation.csv", "ablation.json", "ablation.md", "ablation.png"]
    assert [path.name for path in made.files] == names
    plain, bright = made.results.lines
    found = bright.scores["AP"]
    assert found is not None
    rows = list(csv.DictReader((made.folder / "ablation.csv").open()))
    assert [row["row"] for row in rows] == ["plain", "bright"]
    assert float(rows[1]["AP"]) == pytest.approx(found.mean, abs=1e-6)
    assert (rows[0]["claimed AP"], rows[1]["claimed AP"]) == ("0.2", "0.215")
    assert float(rows[0]["ms"]) > 0
    data = json.loads((made.folder / "ablation.json").read_text())
    assert data["rows"][1]["scores"]["AP"]["mean"] == found.mean
    assert data["rows"][1]["changes"] == {"augment.hsv_v": 0.1}
    assert data["epochs"] == 2
    page = (made.folder / "ablation.md").read_text()
    assert f"| {100 * found.mean:.1f} |" in page
    assert "1 torch threads, 3 turns" in page
    assert "| 21.5 | +1.5 |" in page
    assert plain.latency is not None
    assert plain.latency.low <= plain.latency.median <= plain.latency.high


def check_changes(folder: Path) -> None:
    """A change is refused where it touches a finished cell, and only there."""
    with pytest.raises(FineSpotError, match="the cell 'plain, seed 3' is done, and epochs would change") as caught:
        planned(folder, overrides={"epochs": 3})
    assert "--out" in str(caught.value)
    with pytest.raises(FineSpotError, match=r"'bright, seed 3' is done, and augment\.hsv_v would change"):
        planned(folder, STUDY.replace("0.1", "0.2"))
    more = planned(folder, STUDY + "  dark: {set: {augment.hsv_v: 0.7}}\n", seeds=[3, 4], overrides={"workers": 1})
    assert [(cell.row.name, cell.seed, cell.outcome() is not None) for cell in more.cells] == [
        ("plain", 3, True),
        ("bright", 3, True),
        ("dark", 3, False),
        ("plain", 4, False),
        ("bright", 4, False),
        ("dark", 4, False),
    ]
    # Finished rows stand in the table although they are not asked for.
    one = planned(folder, STUDY + "  dark: {set: {augment.hsv_v: 0.7}}\n", rows=["dark"])
    assert [cell.row.name for cell in one.cells] == ["dark"]
    assert [row.name for row in one.rows] == ["plain", "bright", "dark"]


@pytest.mark.full
@pytest.mark.usefixtures("undrawn_table", "counted_once")
def test_an_unfinished_cell_of_another_recipe_is_begun_anew(tmp_path: Path, trainings: Trainings) -> None:
    folder = tmp_path / "out"
    trainings.stop = 1
    with pytest.raises(KeyboardInterrupt):
        done(planned(folder, rows=["plain"], overrides={"val.every": 0}))
    trainings.stop = None
    made = done(planned(folder, rows=["plain"], overrides=ONCE))
    assert (trainings.begun, trainings.resumed) == (["plain", "plain"], [])
    assert made.results.lines[0].done[0].weights.startswith("cells/plain/seed-3/run2/")


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_table", "counted_once")
def test_a_cell_that_fails_is_recorded_and_tried_again(
    tmp_path: Path, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    whole = trainings.train

    def failing(**options: Any) -> running.RunResult:
        if Path(options["project"]).parent.name == "plain":
            raise ZeroDivisionError("no luck\nat all")
        return whole(**options)

    monkeypatch.setattr(cells, "train", failing)
    said: list[str] = []
    made = done(planned(folder, overrides=ONCE), said)
    assert made.results.failures == ["plain, seed 3: ZeroDivisionError: no luck"]
    assert "failed: plain, seed 3: ZeroDivisionError: no luck" in said
    assert made.results.lines[1].differences["AP"] is None
    assert "* failed: plain, seed 3" in (folder / "ablation.md").read_text()
    assert "no luck" in (folder / "cells" / "plain" / "seed-3" / "error.txt").read_text()

    monkeypatch.setattr(cells, "train", whole)
    made = done(planned(folder, overrides=ONCE))
    assert made.results.failures == []
    assert trainings.begun == ["bright", "plain"]
    assert made.results.lines[1].differences["AP"] is not None
    assert not (folder / "cells" / "plain" / "seed-3" / "error.txt").exists()


@pytest.mark.slow
def test_a_row_that_cannot_be_built_is_refused_before_the_first_epoch(tmp_path: Path) -> None:
    for change, word in (
        ("{model: yolo11q}", "unknown model 'yolo11q'"),
        ("{loss.box_loss: ciuo}", "unknown box loss 'ciuo'"),
        ("{freeze: [bakcbone]}", "bakcbone"),
        ("{options: {p9: true}}", "p9"),
    ):
        with pytest.raises(FineSpotError, match=f"row 'bad'.*{word}"):
            planned(tmp_path / "out", f"base: {{model: yolo11n}}\nrows: {{bad: {{set: {change}}}, a: {{}}}}")
    assert not (tmp_path / "out").exists()


def test_stages_that_contradict_the_recipe_are_refused_before_the_rows_before_them_are_trained(tmp_path: Path) -> None:
    study = "base: {model: yolo11n, epochs: 8, close_mosaic: 2}\nrows: {a: {}, b: {set: {curriculum: hcp-400}}}"
    with pytest.raises(
        FineSpotError,
        match=r"row 'b': close_mosaic: the last 2 epochs join no pictures.*at most 1, or leave the row out \(--rows\)$",
    ):
        planned(tmp_path / "out", study)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_data_there_is_a_plan_but_no_training(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("base: {model: yolo11n, imgsz: 100}\nrows: {a: {}}")
    ready = plan(load_study(path), out=tmp_path / "out")
    assert (ready.costs["a"].classes, ready.costs["a"].imgsz, ready.rows[0].recipe.imgsz) == (80, 128, 128)
    with pytest.raises(FineSpotError, match="data: no data set is named"):
        ablate(ready)


@pytest.mark.slow
@pytest.mark.usefixtures("counted_once")
def test_other_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(FineSpotError, match="a study trains in one process"):
        done(planned(tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.usefixtures("counted_once")
def test_a_device_that_is_not_there_is_refused_before_any_cell_fails_for_it(tmp_path: Path) -> None:
    ready = planned(tmp_path / "out", overrides={"device": "cuda:77"})
    with pytest.raises(FineSpotError, match="device: there is no 'cuda:77'"):
        done(ready)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("counted_once")
def test_tables_of_another_study_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY)
    study = load_study(tmp_path / "mine.yaml")
    report = tmp_path / "runs" / "ablation.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"study": "mine"}))
    assert plan(study, out=report.parent).folder == report.parent
    for text, message in (
        (json.dumps({"study": "other"}), r"runs: the folder holds the study 'other', not 'mine'; give another one"),
        ("[]", r"ablation.json: expected the table of a study but cannot read it"),
        ("{", r"ablation.json: expected the table of a study but cannot read it"),
    ):
        report.write_text(text)
        with pytest.raises(FineSpotError, match=message):
            plan(study, out=report.parent)
        assert report.read_text() == text


@pytest.mark.slow
def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    record = tmp_path / "out" / "cells" / "plain" / "seed-3" / "cell.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"row": 3}')
    with pytest.raises(FineSpotError, match=r"cell\.json: cannot be read as the record of a cell"):
        planned(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.usefixtures("counted_once")
def test_time_left_is_that_of_the_rows_not_done(tmp_path: Path) -> None:
    ready = planned(tmp_path / "out", seeds=[0, 1, 2])
    left = _Left(ready)
    assert left.words(0) == ""
    outcome = cells.Outcome(row="plain", seed=0, recipe=ready.cells[0].recipe, seconds=600.0)
    left.add(outcome, 660.0)
    left.add(msgspec.structs.replace(outcome, row="bright", seconds=1800.0))
    left.add(msgspec.structs.replace(outcome, error="no"), 1e9)
    assert left.words(2) == " (about 82 min left)"  # two cells of each row
    assert left.words(5) == " (about 30 min left)"
    assert _Left(replace(ready, cells=())).words(0) == ""
