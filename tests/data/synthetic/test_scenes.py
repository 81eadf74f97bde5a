"""Drawn aerial pictures: the same again, with labels of what is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finespot.data import dataset_splits, open_dataset
from finespot.data.synthetic import CLASSES, Scene, Style, plan_scene, render
from finespot.data.synthetic.plan import LARGEST_PX, LEAST_PX
from finespot.data.synthetic.shapes import rectangle, swept
from finespot.errors import FineSpotError

SMALL = Style((160, 224))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def blank(scene: Scene) -> Scene:
    """The same scene without its objects."""
    return Scene(scene.size, scene.seed, scene.scale, scene.sun, scene.light, scene.grounds, scene.marks, scene.solids)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    one, again, other = (render(plan_scene(3, seed=seed, style=SMALL)) for seed in (1, 1, 2))
    assert one.shape == (160, 224, 3)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.slow
def test_every_box_holds_what_the_object_changes_in_the_picture() -> None:
    changed_inside, changed = 0.0, 0
    for index in range(8):
        scene = plan_scene(index, seed=5, style=SMALL)
        difference = np.abs(render(scene).astype(int) - render(blank(scene)).astype(int)).max(axis=2)
        for x1, y1, x2, y2 in scene.boxes():
            inside = difference[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
            changed_inside += float(inside.max() > 25)
            changed += 1
    assert changed > 50
    assert changed_inside / changed > 0.97  # a gray car on a gray road may hardly show


@pytest.mark.slow
def test_boxes_of_whole_objects_have_4_to_40_pixels() -> None:
    sides = []
    for index in range(20):
        scene = plan_scene(index, seed=7)
        boxes = scene.boxes()
        whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < 640).all(axis=1)
        sides.append(np.sqrt((boxes[whole, 2:] - boxes[whole, :2]).prod(axis=1)))
    found = np.concatenate(sides)
    assert len(found) > 1000
    assert found.min() >= LEAST_PX
    assert found.max() <= LARGEST_PX


@pytest.mark.slow
def test_all_classes_occur_and_density_multiplies_them() -> None:
    def count(density: float) -> np.ndarray:
        scenes = [plan_scene(index, style=Style(density=density)) for index in range(12)]
        return np.sum([np.bincount(scene.labels, minlength=3) for scene in scenes], axis=0)

    few, many = count(0.5), count(1.5)
    assert bool((few > 0).all())
    assert bool((many > 1.4 * few).all())


def test_a_large_picture_is_drawn_in_squares_without_seams() -> None:
    scene = plan_scene(0, style=Style((80, 1500)))
    picture = render(scene).astype(float)
    steps = np.abs(np.diff(picture, axis=1)).mean(axis=(0, 2))
    assert steps[1023] < 3 * np.median(steps)  # between the squares


def test_a_shadow_is_the_outline_swept_along() -> None:
    shadow = swept(rectangle((0, 0), 2, 2, 0), (3, 0))
    assert sorted(map(tuple, shadow.tolist())) == [(-1, -1), (-1, 1), (4, -1), (4, 1)]


@pytest.mark.slow
def test_a_data_set_of_drawn_pictures(cache: Path) -> None:
    spec = "synthetic,size=96x128,seed=4:8"
    assert dataset_splits(spec) == ["train", "val"]
    train, val = open_dataset(spec, "train"), open_dataset(spec, "val")
    assert (len(train), len(val)) == (8, 2)
    assert train.classes.names == CLASSES.names
    assert train.size(0) == (96, 128)
    assert str(cache) in train.path(0)
    assert not np.array_equal(train.image(0).read(None), val.image(0).read(None))
    truth = [train.annotations(i) for i in range(8)]
    assert sum(map(len, truth)) > 8
    stamp = Path(train.path(0)).stat().st_mtime_ns
    more = open_dataset("synthetic,size=96x128,seed=4:10", "train")
    assert more.path(0) == train.path(0)
    assert Path(train.path(0)).stat().st_mtime_ns == stamp  # found again, not drawn again
    assert np.array_equal(more.annotations(0).boxes, truth[0].boxes)
    assert any("2 pictures drawn into" in note for note in more.notes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic:many", "expected a number of pictures from 1 to 1000000 but got 'many'"),
        ("synthetic:0", "expected a number of pictures"),
        ("synthetic,size=20:3", "expected HEIGHTxWIDTH of 64 pixels or more"),
        ("synthetic,seed=-1:3", "expected a whole number"),
        ("synthetic,density=0:3", "expected a number above 0"),
        ("synthetic,colour=red:3", "unknown option of the format 'synthetic' 'colour'"),
    ],
)
def test_bad_words(spec: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        open_dataset(spec, "train")


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(FineSpotError, match="no split 'test'"):
        open_dataset("synthetic:2", "test")
