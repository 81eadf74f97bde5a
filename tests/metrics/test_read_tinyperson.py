"""Detections in windows of TinyPerson's pictures, joined as its program joins them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth
from finespot.metrics.reading import read_results, read_truth
from finespot.metrics.reading.tinyperson import merge

DATA = Path(__file__).parent / "data" / "tinyperson_merge"


def whole(folder: Path, images: list[dict[str, object]]) -> Truth:
    categories = [{"id": 1, "name": "person"}]
    (folder / "truth.json").write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    return read_truth(folder / "truth.json")


def test_official_merge(tmp_path: Path) -> None:
    corners = json.loads((DATA / "corners.json").read_text())
    truth = whole(tmp_path, corners["old_images"])
    results = read_results(DATA / "found.json", truth, corners=DATA / "corners.json")
    expected = json.loads((DATA / "expected.json").read_text())
    assert len(results) == expected["kept"] == len(expected["detections"])
    assert [truth.image_ids[k] for k in results.image] == [one["image_id"] for one in expected["detections"]]
    np.testing.assert_array_equal(results.boxes, [one["bbox"] for one in expected["detections"]])
    np.testing.assert_array_equal(results.scores, [one["score"] for one in expected["detections"]])
    assert results.notes == (
        "detections read as tinyperson files",
        "61 detections of 24 windows joined to 34",
    )


def write(folder: Path, name: str, content: object) -> Path:
    (folder / name).write_text(json.dumps(content))
    return folder / name


CUT = {"id": 1, "file_name": "set/a.jpg", "corner": [100, 50, 200, 150]}
FOUND = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "score": 0.5}


def join(folder: Path, found: object, corners: object) -> Results:
    truth = whole(folder, [{"id": 7, "file_name": "a.jpg"}])
    return read_results(write(folder, "found.json", found), truth, corners=write(folder, "corners.json", corners))


def test_pictures_by_name(tmp_path: Path) -> None:
    results = join(tmp_path, [FOUND], {"images": [CUT]})
    assert results.boxes.tolist() == [[101, 52, 10, 10]]
    assert results.image.tolist() == [0]


def test_an_overlap_of_one_half_suppresses() -> None:
    """By pixels: 10 x 10 and 10 x 20 share 100 of 200."""
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 19], [20, 20, 29, 29]], np.float32)
    assert merge(boxes, np.array([0.9, 0.8, 0.1], np.float32)).tolist() == [True, False, True]
    # Of equal scores the first stays; without the further pixel, 9 * 9 of 9 * 19 would be less than a half.
    assert merge(boxes, np.array([0.5, 0.5, 0.5], np.float32)).tolist() == [True, False, True]
    assert merge(boxes[:0], np.zeros(0, np.float32)).tolist() == []


@pytest.mark.parametrize(
    ("found", "corners", "message"),
    [
        ([{**FOUND, "image_id": 9}], {"images": [CUT]}, "found.json: record 0: image_id 9 is not the id of any image"),
        ([FOUND], {"images": [{**CUT, "file_name": "b.jpg"}]}, "record 0 of images: the truth has no picture 'b'"),
        ([FOUND], {"images": [CUT, CUT]}, "corners.json: expected windows of different ids"),
        ([FOUND], {"images": [{"id": 1, "file_name": "a.jpg"}]}, "corners.json: record 0 of images: .*`corner`"),
        ([FOUND], [], "expected a corner file: images with id, file_name and corner"),
        ([FOUND], {"images": [{**CUT, "corner": [0, float("nan"), 1, 1]}]}, "expected finite corners"),
    ],
)
def test_bad_files(tmp_path: Path, found: object, corners: object, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        join(tmp_path, found, corners)


def test_corners_are_asked_for(tmp_path: Path) -> None:
    truth = whole(tmp_path, [{"id": 7, "file_name": "a.jpg"}])
    found = write(tmp_path, "found.json", [{**FOUND, "image_id": 7}])
    with pytest.raises(FineSpotError, match=r"expected the corner file .*; give --corners"):
        read_results(f"tinyperson:{found}", truth)
    with pytest.raises(FineSpotError, match="corners: has no effect"):
        read_results(f"coco:{found}", truth, corners=found)
    assert len(read_results(found, truth)) == 1
