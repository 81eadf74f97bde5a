"""Rotated boxes of the YOLO family: envelopes of four corners, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_factory import MakeYolo

from finespot.data import dataset_splits, open_dataset
from finespot.data.formats.layout import Writable
from finespot.data.formats.yolo_obb import YoloObb
from finespot.errors import FineSpotError


@pytest.mark.parametrize(
    "corners",
    ["0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5", "0.3 0.5 0.5 0.8 0.7 0.5 0.5 0.2", "0.7 0.5 0.5 0.2 0.3 0.5 0.5 0.8"],
    ids=["clockwise", "counterclockwise", "another start"],
)
def test_the_envelope(make_yolo: MakeYolo, corners: str) -> None:
    file = make_yolo({"a": f"1 {corners}\n"})
    assert dataset_splits(f"yolo-obb:{file}") == ["train", "val"]
    truth = open_dataset(f"yolo-obb:{file}", "train").annotations(0)
    np.testing.assert_allclose(truth.boxes, [[60, 20, 140, 80]], atol=1e-4)
    assert truth.labels.tolist() == [1]


def test_corners_outside_are_clipped_after_the_envelope(make_yolo: MakeYolo) -> None:
    file = make_yolo({"a": "0 -0.1 0.5 0.1 0.2 0.3 0.5 0.1 0.8\n0 0.9 0.9 1.2 0.9 1.2 1.3 0.9 1.3\n"})
    dataset = open_dataset(f"yolo-obb:{file}", "train")
    np.testing.assert_allclose(dataset.annotations(0).boxes, [[0, 20, 60, 80], [180, 90, 200, 100]], atol=1e-4)
    assert dataset.notes == ["2 boxes reached over the edge and were clipped"]


def test_ignore_regions_in_a_side_file(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": ""})
    (tmp_path / "labels/train/a.ignore.txt").write_text("-1 0 0 0.5 0 0.5 1 0 1\n")
    truth = open_dataset(f"yolo-obb:{file}", "train").annotations(0)
    assert (truth.labels.tolist(), truth.ignore.tolist()) == ([-1], [True])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1 0.1", "expected 9 fields .* but got 5; a class and four numbers are an upright box"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "expected 9 fields .* but got 7$"),
        ("0 0 0 1 0 1 1 0 1 0.9", "expected 9 fields .* but got 10; a tenth field is the confidence"),
        ("0 120 40 180 40 180 90 120 90", "expected corners from -1 to 2 .* but got 180"),
        ("0 nan 0 1 0 1 1 0 1", "NaN"),
        ("2 0 0 1 0 1 1 0 1", "expected a class from 0 to 1 but got 2"),
        ("a 0 0 1 0 1 1 0 1", "expected numbers"),
    ],
)
def test_faulty_lines(make_yolo: MakeYolo, line: str, message: str) -> None:
    file = make_yolo({"a": f"0 0 0 1 0 1 1 0 1\n{line}\n"})
    with pytest.raises(FineSpotError, match=message) as caught:
        open_dataset(f"yolo-obb:{file}", "train")
    assert "labels/train/a.txt:2:" in str(caught.value)


def test_it_does_not_write() -> None:
    assert not isinstance(YoloObb(), Writable)
