"""A seeker in training: from the sample pictures to a file with a threshold, resumed, and what its recipe refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from finespot import weights
from finespot.data import Augment, TrainLoader, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import calibrate_seeker, load_seeker
from finespot.nn.seeker import SeekerNet
from finespot.training import RunResult, load_recipe, train
from finespot.training import validator as validating
from finespot.training.keeper import RunFiles
from finespot.training.loop import Loop
from finespot.training.metrics_csv import read_metrics
from finespot.training.recipe import Recipe, read_recipe
from finespot.training.tasks.seeker import Seek, seeks, settled_for_seeker
from finespot.weights import SeekerCard

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
SMALL: dict[str, Any] = {
    "model": "seeker",
    "data": DATA,
    "imgsz": 64,
    "batch": 4,
    "nominal_batch": 4,
    "epochs": 2,
    "val": {"every": 1},
    "options": {"width": 4},
    "device": "cpu",
    "workers": 0,
}


def small(project: Path, **keys: Any) -> RunResult:
    return train(project=project, quiet=True, **{**SMALL, **keys})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFiles, "first_batches", lambda self, batch: None)
        return small(tmp_path_factory.mktemp("runs"), name="base")


def settled(*words: str, say: Callable[[str], None] = lambda text: None) -> Recipe:
    return settled_for_seeker(load_recipe("seeker", [f"data={DATA}", *words]), open_dataset(DATA, "train"), say)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return weights.read_seeker(path)[0].state_dict()


@pytest.mark.slow
def test_a_run_leaves_a_calibrated_seeker(done: RunResult) -> None:
    card = weights.read_seeker_card(done.best)
    assert card.calibration == done.calibration
    assert done.report is None
    found = card.calibration
    assert found is not None
    assert (found.target, found.margin, found.split, found.pictures) == (0.99, 32, "val", 4)
    assert found.recall >= 0.99
    assert [one.label for one in found.sizes] == ["verytiny", "tiny", "small", "medium"]
    assert (card.width, card.stride, card.reduction) == (4, 8, 3)
    assert card.provenance["epochs"] == 2
    assert card.provenance["epoch"] in (1, 2)
    # The figures are those of the file as it stands.
    again = calibrate_seeker(load_seeker(done.best, threads=1), open_dataset(DATA, "val"))
    assert again == found
    rows = read_metrics(done.folder / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1].keys() >= {"train/heat", "val/hot", "val/threshold", "augment/mosaic", "boxes_dropped"}
    assert min(row["val/hot"] for row in rows) == pytest.approx(found.hot, abs=0.02)
    plots = {path.name for path in (done.folder / "plots").iterdir()}
    assert plots >= {"losses.png", "scores.png", "learning_rate.png"}


def test_its_recipe_says_what_was_chosen(done: RunResult) -> None:
    recipe = read_recipe(done.folder / "recipe.yaml")
    assert recipe.options == {"width": 4, "reduction": 3}
    assert recipe.tile.size == 3 * recipe.imgsz == 192


@pytest.mark.slow
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    done: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, batch: None)
    close = Loop.close_epoch

    def stop(self: Loop, figures: Any) -> None:
        close(self, figures)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "close_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path, name="cut")
    assert len(read_metrics(tmp_path / "cut" / "metrics.csv")) == 1
    again = train(resume=tmp_path / "cut", quiet=True)
    assert again.calibration == done.calibration
    one, other = tensors(again.best), tensors(done.best)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_it_goes_on_from_a_seeker(done: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, batch: None)
    said = Seek(settled(f"model={done.best}", "options.reduction=2"), lambda text: None)
    assert said.source == "best.safetensors"
    assert all(torch.equal(value, tensors(done.best)[name]) for name, value in said.model.state_dict().items())
    again = small(tmp_path, model=str(done.best), options={"reduction": 2}, epochs=1, val={"every": 0})
    card = weights.read_seeker_card(again.best)
    assert (card.reduction, card.width, card.calibration) == (2, 4, None)
    assert card.provenance["started_from"] == "best.safetensors"
    with pytest.raises(FineSpotError, match="expected its stride 8 and width 4 but got 8 and 8"):
        Seek(settled(f"weights={done.best}", "options.width=8"), lambda text: None)


def test_the_reduction_follows_the_objects() -> None:
    said: list[str] = []
    recipe = settled(say=said.append)
    rows = open_dataset(DATA, "train").rows
    boxes = rows.boxes[~rows.ignore]
    side = np.quantile(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)), 0.01)
    reduction = recipe.options["reduction"]
    assert side / reduction >= 3 > side / (reduction + 1)
    assert any(f"options.reduction: {reduction}" in line and f"{side:.1f} px or more" in line for line in said)
    assert recipe.tile.size == reduction * recipe.imgsz
    other = settled("options.reduction=2")
    assert (other.options["reduction"], other.tile.size) == (2, 2 * other.imgsz)
    assert settled("options.reduction=auto").options == recipe.options
    assert settled_for_seeker(recipe, open_dataset(DATA, "train"), print) == recipe


def test_options_make_the_network() -> None:
    usual = Seek(settled(), lambda text: None).model
    other = Seek(settled("options.stride=4", "options.width=8", "heat=2", "options.loss=focal_dice"), print).model
    assert (usual.stride, usual.width, usual.gains) == (8, 16, {"heat": 1.0})
    assert (other.stride, other.width, other.gains) == (4, 8, {"heat": 2.0})
    assert usual.cost is not other.cost


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("loss.box=7", "loss.box: has no effect on a seeker"),
        ("loss.box_loss=ciou", "loss.box_loss: has no effect"),
        ("val.conf=0.1", "val.conf: has no effect"),
        ("val.protocol=ai-tod", "val.protocol: has no effect"),
        ("tile.merge=nmm", "tile.merge: has no effect"),
        ("repeat_rare=0.5", "repeat_rare: has no effect"),
        ("tile.size=100", "tile.size: a seeker's tiles are imgsz x reduction, 648 px, but got 100"),
        ("options.depth=3", "unknown option of a seeker 'depth'"),
        ("options.reduction=0", "expected a reduction from 1 to 64 but got 0"),
        ("options.reduction=much", "options.reduction: expected a whole number or auto but got 'much'"),
        ("options.width=wide", "expected width to be a whole number but got 'wide'"),
        ("options.stride=3", "expected 4 or 8 but got 3"),
        ("weights=hit-uav-n", "expected a seeker but it holds a detector"),
    ],
)
def test_what_is_of_no_use_is_refused(word: str, words: str) -> None:
    with pytest.raises(FineSpotError, match=words):
        Seek(settled(word), lambda text: None)


def test_words_that_mean_a_seeker(tmp_path: Path) -> None:
    path = weights.save_seeker(tmp_path / "s.safetensors", SeekerNet(width=4), SeekerCard(reduction=4, width=4))
    assert seeks("seeker")
    assert seeks(str(path))
    assert not seeks("yolo11n")
    assert not seeks("hit-uav-n")
    assert not seeks("nowhere.safetensors")


def test_a_split_without_objects_ends_the_run_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_dataset(DATA, "val")
    opened.rows.ignore[:] = True
    monkeypatch.setattr(validating, "open_dataset", lambda *args: opened)
    with pytest.raises(FineSpotError, match="there is no object to choose a threshold by"):
        small(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_map_learns_where_objects_are() -> None:
    recipe = msgspec.structs.replace(settled("imgsz=160"), batch=4)
    torch.manual_seed(0)
    task = Seek(recipe, lambda text: None)
    given = next(iter(TrainLoader(open_dataset(DATA, "val"), imgsz=160, batch=4, stride=8).epoch(0, Augment.off())))
    optimizer = torch.optim.AdamW(task.trainable.parameters(), lr=3e-3)
    costs = []
    for _ in range(30):
        task.model.train()
        losses = task.step(given)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        costs.append(losses.terms["heat"].item())
    assert costs[-1] < 0.5 * costs[0]
