"""Label files of the YOLO family as truth and detections: pixels, class names, ignore files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from text_files import pictures, write

from finespot.errors import FineSpotError
from finespot.metrics.reading import read_results, read_truth
from finespot.metrics.reading.yolo import read_names


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    pictures(tmp_path / "images" / "val", "a", "b", "c")
    write(
        tmp_path / "labels" / "val",
        a="0 0.5 0.5 0.5 0.25\n2 0.1 0.1 0.3 0.1 0.3 0.5\n",
        b="",
        a__ignore="-1 .5 .5 1 1\n",
    )
    return tmp_path / "labels" / "val"


def test_rows_of_truth(labels: Path) -> None:
    truth = read_truth(labels)
    assert truth.image_ids == ("a", "b", "c")
    assert truth.sizes.tolist() == [[40, 60]] * 3
    assert truth.classes.names == ("0", "1", "2")
    np.testing.assert_allclose(truth.boxes, [[15, 15, 30, 10], [6, 4, 12, 16]])
    assert truth.label.tolist() == [0, 2]
    np.testing.assert_allclose(truth.regions.boxes, [[0, 0, 60, 40]])
    assert truth.notes == ("truth read as yolo files", "1 pictures without a label file: they hold no object")
    write(labels, b__ignore="1 .5 .5 .5 .5\n")
    assert read_truth(labels).crowd.tolist() == [False, False, True]


def test_sizes_from_a_list(labels: Path, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({"a": [100, 10], "b": [1, 1]}))
    np.testing.assert_allclose(read_truth(labels, images=sizes).boxes[0], [25, 3.75, 50, 2.5])
    alone = write(tmp_path / "elsewhere", a="0 0.5 0.5 0.5 0.25\n")
    with pytest.raises(FineSpotError, match="the sizes of the pictures are not known; give --images"):
        read_truth(alone)


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("data.yaml", "names: [car, bus, van]\ntrain: x\n", ("car", "bus", "van")),
        ("data.yaml", "names:\n  1: bus\n  0: car\n  2: van\n", ("car", "bus", "van")),
        ("labels/classes.txt", "car\nbus\nvan\n", ("car", "bus", "van")),
        ("other.yaml", "train: x\n", ("0", "1", "2")),
    ],
)
def test_names(labels: Path, tmp_path: Path, name: str, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text)
    assert read_truth(labels).classes.names == names
    assert read_truth(labels, names=["x", "y", "z"]).classes.names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n.yaml", "names: 3\n", "expected class names under 'names'"),
        ("n.yaml", "names: {1: a}\n", "class numbers from 0 on"),
        ("n.yaml", "a: [\n", "no valid YAML"),
        ("n.yaml", "- a\n", "a mapping with names"),
        ("n.txt", "a\na\n", "class names must differ"),
        ("n.txt", "", "at least one class name"),
    ],
)
def test_bad_names(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FineSpotError, match=rf"{name}: .*{message}"):
        read_names(tmp_path / name)


def test_two_files_of_names(labels: Path, tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("names: [car, bus, van]\n")
    with pytest.raises(FineSpotError, match="expected one file with class names but got a"):
        read_truth(labels)


def test_rows_of_results(labels: Path, tmp_path: Path) -> None:
    truth = read_truth(labels)
    found = write(tmp_path / "found" / "labels", a="2 0.5 0.5 0.5 0.25 0.75\n", c="0 .5 .5 .1 .1 .5\n")
    results = read_results(found.parent, truth)
    np.testing.assert_allclose(results.boxes[0], [15, 15, 30, 10])
    assert results.label.tolist() == [2, 0]
    assert results.scores.tolist() == [0.75, 0.5]
    assert results.image.tolist() == [0, 2]
    assert any("1 pictures without a file of detections (b)" in note for note in results.notes)


def test_results_beside_coco_truth(tmp_path: Path) -> None:
    """Pictures by file name, classes by position, sizes from the file or from the pictures."""
    picture = {"id": 5, "file_name": "val/a.jpg", "width": 60, "height": 40}
    file = {"images": [picture], "categories": [{"id": 9, "name": "car"}], "annotations": []}
    (tmp_path / "t.json").write_text(json.dumps(file))
    found = write(tmp_path / "found", a="0 0.5 0.5 0.5 0.25 0.75\n")
    np.testing.assert_allclose(read_results(found, read_truth(tmp_path / "t.json")).boxes, [[15, 15, 30, 10]])
    file["images"] = [{"id": 5, "file_name": "val/a.jpg"}]
    (tmp_path / "t.json").write_text(json.dumps(file))
    truth = read_truth(tmp_path / "t.json")
    with pytest.raises(FineSpotError, match="sizes of the pictures are not known; give --images"):
        read_results(found, truth)
    images = pictures(tmp_path / "images", "a", size=(80, 60))
    np.testing.assert_allclose(read_results(found, truth, images=images).boxes, [[15, 30, 30, 20]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 0.5 0.5 0.5", r"a.txt:1: expected 5 to .* but got 4"),
        ("0 .1 .1 .3 .1 .3", r"a.txt:1: .*a score as sixth column belongs to detections"),
        ("0 .1 .1 .3 .1 .3 .2 .5", r"a.txt:1: .*3 or more points but got 8 columns"),
        ("0 15 15 30 20", r"a.txt:1: expected shares of the picture's sides.*pixels are not read"),
        ("0 .5 .5 -.1 .1", r"a.txt:1: expected w and h of 0 or more"),
        ("-1 .5 .5 .1 .1", r"a.txt:1: expected a class from 0"),
        ("0.5 .5 .5 .1 .1", r"a.txt:1: expected a whole number as class"),
        ("0 .5 .5 nan .1", r"a.txt:1: expected a finite number as w"),
    ],
)
def test_bad_truth(labels: Path, row: str, message: str) -> None:
    write(labels, a=row)
    with pytest.raises(FineSpotError, match=message):
        read_truth(f"yolo:{labels}")


def test_bad_results(labels: Path, tmp_path: Path) -> None:
    truth = read_truth(labels)
    for row, message in (
        ("0 .5 .5 .1 .1", "expected 6 columns"),
        ("3 .5 .5 .1 .1 .5", "expected a class from 0 to 2 but got 3"),
    ):
        with pytest.raises(FineSpotError, match=rf"a.txt:1: {message}"):
            read_results(write(tmp_path / "found", a=row), truth)
    with pytest.raises(FineSpotError, match=r"d.txt: the truth has no picture 'd'"):
        read_results(write(tmp_path / "other", d="0 .5 .5 .1 .1 .5"), truth)
