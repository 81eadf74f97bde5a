"""Every key of the recipe changes what a run does: one row a key."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finespot import inference, weights
from finespot.boxes import Nmm
from finespot.data import TrainLoader
from finespot.errors import FineSpotError
from finespot.structures import Classes, Normalization, Tiling
from finespot.training import RunResult, load_recipe, settings, train
from finespot.training import run as running
from finespot.training import validator as validating
from finespot.training.keeper import RunFiles
from finespot.training.loop import Loop
from finespot.training.recipe import Recipe, parse_words
from finespot.training.tasks.detect import Detect

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
BASE = ["model=yolo11n", f"data={DATA}", "imgsz=64", "batch=4", "epochs=2", "close_mosaic=0", "device=cpu"]

# What each of these changes is in the weights after two epochs.
WEIGHTS = [
    "model=yolov8n",
    "imgsz=96",
    "batch=2",
    "nominal_batch=4",
    "epochs=1",
    "seed=5",
    "splits.train=val",
    "optimizer=adamw",
    "lr=0.05",
    "momentum=0.5",
    "nesterov=false",
    "weight_decay=0.5",
    "warmup_momentum=0.1",
    "warmup_bias_lr=0.01",
    "final=0.5",
    "warmup_epochs=0",
    "loss.box=1e6",
    "loss.cls=2",
    "loss.dfl=1e6",
    "clip=0.01",
    "decay=0.5",
    "tau=1",
    "mosaic=0",
    "degrees=90",
    "translate=0.4",
    "scale=0.9",
    "shear=20",
    "perspective=0.001",
    "hsv_v=0",
    "flip_lr=0",
    "flip_ud=1",
    "mixup=1",
    "copy_paste=1",
    "close_mosaic=2",
    "multi_scale=0.5",
    "drop_small=40",
    "repeat_rare=1",
    "freeze=backbone",
    "precision=bf16",
]
# The pictures are gray, and change little in hue and saturation: what reaches the loader is compared.
CAPTURED = {"augment.hsv_h": 0.3, "augment.hsv_s": 0.1}
# How each other key is tested.
ELSEWHERE = {
    "data": "test_other_keys",
    "data_licence": "test_licence_and_own_parts",
    "gsd": "test_the_ground_goes_into_the_weights",
    "options": "test_licence_and_own_parts",
    "splits.val": "test_other_keys",
    "weights": "test_run.test_frozen_backbone_is_bit_identical",
    "name": "test_other_keys",
    "optimizer.betas": "test_optimizer.test_the_recipe_says_which_optimizer",
    "schedule.name": "test_schedule.test_cosine",
    "loss.box_loss": "test_losses_by_name",
    "loss.assigner": "test_losses_by_name",
    "loss.obj": "test_losses_by_name",
    "loss.l1": "test_losses_by_name",
    "loss.l1_epochs": "test_losses_by_name",
    "loss.heat": "test_seeker_training.test_the_gain_weighs_the_term",
    "shapes": "test_seeker_training.test_shapes_change_what_is_learnt",
    "channels_last": "test_loop.test_channels_last_reaches_pictures_and_weights",
    "workers": "test_other_keys",
    "cache": "test_other_keys",
    "cache_folder": "test_workers_and_cache_change_no_number",
    "tile.size": "test_tiles_while_training",
    "tile.overlap": "test_tiles_while_training",
    "tile.min_visible": "test_tiles_while_training",
    "tile.keep_empty": "test_tiles_while_training",
    "tile.whole": "test_merging_of_tiles",
    "tile.merge": "test_merging_of_tiles",
    "tile.metric": "test_merging_of_tiles",
    "deterministic": "test_deterministic",
    "patience": "test_loop.test_early_stop",
    "val.every": "test_loop.test_validation_every_other_epoch_and_the_last",
    "val.protocol": "test_validation_keys",
    "val.conf": "test_validation_keys",
    "val.iou": "test_validation_keys",
    "val.nms": "test_validation_keys",
    "val.max_det": "test_validation_keys",
    "val.batch": "test_validation_keys",
    "device": "test_distributed.test_devices_and_formats",
    "devices": "test_distributed.test_a_detector_on_two_processes",
    "strategy": "test_distributed.test_strategy_chooses_how_processes_start",
    "save_every": "test_other_keys",
    "claimed": "test_claim.test_a_run_tells_it_at_its_end",
    "curriculum": "test_stages.test_rates_of_a_preset_are_those_of_its_table",
    "stage": "test_stages.test_one_stage_alone",
}


def go(project: Path, *words: str) -> RunResult:
    return train(recipe=load_recipe("default", [*BASE, "val.every=0", *words]), project=project, quiet=True)


def digest(result: RunResult) -> list[tuple[str, float]]:
    state = weights.load(result.folder / "weights" / "last.safetensors")[0].state_dict()
    return [(name, float(value.double().sum())) for name, value in state.items()]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    _undraw(monkeypatch)


def _undraw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, batch: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, float]]:
    return digest(go(tmp_path_factory.mktemp("base")))


def test_no_key_is_forgotten() -> None:
    """Each key stands in exactly one of the tables above."""
    told = [next(iter(parse_words([word]))) for word in WEIGHTS]
    told = ["optimizer.name" if key == "optimizer" else key for key in told]
    assert sorted([*told, *CAPTURED, *ELSEWHERE]) == sorted(settings.keys(Recipe))


@pytest.mark.slow
@pytest.mark.parametrize("word", WEIGHTS)
def test_key_changes_the_weights(word: str, base: list[tuple[str, float]], tmp_path: Path) -> None:
    assert digest(go(tmp_path, word)) != base


@pytest.mark.slow
def test_hue_and_saturation_reach_the_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    epoch = TrainLoader.epoch

    def watched(self: TrainLoader, number: int, augment: Any) -> Any:
        asked.append(augment)
        return epoch(self, number, augment)

    monkeypatch.setattr(TrainLoader, "epoch", watched)
    go(tmp_path, "epochs=1", *(f"{key}={value}" for key, value in CAPTURED.items()))
    assert {key: getattr(asked[0], key.partition(".")[2]) for key in CAPTURED} == CAPTURED


@pytest.mark.slow
def test_other_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def loader(dataset: Any, **keys: Any) -> TrainLoader:
        asked.update(keys)
        return TrainLoader(dataset, **keys)

    monkeypatch.setattr(running, "TrainLoader", loader)
    result = go(
        tmp_path, "name=mine", "save_every=2", "epochs=3", "workers=1", "cache=ram", "val.every=3", "splits.val=train"
    )
    assert result.folder.name == "mine"
    assert {path.name for path in (result.folder / "weights").glob("epoch*")} == {"epoch2.safetensors"}
    assert (asked["workers"], asked["cache"]) == (1, "ram")
    assert result.report is not None
    assert result.report.images == 8
    with pytest.raises(FineSpotError, match="absent"):
        go(tmp_path, "data=coco:absent")


OWN_PART = """
from torch import nn
class PassThrough(nn.Module):
    def __init__(self, inputs, widths, block, last_block):
        super().__init__()
        self.inputs = self.levels = tuple(inputs)
    def forward(self, features):
        return features
"""


@pytest.mark.slow
def test_licence_and_own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passing_parts.py").write_text(OWN_PART)
    monkeypatch.syspath_prepend(tmp_path)
    neck = "options.neck=passing_parts:PassThrough"
    result = go(tmp_path, "epochs=1", neck, "data_licence=CC BY 4.0", "val.every=1")
    card = weights.read_card(result.best)
    assert card.data_licence == "CC BY 4.0"
    assert card.own_parts() == ["passing_parts:PassThrough"]
    assert card.metrics
    with pytest.raises(FineSpotError, match="the weights name code outside FineSpot") as caught:
        go(tmp_path, f"model={result.best}")
    assert neck in str(caught.value)
    tuned = go(tmp_path, f"model={result.best}", neck, "epochs=1", "data_licence=ODbL 1.0")
    assert weights.read_card(tuned.best).data_licence == "ODbL 1.0; CC BY 4.0"
    with pytest.raises(FineSpotError, match="unknown yolo11 option 'nek'"):
        go(tmp_path, "options.nek=x")


@pytest.mark.parametrize(
    ("own", "inherited", "joined"),
    [
        ("", "", ""),
        ("CC0", "", "CC0"),
        ("", "CC BY 4.0", "CC BY 4.0"),
        ("CC BY 4.0", "CC BY 4.0", "CC BY 4.0"),
        ("CC0", "CC0; CC BY 4.0", "CC0; CC BY 4.0"),
    ],
)
def test_licences_of_all_training_data_are_joined(own: str, inherited: str, joined: str) -> None:
    dataset = running.open_dataset(DATA, "val")
    task = SimpleNamespace(
        model=SimpleNamespace(architecture=weights.read_card("hit-uav-n").architecture),
        normalization=Normalization(),
        source="x.safetensors",
        source_licence=inherited,
    )
    card = running.make_card(Recipe(data_licence=own), task, dataset, 300)
    assert card.data_licence == joined


def test_the_ground_goes_into_the_weights() -> None:
    dataset = running.open_dataset(DATA, "val")
    architecture = weights.read_card("hit-uav-n").architecture
    task = SimpleNamespace(
        model=SimpleNamespace(architecture=architecture), normalization=Normalization(), source="", source_licence=""
    )
    assert running.make_card(Recipe(gsd=0.05), task, dataset, 300).resolution == 0.05
    assert running.make_card(Recipe(), task, dataset, 300).resolution is None


@pytest.mark.slow
def test_workers_and_cache_change_no_number(base: list[tuple[str, float]], tmp_path: Path) -> None:
    assert digest(go(tmp_path, "workers=2")) == base
    assert digest(go(tmp_path, "cache=ram")) == base
    assert digest(go(tmp_path, "cache=disk", f"cache_folder={tmp_path / 'cache'}")) == base
    assert len(list((tmp_path / "cache").rglob("*.pixels"))) == 8


@pytest.mark.slow
def test_tiles_while_training(base: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tiled(*words: str) -> RunResult:
        return go(tmp_path, "epochs=1", "tile.size=320", "batch=16", *words)

    plain = tiled()
    found = [digest(plain), *(digest(tiled(f"tile.{key}")) for key in ("overlap=0.5", "min_visible=1", "keep_empty=1"))]
    assert all(one not in (base, *found[:number]) for number, one in enumerate(found))
    # Validation, in the run and with its weights, and prediction cut pictures alike.
    asked: list[Any] = []
    validation = sys.modules["finespot.inference.validate"]
    walk = validation.walk

    def watched(session: Any, entries: Any, settings: Any, *rest: Any) -> Any:
        asked.append(settings.scaling.tiling)
        return walk(session, entries, settings, *rest)

    monkeypatch.setattr(validation, "walk", watched)
    scored = tiled("val.every=1")
    assert asked == [Tiling(320, 0.2)] * 2
    assert weights.read_card(scored.best).tiling == Tiling(320, 0.2)
    assert weights.read_card(go(tmp_path, "epochs=1").best).tiling is None


@pytest.mark.slow
def test_merging_of_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation in the run, and whoever uses the weights, sees and merges as the recipe says."""
    asked: list[Any] = []
    validation = sys.modules["finespot.inference.validate"]
    walk = validation.walk

    def watched(session: Any, entries: Any, settings: Any, *rest: Any) -> Any:
        asked.append((settings.scaling.tiling, settings.suppressor))
        return walk(session, entries, settings, *rest)

    monkeypatch.setattr(validation, "walk", watched)
    words = ["epochs=1", "batch=16", "val.every=1", "tile.size=320", "tile.overlap=100", "tile.whole=true"]
    made = go(tmp_path, *words, "tile.merge=nmm", "tile.metric=ios")
    tiling = Tiling(320, 100, whole=True, merge="nmm", metric="ios")
    assert asked == [(tiling, Nmm(metric="ios"))] * 2
    card = weights.read_card(made.best)
    assert card.tiling == tiling
    assert card.objects is not None
    assert card.objects.factor == pytest.approx(card.imgsz / 320)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tile.whole=true"], "slice-whole: has no effect on whole pictures"),
        (["tile.size=320", "tile.overlap=320"], "overlap: expected an overlap from 0 to below 1, or pixels below 320"),
        (["tile.size=320", "tile.metric=ios"], "merge-metric: has no effect without an operator"),
        (["tile.size=320", "tile.merge=nmmm"], "unknown nms 'nmmm'"),
        (["tile.size=320", "tile.merge=my_parts:Nms"], "a suppression of FineSpot's own"),
    ],
)
def test_a_tiling_that_cannot_be_is_said_before_training(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(FineSpotError, match=said):
        go(tmp_path, "epochs=1", *words)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.slow
def test_a_run_on_tiles_goes_on_as_if_it_had_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["tile.size=320", "batch=16", "mixup=0.5"]
    whole = digest(go(tmp_path, "name=whole", *words))
    close = Loop.close_epoch

    def stopping(self: Loop, figures: Any) -> None:
        close(self, figures)
        if self.progress.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "close_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "name=cut", *words)
    monkeypatch.undo()
    _undraw(monkeypatch)
    assert digest(train(resume=tmp_path / "cut", quiet=True, cache="disk", cache_folder=tmp_path / "cache")) == whole


def far(pred: torch.Tensor, target: torch.Tensor, *, stride: torch.Tensor, image_size: object) -> torch.Tensor:
    """A box loss of a user's own."""
    return (pred - target).abs().sum(1) / stride


class Far:
    """One that is made first."""

    def __call__(self, *boxes: torch.Tensor, stride: torch.Tensor, image_size: object) -> torch.Tensor:
        return far(*boxes, stride=stride, image_size=image_size)


def make_far() -> Far:
    return Far()


made = Far()


@pytest.mark.parametrize("name", ["far", "Far", "make_far", "made"])
def test_box_loss_of_ones_own(name: str) -> None:
    recipe = load_recipe("default", [f"box_loss={__name__}:{name}"])
    loss = Detect(recipe, Classes(("a", "b")), print).model.head.criterion.box_loss
    boxes = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[5.0, 5, 9, 9]])
    assert loss(*boxes, stride=torch.tensor([8.0]), image_size=(16, 16)).tolist() == [3.0]


@pytest.mark.slow
def test_losses_by_name() -> None:
    recipe = load_recipe("default", ["box_loss=giou", "loss.box=2", "cls=3", "dfl=4"])
    head = Detect(recipe, Classes(("a", "b")), print).model.head
    assert head.criterion.gains == {"box": 2.0, "cls": 3.0, "dfl": 4.0, "l1": 0.0}
    a, b = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[5.0, 5, 9, 9]])
    ciou = Detect(load_recipe(), Classes(("a", "b")), print).model.head.criterion.box_loss
    keys = {"stride": torch.ones(1), "image_size": (16, 16)}
    assert not torch.equal(head.criterion.box_loss(a, b, **keys), ciou(a, b, **keys))
    words = ["loss.l1=2", "l1_epochs=closing"]
    late = Detect(load_recipe("default", words), Classes(("a",)), print).model.head.criterion
    assert (late.gains["l1"], late.l1_epochs) == (2.0, "closing")
    with pytest.raises(FineSpotError, match=r"l1_epochs: this loss has no L1 term .*; give it a gain too, loss.l1"):
        Detect(load_recipe("default", ["l1_epochs=all"]), Classes(("a",)), print)
    with pytest.raises(FineSpotError, match="l1_epochs"):
        load_recipe("default", ["l1_epochs=often"])
    for word in ("obj=2", "heat=2"):
        with pytest.raises(FineSpotError, match=r"loss.(obj|heat): unknown loss gain .* box, cls.* say loss.*=null"):
            Detect(load_recipe("default", [word]), Classes(("a",)), print)
    for word in ("box_loss=absent", "assigner=absent"):
        with pytest.raises(FineSpotError, match="absent"):
            Detect(load_recipe("default", [word]), Classes(("a",)), print)


@pytest.mark.slow
def test_deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    backward = Loop.backward

    def watched(self: Loop, *args: Any, **keys: Any) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return backward(self, *args, **keys)

    monkeypatch.setattr(Loop, "backward", watched)
    go(tmp_path, "epochs=1", "deterministic=true")
    assert set(seen) == {True}
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_validation_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    validate: Callable[..., Any] = inference.validate

    def watched(session: Any, dataset: Any, **keys: Any) -> Any:
        asked.append({key: value for key, value in keys.items() if key != "progress"})
        assert callable(keys["progress"])
        return validate(session, dataset, **keys)

    monkeypatch.setattr(validating.inference, "validate", watched)
    words = [
        "val.protocol=ai-tod",
        "val.conf=0.01",
        "val.iou=0.5",
        "val.nms=soft(sigma=0.3)",
        "val.max_det=7",
        "val.batch=3",
        "val.every=1",
    ]
    result = go(tmp_path, "epochs=1", *words)
    expected = {
        "protocol": "ai-tod",
        "conf": 0.01,
        "iou": 0.5,
        "nms": "soft(sigma=0.3)",
        "max_det": 7,
        "batch": 3,
        "imgsz": 64,
    }
    assert asked == [expected, expected]
    with pytest.raises(FineSpotError, match="unknown nms 'gredy'"):
        go(tmp_path, "val.nms=gredy", "val.every=1")
    assert "val/AP25" in (result.folder / "metrics.csv").read_text()
