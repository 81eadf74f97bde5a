"""UAVDT's text files: frames as pictures, areas as regions, and what the official program never reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from text_files import write

from finespot.errors import FineSpotError
from finespot.metrics.reading import read_results, read_truth

ROW = "1,1,10,20,30.5,20,1,1,3\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(
        tmp_path / "GT",
        M0208_gt_whole=f"{ROW}265,2,1,2,3,4,1,1,1\n266,2,1,2,3,4,1,1,1\n",
        M0208_gt_ignore="2,1,0,0,50,60,1,1,1\n",
        M9999_gt_whole="3,1,1,2,3,4,1,1,2\n",
        M9999_gt_ignore="4,1,0,0,5,6,1,1,1\n",
    )


def test_rows_of_truth(folder: Path) -> None:
    truth = read_truth(folder)
    assert truth.classes.names == ("car", "truck", "bus")
    assert len(truth.image_ids) == 265 + 4, "the official count, and the last frame that is named"
    assert truth.image_ids[:2] == ("M0208/000001", "M0208/000002")
    assert truth.image_ids[-1] == "M9999/000004"
    assert truth.image.tolist() == [0, 264, 267]
    assert truth.label.tolist() == [2, 0, 1]
    assert truth.boxes[0].tolist() == [10, 20, 30.5, 20]
    assert truth.regions.image.tolist() == [1, 268]
    assert truth.regions.boxes.tolist() == [[0, 0, 50, 60], [0, 0, 5, 6]]
    assert not truth.crowd.any()
    assert "1 rows of truth beyond a sequence's last frame were not read" in truth.notes


def test_rows_of_results(folder: Path, tmp_path: Path) -> None:
    truth = read_truth(folder)
    found = write(tmp_path / "found", M0208="2,-1,1,2,3,4.5,0.25,1,1\n1,-1,1,2,3,4,0.75,1,1\n300,-1,1,2,3,4,1\n")
    results = read_results(found, truth)
    assert results.image.tolist() == [1, 0]
    assert results.scores.tolist() == [0.25, 0.75]
    assert results.boxes[0].tolist() == [1, 2, 3, 4.5]
    assert results.label.tolist() == [0, 0]
    assert results.notes == (
        "detections read as uavdt files",
        "1 rows of detections beyond a sequence's last frame were not read",
        "1 sequences without a file of detections (M9999): nothing was found there",
        "the files do not tell classes apart: all detections are taken for car",
    )


def test_classes_of_results(folder: Path, tmp_path: Path) -> None:
    truth = read_truth(folder)
    told = write(tmp_path / "told", M0208="1,-1,1,2,3,4,0.5,3,-1\n1,-1,1,2,3,4,0.5,1,-1\n")
    assert read_results(told, truth).label.tolist() == [2, 0]
    assert not any("apart" in note for note in read_results(told, truth).notes)
    other = write(tmp_path / "other", M0208="1,-1,1,2,3,4,0.5,3,-1\n1,-1,1,2,3,4,0.5,7,-1\n")
    assert read_results(other, truth).label.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"M0208_gt_whole": "1,1,10,20,30,20,1,1,-1"},
            "whole.txt:1: expected a class from 1 to 3 but got -1; .*tracking",
        ),
        ({"M0208_gt_whole": "0,1,10,20,30,20,1,1,1"}, "whole.txt:1: expected a frame from 1 to 1000000 but got 0"),
        ({"M9_gt_whole": "1000001,1,10,20,30,20,1,1,1"}, "expected a frame from 1 to 1000000 but got 1000001"),
        ({"M0208_gt_whole": "1,1,10,20,30,20,1,1"}, "whole.txt:1: expected 9 columns .* but got 8"),
        ({"M0208_gt_whole": ROW, "M0208_gt_ignore": "1,1,0,0,-5,6"}, "ignore.txt:1: .*0 or more but got -5 and 6"),
        ({"M0208_gt_whole": ROW, "M0205_gt_ignore": ""}, "M0205_gt_ignore.txt: expected a file M0205_gt_whole.txt"),
    ],
)
def test_bad_truth(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read_truth(write(tmp_path / "GT", **files))


def test_bad_results(folder: Path, tmp_path: Path) -> None:
    truth = read_truth(folder)
    with pytest.raises(FineSpotError, match=r"unknown sequence 'M0209'; did you mean"):
        read_results(f"uavdt:{write(tmp_path / 'one', M0209='1,-1,1,2,3,4,0.5')}", truth)
    with pytest.raises(FineSpotError, match=r"M0208.txt:1: expected 7 to .* columns .* but got 6"):
        read_results(write(tmp_path / "two", M0208="1,-1,1,2,3,4"), truth)
    with pytest.raises(FineSpotError, match="expected a text file a sequence"):
        read_results(f"uavdt:{write(tmp_path / 'three')}", truth)


def test_truth_of_other_pictures(tmp_path: Path) -> None:
    other = read_truth(write(tmp_path / "annotations", a="1,2,3,4,1,4,0,0"))
    with pytest.raises(FineSpotError, match="pictures called sequence/frame but one is called a"):
        read_results(f"uavdt:{write(tmp_path / 'found', M0208='1,-1,1,2,3,4,0.5')}", other)
