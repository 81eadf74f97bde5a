"""The recipes of SARL and SAL: one setting a host, splits that the formats have, and a run that learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from finespot import metrics, registry, weights
from finespot.data.formats import ai_tod, visdrone
from finespot.losses import ScaleAdaptive
from finespot.nn.relays import SARL
from finespot.structures import Classes, Targets
from finespot.training import recipe as recipes
from finespot.training import train
from finespot.training.recipe import Recipe, load_recipe
from finespot.training.tasks.detect import Detect

NAMES = [name for name in recipes.recipe_names() if name.startswith("sarl-") and "hit-uav" not in name]
ROOT = Path(__file__).parents[2]
# What a data set decides.
OF_THE_DATA = {"name", "splits", "imgsz", "tile", "claimed"}


def text_of(name: str) -> str:
    return (recipes.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def test_two_hosts_and_four_data_sets() -> None:
    sets = ("aitod", "aitodv2", "dota", "visdrone")
    assert sorted(NAMES) == sorted(f"sarl-{host}-{data}" for host in ("yolox", "yolov5") for data in sets)


@pytest.mark.parametrize("host", ["yolox", "yolov5"])
def test_a_host_is_set_alike_on_all_data(host: str) -> None:
    def of_the_host(name: str) -> dict[str, Any]:
        keys: dict[str, Any] = msgspec.to_builtins(load_recipe(name))
        return {key: value for key, value in keys.items() if key not in OF_THE_DATA}

    settings = [of_the_host(name) for name in NAMES if host in name]
    assert len(settings) == 4
    assert all(one == settings[0] for one in settings)


def test_yolox_is_trained_as_by_its_own_recipe() -> None:
    changed = recipes.differences(load_recipe("yolox"), load_recipe("sarl-yolox-aitod"))
    own = {"options.relay", "name", "splits.train", "splits.val", "imgsz", "augment.mixup", "patience"}
    loss = {"loss.box_loss", "loss.box", "loss.l1", "loss.l1_epochs"}
    assert set(changed) == own | loss | {"val.every", "val.protocol", "claimed"}


@pytest.mark.parametrize("name", NAMES)
def test_data_splits_and_commands(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    metrics.protocol(recipe.val.protocol)
    known = {
        "ai-tod": ai_tod.PICTURES,
        "visdrone": visdrone.SPLITS,
        "dota": ("train", "val"),
    }
    lines = text_of(name).splitlines()
    assert lines[1].startswith(f"#   finespot train --recipe {name} --data ")
    place = lines[1].split(" --data ")[1]
    form = place.partition(":")[0].partition(",")[0]
    assert form in registry.names("format")
    assert {recipe.splits.train, recipe.splits.val} <= set(known[form])
    assert f"--data {place} --split {recipe.splits.val} --protocol ai-tod --iou {recipe.val.iou}" in lines[3]
    # Nothing is chosen by the split that is reported.
    assert recipe.patience == 0
    assert f"runs/train/{name}/weights/last.safetensors" in lines[2]


@pytest.mark.parametrize(("name", "alpha", "l1"), [("sarl-yolox-aitod", 5.0, 1.0), ("sarl-yolov5-aitod", 0.05, 0.05)])
def test_what_they_build(name: str, alpha: float, l1: float) -> None:
    torch.manual_seed(0)
    model = Detect(load_recipe(name), Classes(tuple("abcdefgh")), lambda text: None).model
    assert isinstance(model.relay, SARL)
    assert sum(p.numel() for p in model.relay.parameters()) == 541_090
    factors = [p.detach() for key, p in model.relay.named_parameters() if key.endswith("gain")]
    assert all((p == 0.1).all() for p in factors)
    criterion = model.head.criterion
    sal = criterion.box_loss
    assert isinstance(sal, ScaleAdaptive)
    assert (sal.beta, sal.scale, sal.range, sal.w_min) == (2 / math.log(2), "area", "batch", 0.0)
    assert (criterion.gains["box"], criterion.gains["l1"], criterion.l1_epochs) == (alpha, l1, "all")
    truth = Targets(
        torch.tensor([[4.0, 4, 16, 14], [20, 20, 60, 58]]),
        torch.tensor([0, 7]),
        torch.tensor([0, 0]),
        torch.zeros(2, dtype=torch.bool),
        1,
    )
    terms = model.loss(model.train()(torch.rand(1, 3, 64, 64)), truth)
    assert terms.terms["l1"] > 0
    assert terms.terms["box"] > 0
    terms.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.relay.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["yolox-nano", "yolov5n"])
def test_a_run(model: str, tmp_path: Path) -> None:
    """Weights of a run hold the relay, and its factors have moved."""
    name = "sarl-yolox-aitod" if "yolox" in model else "sarl-yolov5-aitod"
    data = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
    words = [f"model={model}", f"data={data}", "splits.train=train", "splits.val=val", "imgsz=64", "batch=4"]
    words += ["epochs=2", "warmup_epochs=0", "val.every=0", "device=cpu", "workers=0", "nominal_batch=4"]
    recipe: Recipe = load_recipe(name, words)
    result = train(recipe=recipe, project=tmp_path, quiet=True)
    trained, card = weights.load(result.folder / "weights" / "last.safetensors")
    assert card.architecture.options["relay"] == "sarl(gamma_init=0.1)"
    assert isinstance(trained.relay, SARL)
    assert len(trained.relay.enhancements["p3"].gain.unique()) > 1  # type: ignore[union-attr]
    assert ",train/l1," in (result.folder / "metrics.csv").read_text().splitlines()[0]
