"""Recipes of YOLO-SOD: which is taken by itself, and the settings of the released run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.training.choice import choose_recipe, own_recipe
from finespot.training.optimizer import parameter_groups, scaled_decay
from finespot.training.recipe import Sgd, load_recipe
from finespot.training.schedule import Schedule, full_accumulation


@pytest.mark.parametrize("name", ["yolo-sod", "yolo-sod-paper"])
def test_the_family_brings_its_recipe(name: str) -> None:
    recipe = choose_recipe(name, "x", overrides={"options.swin": False})
    assert (recipe.model, recipe.epochs, recipe.patience) == (name, 300, 0)
    assert recipe.augment == load_recipe().augment
    assert recipe.options == {"swin": False}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("yolo-sod-published", "yolo-sod-published"),
        ("yolo11n-ass-published", "yolo11-ass-published"),
        ("yolo11s-ass", "yolo11-ass"),
        ("lrs-detr-b-published", "lrs-detr"),
    ],
)
def test_a_published_network_brings_the_rules_of_its_release_where_they_are_known(name: str, wanted: str) -> None:
    """By its name and as a weight file."""
    assert own_recipe(name) == wanted
    recipe = choose_recipe(name, "x", overrides={"options.p2": False} if "yolo-sod" in name else {})
    published = "published" in wanted
    assert (recipe.model, recipe.name, recipe.loss.assigner is not None) == (name, wanted, published)


def test_weights_of_a_published_network_bring_them_too(tmp_path: Path) -> None:
    architecture = zoo.architecture("yolo-sod-published", 2, p2=False)
    card = weights.Card(architecture=architecture, classes=Classes(("a", "b")))
    path = weights.save(tmp_path / "one.safetensors", zoo.build(architecture), card)
    assert own_recipe(str(path)) == "yolo-sod-published"


def test_the_published_run() -> None:
    recipe = load_recipe("yolo-sod-published")
    assert recipe.optimizer == Sgd(lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4, warmup_bias_lr=0.0)
    assert (recipe.epochs, recipe.batch, recipe.patience, recipe.seed, recipe.imgsz) == (500, 10, 50, 0, 640)
    augment = recipe.augment
    assert (augment.mosaic, augment.mixup, augment.degrees, augment.shear) == (1.0, 0.1, 10.0, 2.0)
    assert (augment.perspective, augment.translate, augment.scale, augment.copy_paste) == (1e-4, 0.1, 0.5, 0.0)
    schedule = Schedule.of(recipe, per_epoch=648)
    assert schedule.lr(648 * 500 - 1) == pytest.approx(0.01 * (1 - 499 / 500 * 0.99))
    # As logged at epochs 50 and 350 (counted from 1).
    assert schedule.lr(648 * 49) == pytest.approx(0.00903, abs=5e-6)
    assert schedule.lr(648 * 349) == pytest.approx(0.00309, abs=5e-6)
    assert scaled_decay(5e-4, 10, full_accumulation(recipe), recipe.nominal_batch) == pytest.approx(4.7e-4, abs=2e-6)


def test_the_loss_of_the_published_run() -> None:
    recipe = load_recipe("yolo-sod-published")
    head = zoo.build(zoo.architecture(recipe.model, 2, **recipe.options)).head
    assert head.criterion.assigner.min_side == "s1"
    head.set_loss(assigner=recipe.loss.assigner, box_loss=recipe.loss.box_loss)
    assigner = head.criterion.assigner
    assert (assigner.min_side, assigner.topk, assigner.alpha, assigner.beta) == (None, 10, 0.5, 6.0)
    assert head.criterion.gains == {"box": 7.5, "cls": 0.5, "dfl": 1.5, "l1": 0.0}
    assert all((branch.predict.bias == 1).all() for branch in head.box_branches.values())


def test_offset_biases_of_windows_do_not_decay() -> None:
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("yolo-sod", 2))
    groups = {kind: {id(p) for p in members} for kind, members in parameter_groups(detector).items()}
    offsets = [p for name, p in detector.named_parameters() if name.endswith(".offsets")]
    assert len(offsets) == 4
    assert all(id(p) in groups["norm"] for p in offsets)
