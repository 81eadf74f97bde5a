"""VisDrone's text files as truth and results: what each row becomes, and that nothing is lost or put right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from text_files import pictures, write

from finespot.errors import FineSpotError
from finespot.metrics.reading import read_results, read_truth
from finespot.writers import VISDRONE_CLASSES

# Two objects (one of them ignored), a region, an object of 'others', in file order.
TRUTH = "10.5,20,8,4,1,4,0,2\n0,0,30,30,0,0,0,0\n1,2,3,4,0,1,1,0\n5,6,7,8,1,11,0,0,\n"


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    return write(tmp_path / "annotations", b=TRUTH, a="")


def test_rows_of_truth(annotations: Path) -> None:
    truth = read_truth(annotations)
    assert truth.image_ids == ("a", "b")
    assert truth.classes.names == VISDRONE_CLASSES
    assert truth.classes.original_ids == tuple(range(1, 11))
    assert truth.boxes.tolist() == [[10.5, 20, 8, 4], [1, 2, 3, 4]]
    assert truth.area.tolist() == [32, 12]
    assert truth.image.tolist() == [1, 1]
    assert truth.label.tolist() == [3, 0]
    assert truth.crowd.tolist() == [False, True]
    assert truth.regions.boxes.tolist() == [[0, 0, 30, 30]]
    assert truth.others.boxes.tolist() == [[5, 6, 7, 8]]
    assert truth.regions.image.tolist() == truth.others.image.tolist() == [1]
    assert truth.sizes is None
    assert "truth read as visdrone files" in truth.notes
    assert any("sizes" in note for note in truth.notes)


def test_others_are_regions_to_all_other_protocols(annotations: Path) -> None:
    truth = read_truth(annotations)
    spread = truth.spread()
    assert len(spread) == 2 + 2 * 10
    assert spread.boxes[2].tolist() == [0, 0, 30, 30]
    assert spread.boxes[-1].tolist() == [5, 6, 7, 8]
    assert spread.crowd[2:].all()
    assert truth.count_regions() == 3
    assert spread.spread() is spread


def test_sizes(annotations: Path, tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.json"
    sizes.write_text(json.dumps({"a": [60, 40], "b.jpg": [30, 20], "more": [1, 1]}))
    assert read_truth(annotations, images=sizes).sizes.tolist() == [[40, 60], [20, 30]]
    pictures(tmp_path / "images", "a", "b")
    truth = read_truth(annotations)
    assert truth.sizes.tolist() == [[40, 60], [40, 60]]
    assert truth.notes == ("truth read as visdrone files",)
    assert read_truth(tmp_path).image_ids == truth.image_ids, "the folder of the split will do"
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(FineSpotError, match=r"images: expected the picture 'b' but it is not there"):
        read_truth(annotations)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [60, 40]}', "the picture 'b' but it is not there"),
        ('{"a": [60, 40], "b": [60, 0]}', r"\[width, height\] in whole pixels of 'b'"),
        ('{"a": [60, 40], "b": 3}', r"of 'b'"),
        ("[]", "an object of picture name"),
        ("{", "expected JSON"),
    ],
)
def test_bad_sizes(annotations: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "sizes.json").write_text(content)
    with pytest.raises(FineSpotError, match=rf"sizes.json: .*{message}"):
        read_truth(annotations, images=tmp_path / "sizes.json")


def test_rows_of_results(annotations: Path, tmp_path: Path) -> None:
    truth = read_truth(annotations)
    found = write(tmp_path / "found", b="1,2,3,4.25,0.1,4,-1,-1\n1,2,3,4,0.9,0,-1,-1\n\n5,6,7,8,0.5,11,-1,-1\n")
    results = read_results(found, truth)
    assert results.boxes.tolist() == [[1, 2, 3, 4.25], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert results.scores.tolist() == [0.1, 0.9, 0.5], "in file order"
    assert results.label.tolist() == [3, -1, -1]
    assert results.image.tolist() == [1, 1, 1]
    assert results.notes == (
        "detections read as visdrone files",
        "1 pictures without a file of detections (a): nothing was found there",
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,2,3,4,1,4,0", r"b.txt:2: expected 8 columns \(left,top.*\) but got 7"),
        ("1,2,3,4,1,4,0,0,0", "b.txt:2: expected 8 columns .* but got 9"),
        ("1,2,nan,4,1,4,0,0", "b.txt:2: expected a finite number as width but got 'nan'"),
        ("1,2,1_0,4,1,4,0,0", "finite number as width but got '1_0'"),
        ("1,inf,3,4,1,4,0,0", "finite number as top but got 'inf'"),
        ("1,2,3,-4,1,4,0,0", "b.txt:2: expected a width and height of 0 or more but got 3 and -4"),
        ("1e300,2,3,4,1,4,0,0", "b.txt:2: expected coordinates of at most 1e9 pixels"),
        ("1,2,3,4,0.5,4,0,0", "b.txt:2: expected a whole number as score but got 0.5"),
        ("1,2,3,4,2,4,0,0", "b.txt:2: expected a score of 0 or 1 but got 2; .* belong to --dt"),
        ("1,2,3,4,1,12,0,0", "b.txt:2: expected a category from 0 to 11 but got 12"),
        ("1,2,3,4,1,x,0,0", "b.txt:2: expected a finite number as category but got 'x'"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, message: str) -> None:
    folder = write(tmp_path / "annotations", b=f"1,2,3,4,1,4,0,0\n{row}\n")
    with pytest.raises(FineSpotError, match=message) as caught:
        read_truth(folder)
    assert "\n" not in str(caught.value)


def test_bad_results(annotations: Path, tmp_path: Path) -> None:
    truth = read_truth(annotations)
    with pytest.raises(FineSpotError, match=r"c.txt: the truth has no picture 'c'; it has a, b"):
        read_results(write(tmp_path / "one", c="1,2,3,4,0.5,4,-1,-1"), truth)
    with pytest.raises(FineSpotError, match=r"b.txt:1: expected a finite number as score but got 'inf'"):
        read_results(write(tmp_path / "two", b="1,2,3,4,inf,4,-1,-1"), truth)
    with pytest.raises(FineSpotError, match=r"three: expected a text file a picture .* but there is none"):
        read_results(f"visdrone:{write(tmp_path / 'three')}", truth)
