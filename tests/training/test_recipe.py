"""The recipe: defaults as published, overrides, and files that say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from finespot import weights, zoo
from finespot.data import Augment
from finespot.errors import FineSpotError
from finespot.structures import Classes
from finespot.training import recipe as recipes
from finespot.training import settings
from finespot.training.checkpoint import seed_all
from finespot.training.choice import choose_recipe, own_recipe
from finespot.training.recipe import AdamW, Loss, Recipe, Sgd, load_recipe, recipe_names


def test_default_file_names_every_key_with_the_code_default() -> None:
    tree, _ = settings.read_yaml(recipes.FOLDER / "default.yaml")
    assert load_recipe() == Recipe()
    named = {key for key in tree if not isinstance(tree[key], dict)}
    named |= {f"{key}.{inner}" for key, value in tree.items() if isinstance(value, dict) for inner in value}
    assert named == set(settings.keys(Recipe)) - {"optimizer.betas", "options"}
    assert tree["options"] == {}


def test_defaults_are_those_of_the_family() -> None:
    recipe = load_recipe()
    assert recipe.optimizer == Sgd(lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4)
    assert (recipe.schedule.name, recipe.schedule.final, recipe.schedule.warmup_epochs) == ("linear", 0.01, 3)
    assert (recipe.ema.decay, recipe.ema.tau, recipe.clip, recipe.nominal_batch) == (0.9999, 2000, 10, 64)
    assert recipe.loss == Loss(), "a model's loss is its own"
    assert recipe.close_mosaic == 10
    assert recipe.augment == Augment()


def test_bare_names_and_dotted_keys() -> None:
    recipe = load_recipe("default", ["lr=0.02", "epochs=3", "mosaic=0", "val.batch=4", "batch=2", "cls=1"])
    assert (recipe.optimizer.lr, recipe.epochs, recipe.augment.mosaic) == (0.02, 3, 0)
    assert (recipe.val.batch, recipe.batch, recipe.loss.cls) == (4, 2, 1)


def test_order_of_overrides_does_not_matter_for_the_optimizer() -> None:
    recipe = load_recipe("default", ["lr=0.002", "optimizer=adamw"])
    assert recipe.optimizer == AdamW(lr=0.002)
    assert load_recipe("default", ["optimizer=adamw"]).optimizer.lr == 0.001


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["optimizer=adamw", "momentum=0.9"],
            "unknown recipe key 'optimizer.momentum': adamw has none; its keys are lr, betas, weight_decay, warmup",
        ),
        (["epoch=3"], "unknown recipe key 'epoch'; did you mean epochs?"),
        (["data.tile=640"], "unknown recipe key 'data.tile'; did you mean tile.size, tile.overlap"),
        (["lr0=0.1"], "unknown recipe key 'lr0'; did you mean optimizer.lr?"),
        (["imgsz=big"], "imgsz=big: expected a whole number from 1 to 16384 but got 'big'"),
        (["epochs=0"], "epochs=0: expected a whole number of 1 or more but got '0'"),
        (["patience"], "expected key=value but got 'patience'"),
        (["augment.mosaic=2"], "augment.mosaic"),
        (["imgsz=100000000"], "imgsz=100000000: expected a whole number from 1 to 16384 but got '100000000'"),
        (["seed=9223372036854775808"], "expected a whole number from 0 to 9223372036854775807 but got"),
        ([f"seed={10**30}"], "expected a whole number from 0 to 9223372036854775807 but got"),
        (["cache=tape"], "cache=tape: expected one of ram, disk, or null but got 'tape'"),
    ],
)
def test_wrong_overrides(words: list[str], message: str) -> None:
    with pytest.raises(FineSpotError) as caught:
        load_recipe("default", words)
    assert message in str(caught.value)


def test_every_seed_that_is_taken_can_be_used() -> None:
    seed_all(load_recipe("default", [f"seed={2**63 - 1}"]).seed)
    seed_all(0)


def test_python_values() -> None:
    recipe = load_recipe(values={"optimizer": {"name": "adamw", "lr": 0.01}, "freeze": ["backbone"]})
    assert recipe.optimizer == AdamW(lr=0.01)
    assert recipe.freeze == ["backbone"]
    assert load_recipe(values={"augment": Augment.off()}).augment == Augment.off()


def test_own_file_needs_only_its_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 7\noptimizer: {name: adamw}\nval: {every: 2}\n")
    recipe = load_recipe(path, ["val.conf=0.1"])
    assert (recipe.epochs, recipe.optimizer, recipe.val.every, recipe.val.conf) == (7, AdamW(), 2, 0.1)
    path.write_text("epochs: 7\nval:\n  evry: 2\n")
    with pytest.raises(FineSpotError, match=r"mine.yaml:3: unknown recipe key 'val.evry'; did you mean val.every\?"):
        load_recipe(path)


def test_unknown_recipe() -> None:
    with pytest.raises(FineSpotError, match="unknown recipe 'defalt'; did you mean default"):
        load_recipe("defalt")
    with pytest.raises(FineSpotError, match=r"absent.yaml: no such recipe file"):
        load_recipe("absent.yaml")


def test_written_and_read_again(tmp_path: Path) -> None:
    recipe = load_recipe("default", ["optimizer=adamw", "freeze=backbone,neck", "lr=1e-5", "workers=2", "data=x"])
    recipes.write_recipe(recipe, tmp_path / "recipe.yaml")
    assert recipes.read_recipe(tmp_path / "recipe.yaml") == recipe


def test_options_are_a_free_mapping(tmp_path: Path) -> None:
    recipe = load_recipe("default", ["options.neck=mine:Neck", "options.p2=true"])
    assert recipe.options == {"neck": "mine:Neck", "p2": True}
    assert load_recipe(values={"options": {"head": "x"}, "options.neck": "y"}).options == {"head": "x", "neck": "y"}
    recipes.write_recipe(recipe, tmp_path / "recipe.yaml")
    assert recipes.read_recipe(tmp_path / "recipe.yaml") == recipe
    assert load_recipe(tmp_path / "recipe.yaml", ["options.p2=false"]).options["neck"] == "mine:Neck"
    assert recipes.differences(recipe, load_recipe()) == ["options.neck", "options.p2"]
    with pytest.raises(FineSpotError, match="options=3: expected keys with values but got '3'"):
        load_recipe("default", ["options=3"])


def test_the_package_says_whose_pictures_its_weights_learnt_from() -> None:
    assert load_recipe("hit-uav-n").data_licence == "CC BY 4.0 (HIT-UAV)"


def test_differences() -> None:
    one = load_recipe()
    other = load_recipe("default", ["lr=0.5", "workers=3"])
    assert recipes.differences(one, other) == ["optimizer.lr", "workers"]
    assert recipes.differences(one, load_recipe("default", ["optimizer=adamw"]))[0] == "optimizer.name"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_one(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model == "seeker" or zoo.architecture(recipe.model)
    if name in {family.name for family in zoo.families()}:
        assert zoo.architecture(recipe.model).family == name


@pytest.mark.slow
def test_a_model_brings_the_recipe_of_its_family(tmp_path: Path) -> None:
    assert choose_recipe("rtdetr-r50", "x", overrides={}).clip == 1.6
    assert choose_recipe("rtdetr-r50", "x", recipe="default", overrides={}).clip == 10
    assert choose_recipe("rtdetr-r50", "x", overrides={"clip": 3.0}).clip == 3
    assert choose_recipe("rtdetr-r50", "x", overrides={}).model == "rtdetr-r50"
    assert choose_recipe("seeker", "x", overrides={}) == load_recipe("seeker", values={"data": "x"})
    assert choose_recipe("yolo11n-p2", "x", overrides={}) == load_recipe(values={"model": "yolo11n-p2", "data": "x"})
    architecture = zoo.architecture("yolox-nano", 2)
    card = weights.Card(architecture=architecture, classes=Classes(("a", "b")))
    path = weights.save(tmp_path / "w.safetensors", zoo.build(architecture), card)
    assert own_recipe(str(path)) == "yolox"
    assert own_recipe("hit-uav-n") == own_recipe("nothing") == own_recipe(None) == "default"
