"""Recipes of the systems on their own data sets, and the same shortened: claims as on the pages, data that are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from finespot import metrics, registry, weights, zoo
from finespot.data.dataset import find_format
from finespot.errors import FineSpotError
from finespot.structures import Classes
from finespot.training import recipe as recipes
from finespot.training import run as running
from finespot.training import train
from finespot.training.choice import choose_recipe
from finespot.training.keeper import RunFiles
from finespot.training.recipe import AdamW, differences, load_recipe, recipe_names
from finespot.training.tasks.detect import Detect

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
PAGES = ROOT / "docs" / "systems"
CLAIMED = {name: claim for name in recipe_names() if (claim := load_recipe(name).claimed) is not None}
SHORT = [name for name in recipe_names() if name.endswith("-hit-uav")]
# (recipe, page, the line of the page with the figures, where they stand in it)
FIGURES = [
    ("yolo-sod-published", "yolo-sod", "| VisDrone, val (548 pictures), 640 px |", [2, 3, 4]),
    ("yolo-sod-visdrone", "yolo-sod", "| VisDrone, val (548 pictures), 640 px |", [2, 3, 4]),
    ("yolo-sod-uavvaste", "yolo-sod", "| UAVVaste, val, 1024 px |", [2, 3]),
    ("lrs-detr-visdrone", "lrs-detr", "| LRS-DETR-B |", [4, 5, 6, 7, 8, 9]),
    ("esod-visdrone", "esod", "| VisDrone val, 1536 |", [2, 3, 4]),
    ("esod-visdrone-1920", "esod", "| VisDrone val, 1920 |", [2, 3, 4]),
    ("esod-uavdt", "esod", "| UAVDT test, 1280 |", [2, 3, 4]),
    ("esod-tinyperson", "esod", "| TinyPerson test, 2048 |", [5, 6, 4]),
    ("sarl-yolox-aitod", "sarl-sal", "| | both | 26.6 ", [3, 4, 5, 6, 7, 8, 9]),
    ("sarl-yolox-aitodv2", "sarl-sal", "| | both | 26.3 ", [3, 4, 5, 6, 7, 8, 9]),
    ("sarl-yolox-visdrone", "sarl-sal", "| | both | 26.1 ", [3, 4, 5, 6, 7, 8, 9]),
    ("sarl-yolox-dota", "sarl-sal", "| | both | 40.1 ", [3, 4, 5, 6, 7, 8, 9]),
    ("sarl-yolov5-aitod", "sarl-sal", "| | both | 29.6 ", [3, 4, 5, 6, 7, 8, 9]),
]


def text_of(name: str) -> str:
    return (recipes.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "page", "start", "columns"), FIGURES)
def test_claims_are_those_of_the_page(name: str, page: str, start: str, columns: list[int]) -> None:
    (line,) = (one for one in (PAGES / f"{page}.md").read_text().splitlines() if one.startswith(start))
    cells = [cell.strip() for cell in line.split("|")]
    recipe = load_recipe(name)
    claim = CLAIMED[name].of(recipe.model, recipe.imgsz)
    gflops = [claim.costs["gflops"]] if len(columns) > len(claim.scores) else []
    assert [f"{value:.1f}" for value in (*claim.scores.values(), *gflops)] == [cells[at] for at in columns]


def test_every_claim_with_scores_is_compared_with_its_page() -> None:
    with_scores = {name for name, claim in CLAIMED.items() if claim.scores and name not in SHORT}
    assert with_scores == {name for name, *_ in FIGURES}


def test_the_table_of_all_recipes() -> None:
    """docs/train.md has a row of each, with its data and the first two of its scores."""
    rows = [line for line in (ROOT / "docs" / "train.md").read_text().splitlines() if line.startswith("| `")]
    for name, claim in CLAIMED.items():
        if name in SHORT or name in {f"sarl-yolov5-{data}" for data in ("aitodv2", "visdrone", "dota")}:
            assert not claim.scores or name in SHORT
            continue
        (row,) = (line for line in rows if line.startswith(f"| `{name}` |"))
        assert f"| `{claim.data}` |" in row
        if not claim.scores:
            assert "| none" in row
        elif "| the same," not in row:
            recipe = load_recipe(name)
            scores = list(claim.of(recipe.model, recipe.imgsz).scores.items())[:2]
            assert f"{', '.join(f'{key} {value:.1f}' for key, value in scores)} on {claim.split}" in row


def test_the_pages_use_the_recipes() -> None:
    used: set[str] = set()
    for page in [*PAGES.glob("*.md"), ROOT / "docs" / "train.md"]:
        for name, data in re.findall(r"^finespot train --recipe (\S+) --data (\S+)", page.read_text(), re.MULTILINE):
            claim = load_recipe(name).claimed
            assert claim is not None
            assert name in SHORT or claim.covers(data)
            used.add(name)
    systems = {"yolo-sod", "lrs-detr", "esod", "sarl-yolox", "yolo11-ass"}
    assert {system for system in systems if any(name.startswith(system) for name in used)} == systems


@pytest.mark.parametrize("name", CLAIMED)
def test_claims_can_stand_beside_what_is_scored(name: str) -> None:
    claim, recipe = CLAIMED[name], load_recipe(name)
    rules = metrics.protocol(recipe.val.protocol)
    labels = [rules.label(row) for row in rules.rows if rules.covers(row)]
    assert claim.scores.keys() <= set(labels)
    assert claim.protocol in {"", *registry.names("protocol")} or " " in claim.protocol
    if claim.scores:
        assert claim.split
        assert claim.data
    if claim.data:
        find_format(f"{claim.data}:DIR")


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).name != "run"])
def test_commands_in_a_recipe_name_it_and_a_data_set(name: str) -> None:
    recipe, text = load_recipe(name), text_of(name)
    assert recipe.name == name
    for command in re.findall(r"#   finespot train .*", text):
        data = re.search(r"--data (\S+)", command)
        assert data is not None
        if data[1] != "pictures.yaml":
            find_format(data[1])
        assert recipe.claimed is None or name in SHORT or recipe.claimed.covers(data[1]) or "ass1" in command
    if recipe.claimed is not None:
        assert f"#   finespot train --recipe {name} --data " in text
        assert re.search(r"\bhours?\b|How long|[Mm]easured", text) or recipe.claimed.hours != "not said"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLAIMED])
def test_what_they_train_can_be_built(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(recipe.model, 10, **recipe.options))
    assert sum(p.numel() for p in detector.parameters()) > 500_000


def test_what_the_systems_change_of_their_families() -> None:
    def beyond(name: str, base: str) -> set[str]:
        return set(differences(load_recipe(base), load_recipe(name))) - {"name", "claimed"}

    assert beyond("yolo-sod-visdrone", "yolo-sod") == set()
    assert beyond("lrs-detr-visdrone", "lrs-detr") == set()
    assert beyond("esod-visdrone", "esod") == set()
    assert beyond("esod-visdrone-1920", "esod") == {"imgsz", "batch"}
    assert beyond("esod-uavdt", "esod") == {
        "splits.val",
        "imgsz",
        "loss.cls",
        "options.relay",
        "options.threshold",
    }
    assert beyond("yolo11-ass-ass1", "yolo11-ass") == set()
    assert beyond("yolo11-ass-ass2", "yolo11-ass") == {"weights", "optimizer.lr"}
    waste = load_recipe("yolo-sod-uavvaste")
    assert (waste.imgsz, waste.batch, waste.epochs, waste.optimizer) == (1024, 16, 300, AdamW(lr=0.002))


def test_the_transfer_starts_where_the_first_training_ends() -> None:
    first, second = load_recipe("yolo11-ass-ass1"), load_recipe("yolo11-ass-ass2")
    assert second.weights == f"{running.PROJECT}/{first.name}/weights/best.safetensors"
    assert second.optimizer.lr == pytest.approx(first.optimizer.lr / 10, rel=0.03)


@pytest.mark.parametrize(
    ("model", "known"), [("esod-yolov5m", True), ("esod-yolov5l", False), ("esod-rtmdet-m-published", False)]
)
def test_the_claim_of_another_host_is_not_told_for_it(model: str, known: bool) -> None:
    recipe = choose_recipe(model, recipe="esod-visdrone", overrides={})
    assert recipe.claimed is not None
    assert bool(recipe.claimed.of(recipe.model, recipe.imgsz).scores) == known


@pytest.mark.parametrize("name", SHORT)
def test_shortened_recipes_keep_what_their_system_is(name: str) -> None:
    system = name.removesuffix("-hit-uav")
    whole = "yolo11-ass-ass1" if system == "yolo11-ass" else f"{system}-visdrone"
    recipe, long = load_recipe(name), load_recipe(whole)
    # Its windows are smaller, as its pictures are.
    options = {**long.options, "core": 16} if system == "esod" else long.options
    assert (recipe.options, recipe.loss, recipe.optimizer) == (options, long.loss, long.optimizer)
    assert zoo.architecture(recipe.model).family == zoo.architecture(long.model).family
    assert (recipe.epochs, recipe.batch) == (3, 4)
    assert recipe.imgsz <= 320
    # Every system has one, and each says that its scores compare with nothing.
    assert recipe.claimed == long.claimed
    assert recipe.claimed is not None
    assert not recipe.claimed.covers("hit-uav:DIR")
    assert len(SHORT) == 6


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, batch: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "recipe", "words"),
    [
        ("esod-yolov8n", "esod-hit-uav", {"loss.obj": None}),
        ("esod-rtmdet-tiny", "esod-hit-uav", {"loss.obj": None}),
        ("esod-rtmdet-m-published", "esod-visdrone", {}),
        pytest.param("esod-yolov8m", "esod-visdrone", {"loss.obj": None}, marks=pytest.mark.full),
        *(
            pytest.param(name, "esod-hit-uav", {"loss.obj": None}, marks=pytest.mark.full)
            for name in ("esod-yolo11n", "esod-yolo12n", "esod-gpvit-l1", "esod-retinanet-r50")
        ),
        pytest.param("esod-gpvit-l2", "esod-visdrone", {"loss.obj": None}, marks=pytest.mark.full),
        *(
            pytest.param(name, "esod-visdrone", {}, marks=pytest.mark.full)
            for name in ("esod-retinanet-r50-published", "esod-yolov8m-published", "esod-yolov5m-published")
        ),
    ],
)
@pytest.mark.usefixtures("_undrawn")
def test_recipes_of_esod_run_on_other_hosts(model: str, recipe: str, words: dict[str, None], tmp_path: Path) -> None:
    keys = {"epochs": 1, "imgsz": 64, "batch": 4, "nominal_batch": 4, "workers": 0, "device": "cpu", "quiet": True}
    made = train(model, recipe=recipe, data=DATA, project=tmp_path, **keys, **words)
    assert made.report is not None
    assert weights.read_card(made.best).architecture.family.startswith("esod")


@pytest.mark.slow
def test_a_gain_that_a_host_has_not_is_named() -> None:
    with pytest.raises(FineSpotError, match=r"loss.obj: unknown loss gain 'obj': .*; say loss.obj=null"):
        Detect(load_recipe("esod-visdrone", ["model=esod-yolov8n"]), Classes(("a",)), print)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
@pytest.mark.usefixtures("_undrawn")
def test_shortened_recipes_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = train(recipe=name, data=DATA, project=tmp_path, epochs=1, imgsz=64, workers=0, device="cpu")
    assert made.report is not None
    assert made.folder.name == name
    assert weights.read_card(made.best).classes == Classes(("Person", "Car", "Bicycle", "OtherVehicle"))
    said = capsys.readouterr().out
    assert ("not for these data (hit-uav), so not comparable" in said) != ("claimed: no scores" in said)
