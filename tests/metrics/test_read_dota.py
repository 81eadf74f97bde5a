"""DOTA's label files and Task2 files: boxes as the development kit takes them, flags, classes, image sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from text_files import write

from finespot.errors import FineSpotError
from finespot.metrics.reading import read_results, read_truth
from finespot.writers import DOTA_CLASSES

A = "imagesource:GoogleEarth\ngsd:0.1\n10.9 -3.9 40 20 30.9 25.2 10 25 plane 1\n1 1 5 1 5 5 1 5 small-vehicle\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labelTxt", P1=A, P2="", P3="1 1 5 1 5 5 1 5 Large_Vehicle 2\n")


def test_rows_of_truth(labels: Path) -> None:
    truth = read_truth(labels)
    assert truth.image_ids == ("P1", "P2", "P3")
    assert truth.classes.names == DOTA_CLASSES["1.0"]
    assert truth.boxes.tolist() == [[10, -3, 20, 28], [1, 1, 4, 4], [1, 1, 4, 4]], "points 1 and 3, cut toward zero"
    assert [truth.classes[label] for label in truth.label] == ["plane", "small-vehicle", "large-vehicle"]
    assert truth.marks["difficult"].tolist() == [True, False, True]
    assert not truth.crowd.any()
    assert read_truth(labels.parent).image_ids == truth.image_ids


def test_classes(tmp_path: Path) -> None:
    row = "1 1 5 1 5 5 1 5 {} 0"
    crane = write(tmp_path / "crane", a=row.format("container-crane"))
    assert read_truth(crane).classes.names == DOTA_CLASSES["1.5"]
    assert read_truth(write(tmp_path / "port", a=row.format("airport"))).classes.names == DOTA_CLASSES["2.0"]
    assert read_truth(write(tmp_path / "own", a=row.format("Blimp")), names=["kite", "blimp"]).label.tolist() == [1]
    with pytest.raises(FineSpotError, match=r"a.txt:1: unknown class 'blimp'; did you mean"):
        read_truth(write(tmp_path / "strange", a=row.format("blimp")))


def test_image_set(labels: Path, tmp_path: Path) -> None:
    listed = tmp_path / "set.txt"
    listed.write_text("P3\n\nP1\n")
    assert read_truth(labels, images=listed).image_ids == ("P3", "P1")
    for text, message in (
        ("P9\n", "set.txt:1: there is no label file of the picture 'P9'"),
        ("P1\nP1\n", "line 1, too"),
    ):
        listed.write_text(text)
        with pytest.raises(FineSpotError, match=message):
            read_truth(labels, images=listed)
    listed.write_text("")
    with pytest.raises(FineSpotError, match="names of pictures, one a line"):
        read_truth(labels, images=listed)


def test_rows_of_results(labels: Path, tmp_path: Path) -> None:
    truth = read_truth(labels)
    folder = write(tmp_path / "found", **{"Task2_small-vehicle": "P3 0.5 1 2 4.5 8\nP1 0.75 0 0 1 1\n"})
    write(folder, Task2_plane="P1 0.25 0 0 1 1\n", notes="not read\n")
    results = read_results(folder, truth)
    assert [truth.classes[label] for label in results.label] == ["plane", "small-vehicle", "small-vehicle"]
    assert results.image.tolist() == [0, 2, 0]
    assert results.scores.tolist() == [0.25, 0.5, 0.75]
    assert results.boxes[1].tolist() == [1, 2, 3.5, 6]
    assert any(note.startswith("13 classes without a file of detections") for note in results.notes)


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("Task2_plane", "P1 0.5 1 2 3", "Task2_plane.txt:1: expected 6 columns .* but got 5"),
        ("Task2_plane", "P9 0.5 1 2 3 4", "Task2_plane.txt:1: the truth has no picture 'P9'"),
        ("Task2_plane", "P1 0.5 1 2 0 4", "behind the left top one"),
        ("Task2_plane", "P1 nan 1 2 3 4", "finite number as score"),
        ("Task2_blimp", "P1 0.5 1 2 3 4", "unknown class 'blimp'"),
        ("Task1_plane", "P1 0.5 1 2 3 4 5 6 7 8", "Task1 files hold oriented boxes"),
    ],
)
def test_bad_results(labels: Path, tmp_path: Path, name: str, row: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read_results(write(tmp_path / "found", **{name: f"{row}\n"}), read_truth(labels))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1 1 5 1 5 5 1 5", r"a.txt:1: expected 9 or 10 columns"),
        ("1 1 5 1 5 5 1 5 plane 0 0", r"a.txt:1: expected 1 to 10 columns"),
        ("5 5 1 5 1 1 5 1 plane 0", r"a.txt:1: .*oriented labels are not read"),
        ("1 1 5 1 5 x 1 5 plane 0", r"a.txt:1: expected a finite number as y3"),
        ("1 1 5 1 5 5 1 5 plane yes", r"a.txt:1: expected a finite number as difficult"),
    ],
)
def test_bad_truth(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read_truth(f"dota:{write(tmp_path / 'labelTxt', a=row)}")
