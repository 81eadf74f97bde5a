"""NWD's constant, planned from the training data and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finespot.data import open_dataset
from finespot.losses import box_loss
from finespot.training.choice import choose_recipe
from finespot.training.plan import Facts, plan_box_loss
from finespot.training.recipe import load_recipe
from finespot.training.tasks.detect import Detect

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
SIZES = np.array([[4.0, 9.0], [16.0, 25.0]])  # sides of 6 and 20


@pytest.mark.parametrize(
    ("text", "planned"),
    [
        ("nwd(constant=auto)", "nwd(constant=13)"),
        ("ciou*0.5 + nwd( constant = auto )*0.5", "ciou*0.5 + nwd(constant=13)*0.5"),
        ("inner(over=nwd(constant=auto),ratio=0.7)", "inner(over=nwd(constant=13),ratio=0.7)"),
        ("0.5*nwd(constant=auto)+nwd(constant=auto)", "0.5*nwd(constant=13)+nwd(constant=13)"),
    ],
)
def test_auto_becomes_the_mean_side(text: str, planned: str) -> None:
    said: list[str] = []
    assert plan_box_loss(text, SIZES, said.append) == planned
    assert said == ["nwd: constant 13 (the mean side of the objects at the network, in pixels)"]
    box_loss(planned)


@pytest.mark.parametrize("text", ["ciou", "nwd", "nwd(constant=9)", "ciou*0.5+nwd*0.5", "mine:nwd(constant=auto)"])
def test_other_losses_stay_as_they_are(text: str) -> None:
    said: list[str] = []
    assert plan_box_loss(text, SIZES, said.append) == text
    assert said == []


@pytest.mark.parametrize("sizes", [np.zeros((0, 2)), np.zeros((3, 2))])
def test_without_objects_it_is_the_usual_one(sizes: np.ndarray) -> None:
    said: list[str] = []
    assert plan_box_loss("nwd(constant=auto)*0.5", sizes, said.append) == "nwd*0.5"
    assert said == ["nwd: the usual constant (there are no objects to take it from)"]


PAIR = torch.tensor([[10.0, 10, 22, 22]]), torch.tensor([[14.0, 13, 26, 25]])  # 5 pixels apart
KEYS = {"stride": torch.ones(1), "image_size": (64, 64)}


@pytest.mark.parametrize(
    ("words", "factors"),
    [
        ({"imgsz": 320}, (0.5, 0.5)),
        ({"imgsz": 640}, (0.5, 0.5)),
        ({"imgsz": 320, "options.nwd": False}, (1.0, 0.0)),
        ({"imgsz": 320, "loss.box_loss": "nwd(constant=auto)"}, (0.0, 1.0)),
    ],
)
def test_training_takes_it_from_its_data(words: dict[str, object], factors: tuple[float, float]) -> None:
    dataset = open_dataset(DATA, "train")
    recipe = choose_recipe("yolo11n-ass", DATA, overrides=words)
    facts = Facts.of(dataset, recipe)
    said: list[str] = []
    with torch.device("meta"):
        task = Detect(recipe, dataset.classes, said.append, facts)
    rows = dataset.rows
    sides = np.sqrt((rows.boxes[:, 2:] - rows.boxes[:, :2]).prod(1))[~rows.ignore] * recipe.imgsz / 640
    mean = float(f"{sides.mean():.4g}")
    wanted = [f"nwd: constant {mean:g} (the mean side of the objects at the network, in pixels)"]
    assert [line for line in said if line.startswith("nwd")] == (wanted if factors[1] else [])
    want = factors[0] * box_loss("ciou")(*PAIR, **KEYS) + factors[1] * (1 - np.exp(-5 / mean))
    assert task.model.head.criterion.box_loss(*PAIR, **KEYS).item() == pytest.approx(want.item(), rel=1e-5)


def test_the_recipe_of_the_family() -> None:
    recipe = choose_recipe("yolo11s-ass", "x", overrides={})
    assert recipe == load_recipe("yolo11-ass", values={"model": "yolo11s-ass", "data": "x"})
    assert (recipe.optimizer.lr, recipe.epochs, recipe.loss.box_loss) == (0.001429, 300, None)
