"""A network with a seeker in training: its gain, the shapes of objects, padding, and that the map learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from finespot import weights
from finespot.assigners.heatmap import heat_map
from finespot.data import Augment, TrainLoader, open_dataset
from finespot.data.painting import whole_pixels
from finespot.data.shapes.make import make_shapes, plan_shapes
from finespot.errors import FineSpotError
from finespot.structures import Batch, Boxes, Classes, Placement, Targets
from finespot.training import load_recipe, train
from finespot.training import run as running
from finespot.training.choice import own_recipe
from finespot.training.keeper import RunFiles
from finespot.training.tasks.detect import Detect, content_of, normalized

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
CLASSES = Classes(("a", "b"))
BASE = ["model=yolov5n", "options.relay=seeker"]
PLAIN = Augment(**dict.fromkeys(Augment.__struct_fields__, 0.0))


def task(*words: str, classes: Classes = CLASSES) -> Detect:
    torch.manual_seed(0)
    return Detect(load_recipe("default", [*BASE, *words]), classes, lambda text: None)


def batch(placements: tuple[Placement, ...], shapes: torch.Tensor | None = None) -> Batch:
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    targets = Targets(
        torch.tensor([[10.0, 8, 40, 40], [30, 10, 60, 30]]),
        torch.tensor([0, 1]),
        torch.tensor([0, 1]),
        torch.zeros(2, dtype=torch.bool),
        2,
    )
    return Batch(images, targets, placements, (0, 1), {}, shapes)


WHOLE = (Placement((1.0, 1.0), (0.0, 0.0), (64, 96)),) * 2


def terms(made: Detect, given: Batch) -> dict[str, float]:
    made.model.eval()  # the same norm statistics in each call
    return {name: value.item() for name, value in made.step(given).terms.items()}


@pytest.mark.slow
def test_the_gain_weighs_the_term() -> None:
    usual, heavy = task(), task("loss.heat=0.6", "loss.obj=2")
    assert usual.model.relay.gains == {"heat": 0.2}
    assert heavy.model.relay.gains == {"heat": 0.6}
    assert heavy.model.head.criterion.gains["obj"] == 2
    one, other = terms(usual, batch(WHOLE)), terms(heavy, batch(WHOLE))
    assert other["heat"] == pytest.approx(3 * one["heat"])
    assert other["cls"] == one["cls"]


def test_a_gain_without_a_seeker_is_refused() -> None:
    with pytest.raises(FineSpotError, match="unknown loss gain 'heat'"):
        Detect(load_recipe("default", ["model=yolov5n", "heat=1"]), CLASSES, print)


def test_shapes_without_a_seeker_are_refused() -> None:
    with pytest.raises(FineSpotError, match=r"shapes: nothing in this model learns from the shapes .* with a seeker"):
        Detect(load_recipe("default", ["model=yolov5n", "shapes=somewhere"]), CLASSES, print)


def test_padding_and_shapes_of_a_batch_reach_the_seeker() -> None:
    made = task()
    usual = terms(made, batch(WHOLE))
    padded = terms(made, batch((Placement((0.5, 0.5), (16.0, 0.0), (64, 192)), WHOLE[1])))
    shapes = torch.zeros(2, 1, 64, 96, dtype=torch.bool)
    shapes[:, :, 20:30, 30:44] = True
    shaped = terms(made, batch(WHOLE, shapes))
    for changed in (padded, shaped):
        assert changed["heat"] != usual["heat"]
        assert all(changed[name] == usual[name] for name in ("box", "obj", "cls"))


def test_where_pictures_lie_in_the_input() -> None:
    placed = Placement((0.5, 0.25), (16.0, 4.0), (64, 160))
    assert content_of(batch((placed, WHOLE[1]))).tolist() == [[4, 16, 44, 48], [0, 0, 96, 64]]
    loader = TrainLoader(open_dataset(DATA, "val"), imgsz=64, batch=2)
    given = next(iter(loader.epoch(0, PLAIN)))
    # The samples are 640 x 512, so 64 x 51 of the input; joined pictures fill it.
    assert torch.allclose(content_of(given), torch.tensor([0.0, 6, 64, 57]).repeat(2, 1), atol=1)
    joined = next(iter(loader.epoch(0, Augment(mosaic=1.0))))
    assert content_of(joined).tolist() == [[0, 0, 64, 64]] * 2


def test_esod_has_a_recipe_of_its_own() -> None:
    assert own_recipe("esod-yolov5m") == "esod"
    recipe = load_recipe("esod")
    made = Detect(load_recipe("esod", ["model=esod-yolov5s"]), CLASSES, lambda text: None)
    assert made.model.head.criterion.gains == {"box": 0.05, "obj": 0.5, "cls": 0.5, "l1": 0.0}
    assert made.model.relay.gains == {"heat": 0.2}
    assert (recipe.imgsz, recipe.epochs, recipe.schedule.name, recipe.schedule.final) == (1536, 50, "cosine", 0.1)


@pytest.mark.slow
def test_the_map_learns_where_objects_are() -> None:
    dataset = open_dataset(DATA, "val")
    made = task("options.relay=seeker", classes=dataset.classes)
    given = next(iter(TrainLoader(dataset, imgsz=160, batch=4).epoch(0, PLAIN)))
    optimizer = torch.optim.AdamW(made.trainable.parameters(), lr=2e-3)
    costs = []
    for _ in range(25):
        made.model.train()
        losses = made.step(given)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        costs.append(losses.terms["heat"].item())
    assert costs[-1] < 0.6 * costs[0]
    truth = heat_map(given.targets, (160, 160), 8).values
    with torch.no_grad():
        found = made.model(normalized(given.images, made.normalization))["heat"].sigmoid()
    assert found[truth == 1].mean() > 5 * found[truth == 0].mean()


class Strips:
    """A segmenter that takes a strip in the middle of each box."""

    name = "strips"

    def __call__(self, pixels: NDArray[np.uint8], boxes: Boxes) -> list[NDArray[np.bool_]]:
        found = []
        for x1, y1, x2, y2 in whole_pixels(boxes, (pixels.shape[0], pixels.shape[1])):
            mask = np.zeros((y2 - y1, x2 - x1), bool)
            mask[:, 2 * (x2 - x1) // 5 : 1 + 3 * (x2 - x1) // 5] = True
            found.append(mask)
        return found


@pytest.mark.slow
def test_shapes_change_what_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(RunFiles, "first_batches", lambda self, given: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])
    make_shapes(plan_shapes(open_dataset(DATA, "train"), tmp_path / "shapes", Strips.name), Strips())
    small = [f"data={DATA}", "imgsz=224", "batch=4", "epochs=1", "mosaic=0", "device=cpu", "val.every=0", "decay=0"]
    found = []
    for words in ([], [f"shapes={tmp_path / 'shapes'}"]):
        result = train(recipe=load_recipe("default", [*BASE, *small, *words]), project=tmp_path / "runs", quiet=True)
        detector, card = weights.load(result.folder / "weights" / "last.safetensors")
        assert card.architecture.options["relay"] == "seeker"
        assert "train/heat" in (result.folder / "metrics.csv").read_text().splitlines()[0]
        found.append({name: value.double().sum().item() for name, value in detector.state_dict().items()})
    assert found[0] != found[1]
    assert found[0].keys() == found[1].keys()


@pytest.mark.slow
def test_missing_shapes_end_the_run_before_it_begins(tmp_path: Path) -> None:
    recipe = load_recipe(
        "default", [*BASE, f"data={DATA}", "imgsz=64", "device=cpu", f"shapes={tmp_path / 'none'}", "val.every=0"]
    )
    with pytest.raises(FineSpotError, match="finespot data shapes"):
        train(recipe=recipe, project=tmp_path / "runs", quiet=True)


@pytest.mark.slow
def test_a_seeker_is_saved_with_its_network(tmp_path: Path) -> None:
    made = task("options.relay=seeker(form=pooled)")
    card = weights.Card(architecture=made.model.architecture, classes=CLASSES, imgsz=64)
    saved = weights.save(tmp_path / "w.safetensors", made.model, card, half=False)
    loaded, read = weights.load(saved)
    assert read.architecture.options == {"relay": "seeker(form=pooled)"}
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images)["heat"], made.model.eval()(images)["heat"])
