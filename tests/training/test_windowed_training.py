"""A network on windows in training: what is said at its start, its recipe, that it learns, and a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finespot import weights
from finespot.data import Augment, TrainLoader, open_dataset
from finespot.inference import load
from finespot.nn.windows import object_cores
from finespot.structures import Classes
from finespot.training import load_recipe, train
from finespot.training import run as running
from finespot.training.choice import own_recipe
from finespot.training.keeper import RunFiles
from finespot.training.metrics_csv import read_metrics
from finespot.training.tasks.detect import Detect, normalized
from finespot.zoo import WindowedDetector

DATA = f"hit-uav:{Path(__file__).parents[2] / 'samples' / 'hit-uav'}"
SMALL = ["model=esod-yolov8n", "options.core=8", "options.halo=4"]


@pytest.mark.slow
def test_the_start_says_how_windows_lie_and_which_layers_see_less() -> None:
    said: list[str] = []
    made = Detect(load_recipe("default", [*SMALL, "options.share=0.25"]), Classes(("a", "b")), said.append)
    assert isinstance(made.model, WindowedDetector)
    assert "windows at stride 8: cores of 8 cells with a halo of 4, 25% of them or more in a step" in said
    assert "in windows they see less than in pictures: pools (backbone.stage5.pool)" in said
    fires = "windows run where the heat is 0.5 or more, which finespot weights calibrate chooses by recall"
    assert fires in said
    published: list[str] = []
    Detect(load_recipe("esod", ["model=esod-yolov5s-published"]), Classes(("a",)), published.append)
    assert "windows at stride 8: 8 x 8, all of them in a step" in published
    every: list[str] = []
    made = Detect(load_recipe("default", [*SMALL, "options.select=all"]), Classes(("a",)), every.append)
    assert isinstance(made.model, WindowedDetector)
    assert not any("heat" in line for line in every)
    dense: list[str] = []
    Detect(load_recipe("default", ["model=esod-yolov8n", "options.windows=none"]), Classes(("a",)), dense.append)
    assert not any("windows" in line for line in dense)


def test_recipes_are_those_of_the_hosts() -> None:
    found = {
        name: own_recipe(name) for name in ("esod-rtmdet-s", "esod-retinanet-r50", "esod-gpvit-l1", "esod-yolo11n")
    }
    assert found == {
        "esod-rtmdet-s": "rtmdet",
        "esod-retinanet-r50": "retinanet",
        "esod-gpvit-l1": "gpvit",
        "esod-yolo11n": "default",
    }
    assert own_recipe("esod-yolov5m-published") == own_recipe("esod-rtmdet-m-published") == "esod"


@pytest.mark.slow
def test_it_learns_where_to_look_and_what_is_there() -> None:
    dataset = open_dataset(DATA, "val")
    torch.manual_seed(0)
    made = Detect(load_recipe("default", [*SMALL, "options.dense_above=null"]), dataset.classes, lambda text: None)
    network = made.model
    assert isinstance(network, WindowedDetector)
    plain = Augment(**dict.fromkeys(Augment.__struct_fields__, 0.0))
    given = next(iter(TrainLoader(dataset, imgsz=256, batch=2).epoch(0, plain)))
    optimizer = torch.optim.AdamW(made.trainable.parameters(), lr=2e-3)
    costs = []
    for _ in range(40):
        network.train()
        losses = made.step(given)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        costs.append({name: value.item() for name, value in losses.terms.items()})
    assert all(costs[-1][name] < 0.6 * costs[0][name] for name in ("heat", "cls"))
    with torch.no_grad():  # by the statistics of the batch: the running ones lag behind
        heat = network.look(normalized(given.images, made.normalization)).auxiliary["heat"]
    grid = network.windows.grid((int(heat.shape[2]), int(heat.shape[3])))
    assert given.targets is not None
    held, likely = object_cores(given.targets, grid, network.cut), network.scores(heat, grid).sigmoid()
    assert 0 < held.sum() < held.numel()
    assert likely[held].mean() > 2 * likely[~held].mean()


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, given: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn")
def test_a_seeker_alone_is_added_to_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All else is frozen: a step runs none of it behind the cut, nothing of it moves, validation runs it all."""
    words = ["model=esod-yolo11n", "weights=hit-uav-n", f"data={DATA}", "imgsz=160", "batch=4", "epochs=2"]
    words += ["freeze=backbone,neck,head", "device=cpu", "close_mosaic=0", "options.core=8", "save_every=1"]
    result = train(recipe=load_recipe("default", words), project=tmp_path / "runs")
    assert "only the seeker learns: a step runs what it reads and itself, no windows" in capsys.readouterr().out
    rows = read_metrics(result.folder / "metrics.csv")
    assert {name for name in rows[-1] if name.startswith("train/")} == {"train/heat", "train/total"}
    assert rows[-1]["targets"] > 0
    assert rows[-1]["val/AP"] >= 0
    before, after = (
        weights.load(one)[0].state_dict() for one in ("hit-uav-n", result.folder / "weights" / "last.safetensors")
    )
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    first = weights.load(result.folder / "weights" / "epoch1.safetensors")[0].state_dict()
    moved = {name for name in after if not torch.equal(after[name], first[name])}
    assert moved
    assert all(name.startswith("relay.") for name in moved)


@pytest.mark.slow
@pytest.mark.usefixtures("_undrawn")
def test_a_whole_run(tmp_path: Path) -> None:
    words = [*SMALL, "options.threshold=0.01", f"data={DATA}", "imgsz=160", "batch=4", "epochs=1", "device=cpu"]
    result = train(recipe=load_recipe("default", words), project=tmp_path / "runs", quiet=True)
    path = result.folder / "weights" / "last.safetensors"
    header, values = (result.folder / "metrics.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), values.split(",")))
    assert float(row["train/heat"]) > 0
    card = weights.read_card(path)
    assert dict(card.architecture.options) == {"core": 8, "halo": 4, "threshold": 0.01}
    model = load(path, device="cpu")
    assert model.session.network.windows.threshold == 0.01
    picture = Path(__file__).parents[2] / "samples" / "hit-uav" / "images" / "val" / "1_70_70_0_07716.jpg"
    (outcome,) = model.predict(picture, conf=0.0, windows=True).outcomes
    assert outcome.view is not None
    assert outcome.view.savings.windows > 0
    # Weights of the dense host, and of another form of windows, go over by name.
    twin = Detect(load_recipe("default", ["model=yolov8n", f"weights={path}"]), card.classes, lambda text: None)
    state = model.session.detector.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in twin.model.network_state().items())
