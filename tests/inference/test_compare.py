"""Several models on the same pictures: each finds what it finds alone, classes are one by name."""

from __future__ import annotations

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.inference import Model, common_classes, compare, open_source, relabelled, relabelled_truth
from finespot.runtimes import Session
from finespot.structures import Annotations, Classes, Detections, Tiling
from finespot.weights import Card

OTHER = Classes(("Car", "Truck", "Person", "Boat"))


@pytest.fixture(scope="module")
def models(session, detector) -> dict[str, Model]:
    card = Card(architecture=detector.architecture, classes=OTHER, imgsz=96, conf=0.4)
    return {"one": Model(session), "two": Model(Session(detector, card=card, threads=1))}


@pytest.fixture(scope="module")
def folder(samples):
    return samples / "images" / "val"


@pytest.mark.slow
def test_each_finds_what_it_finds_alone(models, folder) -> None:
    compared = list(compare(models, folder))
    assert len(compared) == 4
    assert [one.source for one in compared] == [entry.name for entry in open_source(folder).entries]
    for name, model in models.items():
        assert [one.found[name] for one in compared] == list(model.predict(folder))
    assert compared[0].pixels.shape == (512, 640, 3)
    strict = list(compare(models, folder, conf=0.6, max_det=3))
    assert all(len(found) <= 3 and (found.scores >= 0.6).all() for one in strict for found in one.found.values())


@pytest.mark.slow
def test_each_is_cut_as_asked_of_it(models, folder) -> None:
    picture, tiling = min(folder.iterdir()), Tiling(256)
    (compared,) = compare(models, picture, imgsz=256, tiling={"two": tiling})
    whole, tiles = (
        [*model.predict(picture, imgsz=256, tiling=one)] for model, one in zip(models.values(), (None, tiling))
    )
    assert [compared.found["one"], compared.found["two"]] == [*whole, *tiles]
    assert tiles != list(models["two"].predict(picture, imgsz=256))
    with pytest.raises(FineSpotError, match="tiling: unknown model 'tow'; did you mean two"):
        compare(models, picture, tiling={"tow": tiling})


@pytest.mark.slow
def test_pictures_come_one_by_one(models, folder) -> None:
    """Nothing waits for the end: far from all pictures are read when the first is handed out."""
    source = open_source([np.zeros((64, 64, 3), np.uint8)] * 400)
    opened = []

    def watched(entry):
        def read():
            opened.append(entry.name)
            return entry.open()

        return type(entry)(entry.name, read)

    entries = [watched(entry) for entry in source.entries]
    run = compare(models, type(source)(entries, 400, single=False), imgsz=640)
    next(run)
    assert len(set(opened)) < 400
    run.close()


def test_classes_by_name(models, folder) -> None:
    (first, *_) = compare(models, folder, classes=["Person", "Truck"], conf=0.05)
    assert set(first.found["one"].labels) <= {0}
    assert set(first.found["two"].labels) <= {1, 2}
    with pytest.raises(FineSpotError, match="two: unknown class 'Bicycle'"):
        compare(models, folder, classes=["Bicycle"])
    with pytest.raises(FineSpotError, match="unknown class 'Perso'; did you mean Person"):
        compare(models, folder, classes=["Person", "Perso"])


def test_unreadable_pictures_are_left_out(models, tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    compared = list(compare(models, [tmp_path / "broken.png", np.zeros((64, 64, 3), np.uint8)]))
    assert [one.source for one in compared] == ["picture_000001"]
    assert all(len(model.skipped) == 1 for model in models.values())


def test_common_classes() -> None:
    first = Classes(("Person", "Car"))
    common = common_classes([first, OTHER])
    assert common.names == ("Person", "Car", "Truck", "Boat")
    found = Detections(np.zeros((3, 4)), [0.5] * 3, [0, 2, 3], (9, 9), OTHER)
    moved = relabelled(found, common)
    assert moved.labels.tolist() == [1, 0, 3]
    assert [moved.classes[label] for label in moved.labels] == [OTHER[label] for label in found.labels]
    truth = Annotations(np.zeros((2, 4)), [1, -1], (9, 9), ignore=[False, True])
    assert relabelled_truth(truth, OTHER, common).labels.tolist() == [2, -1]
    empty = Annotations.empty((9, 9))
    assert relabelled_truth(empty, OTHER, common) == empty
