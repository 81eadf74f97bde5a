"""Queries and the cap on detections, planned from the training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finespot import zoo
from finespot.data import TileSettings, open_dataset
from finespot.data.crowds import Crowds, crowds
from finespot.training.plan import Facts, plan, plan_max_det, plan_queries
from finespot.training.recipe import load_recipe

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"


def many(most: int, tiles: int | None = None) -> Crowds:
    per_picture = np.full(2000, most)
    return Crowds(per_picture, per_picture if tiles is None else np.full(9, tiles))


def test_objects_are_counted_by_picture_and_by_tile() -> None:
    dataset = open_dataset(DATA, "train")
    whole = crowds(dataset, TileSettings())
    by_hand = [int((~dataset.annotations(i).ignore).sum()) for i in range(len(dataset))]
    assert whole.per_picture.tolist() == by_hand
    assert whole.per_input is whole.per_picture
    assert whole.in_picture() == whole.in_input() == max(by_hand)
    cut = crowds(dataset, TileSettings(size=256, overlap=0.2, min_visible=0.5))
    assert cut.per_picture.tolist() == by_hand
    assert len(cut.per_input) > len(dataset)
    assert 0 < cut.in_input() <= cut.in_picture()
    # Every object shows half of itself in a tile at least, as neighbors overlap.
    assert cut.per_input.sum() >= sum(by_hand)


def test_one_picture_in_a_thousand_may_hold_more() -> None:
    counts = np.zeros(2001, np.int64)
    counts[0] = 5000
    assert Crowds(counts, counts).in_picture() == 0
    counts[1:3] = 700
    assert Crowds(counts, counts).in_picture() == 700
    assert Crowds(counts[:0], counts[:0]).in_picture() == 0


@pytest.mark.parametrize(("most", "planned"), [(0, 300), (300, 300), (301, 350), (1234, 1250)])
def test_numbers_follow_the_crowd(most: int, planned: int) -> None:
    said: list[str] = []
    assert plan_queries(many(most), {}, said.append) == planned
    assert said == [f"queries: {planned} (99.9 % of the pictures hold {most} objects or fewer)"]
    said.clear()
    assert plan_max_det(many(most), None, said.append) == planned
    wanted = [f"max_det: {planned} (99.9 % of the pictures hold {most} objects or fewer)"]
    assert said == (wanted if planned > 300 else [])


def test_tiles_decide_queries_and_pictures_the_cap() -> None:
    said: list[str] = []
    assert plan_queries(many(900, 120), {}, said.append) == 300
    assert "of the tiles hold 120 objects" in said[0]
    assert plan_max_det(many(900, 120), None, said.append) == 900


def test_what_a_person_gave_stays_with_a_warning() -> None:
    said: list[str] = []
    assert plan_queries(many(500), {"queries": 100}, said.append) == 100
    assert said == ["warning: 100 queries cannot find all: 99.9 % of the pictures hold 500 objects or fewer"]
    said.clear()
    assert plan_queries(many(500), {"queries": 500}, said.append) == 500
    assert said == []
    assert plan_max_det(many(299), 100, said.append) == 300
    assert said == ["warning: val.max_det 100 is too low: 99.9 % of the pictures hold 299 objects or fewer"]


def test_sizes_are_those_at_the_network() -> None:
    dataset = open_dataset(DATA, "train")
    wh = np.concatenate([one.boxes[:, 2:] - one.boxes[:, :2] for one in map(dataset.annotations, range(len(dataset)))])
    kept = np.concatenate([~dataset.annotations(i).ignore for i in range(len(dataset))])
    whole = Facts.of(dataset, load_recipe("default", ["imgsz=320"]))
    assert {dataset.size(i) for i in range(len(dataset))} == {(512, 640)}
    np.testing.assert_allclose(whole.sizes, wh[kept] / 2)
    tiled = Facts.of(dataset, load_recipe("default", ["imgsz=512", "tile.size=256"]))
    np.testing.assert_allclose(tiled.sizes, wh[kept] * 2)
    middle = float(np.median(np.sqrt(wh[kept].prod(1))))
    for facts, factor in ((whole, 0.5), (tiled, 2.0)):
        scale = facts.object_scale()
        assert scale is not None
        assert (scale.side, scale.factor) == (pytest.approx(factor * middle), factor)
    assert Facts(many(5), np.zeros((0, 2))).object_scale() is None


@pytest.mark.slow
@pytest.mark.parametrize("p2", [False, True])
def test_anchors_that_miss_objects_are_made_anew(p2: bool) -> None:
    said: list[str] = []
    recipe = load_recipe("default", ["model=yolov5n"])
    tiny = np.random.default_rng(0).uniform(1.0, 2.4, (500, 2))
    architecture = zoo.architecture("yolov5n", 2, **({"p2": True} if p2 else {}))
    found = plan(architecture, recipe, Facts(many(5), tiny), said.append)
    anchors = np.array(found.options["anchors"])
    assert anchors.shape == (4 if p2 else 3, 3, 2)
    assert (anchors > 0).all()
    assert "% of the objects can match one, of the usual ones" in said[0]
    assert zoo.build(found).head.anchor_sizes[0][0] == tuple(anchors[0, 0])
    usual = np.random.default_rng(0).uniform(12, 80, (500, 2))
    said.clear()
    assert plan(architecture, recipe, Facts(many(5), usual), said.append).options == architecture.options
    assert said == ["anchors: the usual ones (100.0 % of the objects can match one)"]


def test_given_anchors_stay_with_a_warning() -> None:
    said: list[str] = []
    anchors = [[[10, 13]] * 3, [[30, 61]] * 3, [[116, 90]] * 3]
    recipe = load_recipe("default", values={"model": "yolov5n", "options": {"anchors": anchors}})
    architecture = zoo.architecture("yolov5n", 2, anchors=anchors)
    tiny = np.full((50, 2), 2.0)
    assert plan(architecture, recipe, Facts(many(5), tiny), said.append).options == {"anchors": anchors}
    assert said == ["warning: anchors: as given (0.0 % of the objects can match one)"]


def test_families_without_such_options_stay_as_they_are() -> None:
    said: list[str] = []
    architecture = zoo.architecture("yolo11n", 2)
    facts = Facts(many(900), np.full((50, 2), 2.0))
    assert plan(architecture, load_recipe(), facts, said.append) == architecture
    assert said == []
    queries = plan(zoo.architecture("rtdetr-r18", 2), load_recipe(), facts, said.append)
    assert queries.options["queries"] == 900


@pytest.mark.parametrize(
    ("name", "head"), [("yolov5n", "anchor_free"), ("yolov5n", "rtdetr"), ("rtdetr-r18", "anchor_free")]
)
def test_nothing_is_planned_for_a_head_that_does_not_look_at_it(name: str, head: str) -> None:
    said: list[str] = []
    architecture = zoo.architecture(name, 2, head=head)
    facts = Facts(many(900), np.full((50, 2), 2.0))
    assert plan(architecture, load_recipe("default", [f"options.head={head}"]), facts, said.append) == architecture
    assert said == []
    zoo.build(architecture)


@pytest.mark.slow
def test_what_the_text_of_a_head_says_is_not_planned() -> None:
    architecture = zoo.architecture("rtdetr-r18", 2, head="rtdetr(queries=400)")
    facts = Facts(many(900), np.full((50, 2), 2.0))
    assert plan(architecture, load_recipe(), facts, print) == architecture
    assert zoo.build(architecture).head.selection.queries == 400
