"""Curricula as data: the presets as their tables say, files of one's own, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import finespot.cli
from finespot.data import Augment
from finespot.errors import FineSpotError
from finespot.training import settings
from finespot.training.choice import choose_recipe
from finespot.training.curriculum import FOLDER, Curriculum, curriculum_names, curriculum_of, read_curriculum, settled
from finespot.training.recipe import AdamW, Recipe, Schedule, Sgd, load_recipe, read_recipe, write_recipe
from finespot.training.stages import Stages

# What the script of HCP-400 lists, one value a stage.
HCP = {
    "mosaic": (1.0, 1.0, 0.8, 0.0),
    "mixup": (0.1, 0.1, 0.05, 0.0),
    "copy_paste": (0.1, 0.1, 0.05, 0.0),
    "degrees": (10, 10, 8, 5),
    "translate": (0.1, 0.1, 0.08, 0.05),
    "scale": (0.5, 0.5, 0.4, 0.3),
    "shear": (2.0, 2.0, 1.5, 1.0),
    "perspective": (1e-4, 1e-4, 1e-4, 0),
    "flip_ud": (0, 0, 0, 0),
    "flip_lr": (0.5, 0.5, 0.5, 0.5),
    "hsv_h": (0.015, 0.015, 0.010, 0.005),
    "hsv_s": (0.7, 0.7, 0.6, 0.5),
    "hsv_v": (0.4, 0.4, 0.3, 0.2),
}


def test_the_package_ships_its_curricula() -> None:
    assert curriculum_names() == ["hcp-400", "published"]
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '"recipes/curricula/*.yaml"' in text


@pytest.mark.parametrize(
    ("epochs", "borders", "p2"),
    [(400, [0, 50, 150, 350], 30), (500, [0, 63, 188, 438], 38), (40, [0, 5, 15, 35], 3), (8, [0, 1, 3, 7], 1)],
)
def test_hcp_400_is_its_table_for_any_number_of_epochs(epochs: int, borders: list[int], p2: int) -> None:
    stages = Stages.of(Recipe(curriculum="hcp-400", epochs=epochs, close_mosaic=0))
    assert [stage.first for stage in stages.every] == borders
    assert [stage.end for stage in stages.every] == [*borders[1:], epochs]
    assert [stage.optimizer.lr for stage in stages.every] == [0.002, 0.001, 0.0006, 0.0003]
    assert {stage.final for stage in stages.every} == {0.01}
    for stage in stages.every:
        assert isinstance(stage.optimizer, AdamW)
        assert (stage.optimizer.betas, stage.optimizer.weight_decay) == ((0.937, 0.999), 5e-4)
    assert {key: tuple(getattr(stage.augment, key) for stage in stages.every) for key in HCP} == HCP
    assert set(HCP) == set(Augment.__struct_fields__)
    assert stages.levels == {"p2": p2}


def test_the_page_has_the_table_of_the_preset() -> None:
    text = (Path(__file__).parents[2] / "docs" / "curriculum.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.count("|") == 6]
    told = {key.strip("` "): values for names, *values in lines for key in re.split(r"`, `", names)}
    stages = Stages.of(Recipe(curriculum="hcp-400", epochs=400, close_mosaic=0)).every
    assert [float(value) for value in told["lr"]] == [stage.optimizer.lr for stage in stages]
    assert told["epochs of 400"] == [f"{stage.first + 1} to {stage.end}" for stage in stages]
    assert [float(value) * 400 for value in told["first epoch, as a share"]] == [stage.first for stage in stages]
    for key in HCP.keys() - {"flip_ud", "flip_lr", "hsv_h", "hsv_s", "hsv_v"}:
        assert tuple(float(value) for value in told[key]) == HCP[key]
    hsv = tuple(tuple(float(one) for one in value.split(",")) for value in told["hsv_h"])
    assert hsv == tuple(zip(*(HCP[f"hsv_{name}"] for name in "hsv")))


def test_published_is_one_plain_stage() -> None:
    stages = Stages.of(Recipe(curriculum="published", epochs=500, augment=Augment.off()))
    (stage,) = stages.every
    assert (stage.first, stage.end, stage.final, stage.warmup, stages.shape) == (0, 500, 0.01, 3, "linear")
    assert stage.optimizer == Sgd(
        lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4, warmup_momentum=0.8, warmup_bias_lr=0.0
    )
    assert stages.levels == {}
    assert stage.augment == Augment(mosaic=1, mixup=0.1, degrees=10, shear=2, perspective=1e-4)


MINE = """
optimizer: {name: sgd, momentum: 0.9}
schedule: {name: cosine, warmup_epochs: 1}
levels: {4: 3}
stages:
  - first: 1
    freeze: [backbone]
  - {first: 0.5, lr: 0.003, augment: {mosaic: 0, degrees: 3}}
"""


def mine(folder: Path, text: str = MINE) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    curriculum = read_curriculum(mine(tmp_path))
    assert curriculum.name == "mine"
    stages = Stages.of(Recipe(curriculum=mine(tmp_path), epochs=10, close_mosaic=0, augment=Augment(mixup=0.3)))
    assert [(stage.first, stage.end) for stage in stages.every] == [(0, 5), (5, 10)]
    assert [stage.freeze for stage in stages.every] == [("backbone",), ()]
    assert [stage.optimizer for stage in stages.every] == [Sgd(momentum=0.9), Sgd(momentum=0.9, lr=0.003)]
    assert stages.every[1].augment == Augment(mixup=0.3, mosaic=0, degrees=3), "what it leaves out is the recipe's"
    assert stages.levels == {4: 2}, "on from the third epoch"
    assert [stages.off(epoch) for epoch in (0, 1, 2, 9)] == [[4], [4], [], []]


def test_p2_from_epoch_31_or_from_stage_3() -> None:
    tree, _ = settings.read_yaml(FOLDER / "hcp-400.yaml")
    for start, first in ((31, 30), (0.075, 30), (151, 150), (0.375, 150)):
        assert Stages.of(Recipe(curriculum={**tree, "levels": {4: start}}, epochs=400)).levels == {4: first}


@pytest.mark.slow
def test_a_recipe_takes_a_curriculum_up_whole(tmp_path: Path) -> None:
    """So a run folder says all that the run did, whatever becomes of the file."""
    path = mine(tmp_path)
    recipe = choose_recipe("yolo11n-p2", "x", overrides={"curriculum": path, "epochs": 10})
    Path(path).unlink()
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe == settled(recipe)
    assert curriculum_of(recipe) == curriculum_of(read_recipe(tmp_path / "recipe.yaml"))
    assert load_recipe().curriculum is None
    assert load_recipe(tmp_path / "recipe.yaml", ["curriculum=null"]).curriculum is None
    assert isinstance(load_recipe("default", ["curriculum=hcp-400"]).curriculum, str)


def test_show_recipe_shows_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        finespot.cli.main(["train", "yolo11n-p2", "--curriculum", "hcp-400", "--stage", "3", "--show-recipe"])
    shown = capsys.readouterr().out
    assert "curriculum:               # stages of training" in shown
    assert "\n  levels: {p2: 0.075}\n  stages:\n  - {first: 0, lr: 0.002, augment: {mosaic: 1.0, mixup: 0.1" in shown
    assert "\nstage: 3 " in shown
    (tmp_path / "shown.yaml").write_text(shown)
    recipe = load_recipe(tmp_path / "shown.yaml")
    assert recipe == choose_recipe("yolo11n-p2", overrides={"curriculum": "hcp-400", "stage": 3})
    assert curriculum_of(recipe) == read_curriculum("hcp-400")


def one_stage(**keys: Any) -> dict[str, Any]:
    return {"stages": [{"first": 0, **keys}]}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"stages": []}, r"curriculum: expected a list of stages at 'stages' but got \[\]"),
        ({"optimizer": {"name": "sgd"}}, "expected a list of stages at 'stages' but got None"),
        ({"stages": [3]}, "curriculum, stage 1: expected keys with values but got 3"),
        ({"stages": [{"lr": 1}]}, "curriculum, stage 1: expected the key 'first' but it is not there"),
        ({**one_stage(), "decays": "run"}, "unknown recipe key 'decays'; did you mean decay"),
        (one_stage(lr_factr=2), "curriculum, stage 1: unknown recipe key 'lr_factr'; did you mean lr_factor"),
        (one_stage(augment={"mosiac": 1}), "curriculum, stage 1: unknown key of augment 'mosiac'; did you mean mosaic"),
        (one_stage(augment={"mosaic": 2}), "stage 1: augment.mosaic: expected a value from 0 to 1 but got 2"),
        (one_stage(augment={"mosaic": "x"}), "stage 1: expected a number at 'augment.mosaic' but got 'x'"),
        (one_stage(optimizer={"name": "adam"}), "stage 1: unknown optimizer name 'adam'; did you mean adamw"),
        (one_stage(optimizer={"name": "adamw", "momentum": 1}), "unknown recipe key 'optimizer.momentum'"),
        (one_stage(lr=0.1), "stage 1: the learning rate 0.1 says nothing without its optimizer; name one"),
        (one_stage(lr=0.1, lr_factor=2, optimizer={"name": "sgd"}), "expected lr or lr_factor but got both, 0.1 and 2"),
        (one_stage(final=0.1), "falls once over the whole run, but the stage has a final of 0.1; write decay: stage"),
        ({"stages": [{"first": 1.5}]}, "stage 1: first=1.5: expected a whole number of 0 or more, or a number of 0"),
        ({"stages": [{"first": 0.2}]}, "expected a first stage that begins the training but got first: 0.2"),
        (
            {**one_stage(), "levels": {"p2": -1}},
            "levels=.*keys with values, each of them a whole number of 0 or more, or a",
        ),
        ({**one_stage(), "decay": "epoch"}, "decay=epoch: expected one of run, stage but got 'epoch'"),
        ({**one_stage(), "schedule": 3}, "expected a section with keys at 'schedule' but got 3"),
    ],
)
def test_what_is_wrong_with_a_curriculum(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        read_curriculum(tree)
    assert "\n" not in str(caught.value)


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="unknown curriculum 'hcp400'; did you mean hcp-400"):
        read_curriculum("hcp400")
    with pytest.raises(FineSpotError, match=r"absent.yaml: no such curriculum file"):
        read_curriculum(str(tmp_path / "absent.yaml"))
    with pytest.raises(FineSpotError, match=r"mine.yaml:3: unknown recipe key 'shedule'; did you mean schedule"):
        read_curriculum(mine(tmp_path, MINE.replace("schedule", "shedule")))
    with pytest.raises(FineSpotError, match=r"mine.yaml, stage 2: unknown recipe key 'firts'"):
        read_curriculum(mine(tmp_path, MINE.replace("{first: 0.5", "{first: 0.5, firts: 1")))
    twice = "stages:\n  - first: 0\n  - first: 0.2\n    first: 0.5"
    with pytest.raises(FineSpotError, match=r"mine.yaml: the key 'stages\[2\].first' stands twice .lines 3 and 4."):
        read_curriculum(mine(tmp_path, twice))
    with pytest.raises(FineSpotError, match="stage 1: expected keys with values"):
        read_curriculum(mine(tmp_path, "stages: &all [*all, *all]"))
    with pytest.raises(FineSpotError, match="curriculum=3: expected text, or keys with values, or null"):
        load_recipe(values={"curriculum": 3})


def stages_at(*firsts: float, **keys: Any) -> dict[str, Any]:
    return {"stages": [{"first": first} for first in firsts], **keys}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"curriculum": stages_at(0, 0.5, 0.3)}, "expected stage 3 to begin after epoch 6, where stage 2 begins, but"),
        ({"curriculum": stages_at(0, 4, 0.3)}, "but got epoch 4 of 10; give it more epochs, or the stages in their"),
        ({"curriculum": stages_at(0, 0.01)}, "expected stage 2 to begin after epoch 1"),
        ({"curriculum": stages_at(0, 11)}, "stage 2 begins with epoch 11, but the training ends after 10; give it"),
        ({"curriculum": stages_at(0, 0.99)}, "stage 2 begins with epoch 11, but the training ends after 10"),
        ({"curriculum": stages_at(0, levels={"p2": 11})}, "levels.p2 begins with epoch 11, but the training ends"),
        ({"stage": 1}, "stage: without a curriculum there are no stages; name a curriculum"),
        ({"curriculum": stages_at(0, 3), "stage": 3}, "stage: expected one of the 2 stages of 'unnamed' but got 3"),
        ({"curriculum": "hcp-400", "epochs": 3}, "stage 4 begins with epoch 4, but the training ends after 3"),
        (
            {"curriculum": "hcp-400", "epochs": 40},
            "close_mosaic: the last 10 epochs join no pictures, but stage 3 .epochs 16 to 35. asks for mosaic, mixup, "
            "copy_paste; set close_mosaic to at most 5",
        ),
        (
            {"curriculum": "published"},
            "the last 10 epochs join no pictures, but stage 1 .epochs 1 to 10. asks for mosaic, mixup; set "
            "close_mosaic to at most 9",
        ),
    ],
)
def test_stages_that_do_not_fit_a_run(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        Stages.of(Recipe(**{"epochs": 10, **keys}))
    assert "\n" not in str(caught.value)


def test_close_mosaic_within_the_last_stage_is_no_contradiction() -> None:
    for keys in (
        {"curriculum": "hcp-400", "epochs": 40, "close_mosaic": 5},
        {"curriculum": "hcp-400", "epochs": 400},
        {"curriculum": "published", "close_mosaic": 9},
        {"curriculum": stages_at(0, 0.9), "close_mosaic": 10},
        {"curriculum": "hcp-400", "epochs": 40, "close_mosaic": 20, "stage": 2},
    ):
        assert Stages.of(Recipe(**{"epochs": 10, **keys})).every


@pytest.mark.slow
def test_what_every_stage_sets_cannot_be_given_beside_it() -> None:
    def choose(curriculum: Any, **keys: Any) -> Recipe:
        return choose_recipe("yolo11n-p2", "x", overrides={"curriculum": curriculum, **keys})

    for key, value in {
        "lr": 0.1,
        "optimizer": "sgd",
        "optimizer.weight_decay": 0.1,
        "final": 0.5,
        "warmup_epochs": 1.0,
        "schedule.name": "cosine",
        "schedule": {"name": "cosine"},
        "mosaic": 0.5,
        "augment": {"degrees": 3},
    }.items():
        with pytest.raises(
            FineSpotError, match=r"the curriculum 'hcp-400' sets it in every stage, so that .* no effect"
        ):
            choose("hcp-400", **{key: value})
    assert choose("hcp-400", epochs=40, **{"ema.decay": 0.5, "close_mosaic": 3}).ema.decay == 0.5
    some = {"stages": [{"first": 0, "augment": {"mosaic": 1}}, {"first": 0.5, "augment": {"mosaic": 0}}]}
    assert choose(some, augment={"degrees": 3}).augment.degrees == 3
    with pytest.raises(FineSpotError, match=r"augment.mosaic: the curriculum 'unnamed' sets it"):
        choose(some, augment={"degrees": 3, "mosaic": 0.5})
    free = {"stages": [{"first": 0, "augment": {"mosaic": 1}}, {"first": 0.5, "lr_factor": 0.1}]}
    assert choose(free, lr=0.1, mosaic=0.5, final=0.5, warmup_epochs=1, optimizer="adamw").optimizer.lr == 0.1
    with pytest.raises(FineSpotError, match=r"schedule.warmup_epochs: the curriculum 'unnamed' sets it"):
        choose({"stages": [{"first": 0, "warmup_epochs": 1}]}, warmup_epochs=2)


def test_every_key_of_a_curriculum_changes_its_stages() -> None:
    """One row a key; `name` and `levels` are those of the tests above."""

    def made(**keys: Any) -> Stages:
        stage = {"first": 0.5, **keys.pop("stage", {})}
        return Stages.of(Recipe(epochs=20, curriculum={"stages": [{"first": 0}, stage], **keys}))

    plain = made()
    changed = [
        made(name="x"),
        made(optimizer={"name": "adamw"}),
        made(schedule={"name": "cosine"}),
        made(schedule={"final": 0.5}),
        made(decay="stage"),
        made(levels={"p2": 5}),
        made(stage={"first": 0.25}),
        made(stage={"optimizer": {"name": "sgd", "momentum": 0.5}}),
        made(stage={"lr": 0.5, "optimizer": {"name": "sgd"}}),
        made(stage={"lr_factor": 0.5}),
        made(decay="stage", stage={"final": 0.5}),
        made(stage={"warmup_epochs": 2}),
        made(stage={"augment": {"degrees": 4}}),
        made(stage={"freeze": ["neck"]}),
    ]
    assert all(one != other for n, one in enumerate([plain, *changed]) for other in changed[n:])
    assert plain.every[1].optimizer == Sgd()
    assert changed[9].every[1].optimizer == Sgd(lr=0.005)
    assert set(settings.keys(Curriculum)) >= {"name", "decay", "levels", "stages", "schedule.final"}
    assert Schedule().warmup_epochs == plain.every[0].warmup == 3
    assert plain.every[1].warmup == 0
