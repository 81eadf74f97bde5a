"""The truth of a data set and that of its files give one number, by each protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finespot.data import open_dataset
from finespot.metrics import Results, Truth, evaluate, protocol
from finespot.metrics.reading import read_results, read_truth
from finespot.structures import Detections
from finespot.writers import write_visdrone

SIZE = (120, 160)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Crowded pictures of VisDrone's layout; objects of 'others' and regions lie over some of the objects."""
    folder = tmp_path / "VisDrone2019-DET-val"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    random = np.random.default_rng(3)
    for picture in range(4):
        Image.new("L", SIZE[::-1]).save(folder / "images" / f"{picture}.png")
        rows = []
        for _ in range(25):
            x, y, w, h = *random.integers(0, 90, 2), *random.integers(5, 25, 2)
            rows.append([x, y, w, h, int(random.random() > 0.2), random.integers(1, 4), 0, 0])
        rows += [[*random.integers(0, 70, 2), 45, 40, 1, category, 0, 0] for category in (0, 11, 11)]
        random.shuffle(rows)
        text = "".join(f"{','.join(map(str, row))}\n" for row in rows)
        (folder / "annotations" / f"{picture}.txt").write_text(text)
    return folder


def found_in(dataset) -> list[Detections]:
    """Moved truths of falling score, which results files keep to the last digit."""
    random = np.random.default_rng(5)
    found = []
    for index in range(len(dataset)):
        truth = dataset.annotations(index)
        boxes = np.maximum(truth.boxes + random.integers(-2, 3, truth.boxes.shape), 0)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        scores = np.sort(random.choice(np.arange(1, 100), len(truth), replace=False))[::-1] / 128
        labels = np.where(random.random(len(truth)) < 0.8, np.maximum(truth.labels, 0), 1)
        found.append(Detections(boxes, scores, labels, truth.size, dataset.classes, dataset.path(index)))
    return found


@pytest.mark.parametrize("name", ["visdrone", "coco", "ai-tod"])
def test_visdrone(tree: Path, tmp_path: Path, name: str) -> None:
    dataset = open_dataset(f"visdrone:{tree}", "val")
    found = found_in(dataset)
    ids = [dataset.image_id(i) for i in range(len(dataset))]
    annotations = [dataset.annotations(i) for i in range(len(dataset))]
    own = Truth.from_annotations(annotations, dataset.classes, ids, heeded=protocol(name).ignored)
    ours = evaluate(own, Results.from_detections(found, own), name)
    files = read_truth(tree)
    theirs = evaluate(files, read_results(write_visdrone(tmp_path / "found", found), files), name)
    assert ours.values == pytest.approx(theirs.values, abs=1e-9, nan_ok=True)
    for one, values in ours.per_class.items():
        assert values == pytest.approx(theirs.per_class[one], abs=1e-6, nan_ok=True)  # scores have six decimals
    assert (ours.truths, ours.ignored, ours.detections) == (theirs.truths, theirs.ignored, theirs.detections)


def test_others_delete_nothing_by_the_official_rules(tree: Path) -> None:
    """As regions they would: the number would be another one."""
    dataset = open_dataset(f"visdrone:{tree}", "val")
    ids = [dataset.image_id(i) for i in range(len(dataset))]
    annotations = [dataset.annotations(i) for i in range(len(dataset))]
    truth = Truth.from_annotations(annotations, dataset.classes, ids)
    assert (len(truth.regions), len(truth.others)) == (4, 8)
    results = Results.from_detections(found_in(dataset), truth)
    for file in (tree / "annotations").glob("*.txt"):
        file.write_text("".join(f"{line}\n" for line in file.read_text().split() if ",11,0,0" not in line))
    without = read_truth(tree)
    assert len(without.others) == 0
    official = evaluate(truth, results, "visdrone").values
    assert official == pytest.approx(evaluate(without, results, "visdrone").values)
    assert evaluate(truth, results, "coco").values["AP"] != pytest.approx(
        evaluate(without, results, "coco").values["AP"]
    )


def test_flags_of_tinyperson(tmp_path: Path) -> None:
    """A crowd, an ignored and an uncertain person: to other protocols of a data set all are crowds."""
    folder = tmp_path / "tiny_set"
    (folder / "annotations").mkdir(parents=True)
    (folder / "test").mkdir()
    Image.new("L", SIZE[::-1]).save(folder / "test" / "a.png")
    flags = ({}, {"iscrowd": 1}, {"ignore": True}, {"uncertain": True}, {"iscrowd": 1, "ignore": True})
    file = {
        "images": [{"id": 7, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": k + 1, "image_id": 7, "category_id": 1, "bbox": [20 * k, 10, 9, 9], "area": 81, "iscrowd": 0, **flag}
            for k, flag in enumerate(flags)
        ],
    }
    path = folder / "annotations" / "tiny_set_test.json"
    path.write_text(json.dumps(file))
    dataset = open_dataset(f"tinyperson:{folder}", "test")
    truth = read_truth(path)
    heeded = protocol("tinyperson").ignored
    own = Truth.from_annotations([dataset.annotations(0)], dataset.classes, [7], heeded=heeded)
    assert own.crowd.tolist() == truth.crowd.tolist() == [False, True, False, False, True]
    assert own.marks["ignore"].tolist() == [False, False, True, False, False]
    assert own.marks["uncertain"].tolist() == truth.marks["uncertain"].tolist()
    honored = Truth.from_annotations([dataset.annotations(0)], dataset.classes, [7])
    assert honored.crowd.tolist() == [False, True, True, True, True]
    found = Detections(
        np.array([[20 * k, 10, 20 * k + 9, 19] for k in range(5)] + [[22, 12, 25, 15], [41, 11, 46, 16]]),
        np.linspace(0.9, 0.3, 7),
        np.zeros(7, int),
        SIZE,
        dataset.classes,
    )
    values = [evaluate(one, Results.from_detections([found], one), "tinyperson").values for one in (own, truth)]
    assert values[0] == pytest.approx(values[1], nan_ok=True)
