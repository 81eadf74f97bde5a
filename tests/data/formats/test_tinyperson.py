"""TinyPerson: splits in several folders, flags, dense pictures, windows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import make_tinyperson

from finespot.data import dataset_splits, open_dataset
from finespot.errors import FineSpotError
from finespot.images import open_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tinyperson(tmp_path)


def change(file: Path, kind: str, number: int, **more: Any) -> None:
    content = json.loads(file.read_text())
    content[kind][number].update(more)
    file.write_text(json.dumps(content))


def test_splits_are_called_after_their_files(folder: Path) -> None:
    (folder / "annotations/other.json").write_text("{}")
    assert dataset_splits(f"tinyperson:{folder}") == [
        "train",
        "mini_train_all_erase",
        "train_all",
        "train_sw120_sh60_all",
        "train_sw120_sh60_all_erase",
        "train_with_dense",
    ]


def test_flags_make_ignored_boxes_and_attributes(folder: Path) -> None:
    dataset = open_dataset(f"tinyperson:{folder}", "train")
    assert dataset.classes.names == ("sea_person", "earth_person")
    assert [dataset.image_id(i) for i in range(2)] == [7, 8]
    truth = dataset.annotations(0)
    np.testing.assert_array_equal(truth.boxes[0], [10.25, 20, 15.75, 28])
    assert truth.labels.tolist() == [0, 1, 1, 0]
    assert truth.ignore.tolist() == [False, True, True, False], "ignore and uncertain, but not logo"
    assert truth.attributes["uncertain"].tolist() == [0, 0, 1, 0]
    assert truth.attributes["logo"].tolist() == [0, 0, 0, 1]
    assert dataset.notes == [], "the set's own evaluation honors these flags"


def test_groups_are_videos(folder: Path) -> None:
    dataset = open_dataset(f"tinyperson:{folder}", "train")
    assert [dataset.group(i) for i in range(2)] == ["bb_V0032", dataset.path(1)]
    pieces = open_dataset(f"tinyperson:{folder}", "train_sw120_sh60_all")
    assert {pieces.group(i) for i in range(4)} == {"bb_V0032"}


def test_dense_pictures_are_only_in_the_splits_that_name_them(folder: Path) -> None:
    rule = "their labels are not exhaustive; the official rules use them neither for training nor for scoring"
    dataset = open_dataset(f"tinyperson:{folder}", "train_all")
    assert len(dataset) == 2
    assert dataset.notes == [
        f"1 picture of a dense crowd left out: {rule}",
        "1 picture without labels left out",
    ]
    dataset = open_dataset(f"tinyperson:{folder}", "train_with_dense")
    assert [Path(dataset.path(i)).stem for i in range(3)] == ["baidu_P000_24", "bb_V0032_I0001640", "x"]
    assert dataset.annotations(0).attributes["in_dense_image"].tolist() == [1]
    assert dataset.notes == [f"1 picture of a dense crowd: {rule}", "1 picture without labels left out"]


def test_corner_files_are_windows(folder: Path) -> None:
    dataset = open_dataset(f"tinyperson:{folder}", "train_sw120_sh60_all")
    assert [dataset.image_id(i) for i in range(4)] == [100, 101, 102, 103]
    assert len({dataset.path(i) for i in range(4)}) == 1
    assert [dataset.window(i) for i in range(4)] == [
        (0, 0, 120, 60),
        (80, 0, 200, 60),
        (0, 40, 120, 100),
        (80, 40, 200, 100),
    ]
    assert [dataset.size(i) for i in range(4)] == [(60, 120)] * 4
    assert [dataset.annotations(i).boxes.tolist() for i in range(4)] == [
        [[10, 20, 15, 28]],
        [],
        [],
        [[110, 50, 120, 60]],
    ], "boxes are the window's, and clipped to it"
    whole = open_image(dataset.path(3)).read(None)
    np.testing.assert_array_equal(dataset.image(3).read(None), whole[40:, 80:])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"corner": [0, 0, 120]}, r"image 100: expected a corner \[x1, y1, x2, y2\]"),
        ({"corner": [0, 0, 120, 60.5]}, "image 100: expected an integer as coordinate of corner but got 60.5"),
        (
            {"corner": [80, 40, 120, 60]},
            r"image 100: expected a corner .* of 120x60 pixels but got \[80, 40, 120, 60\]",
        ),
        ({"corner": [120, 60, 240, 120]}, r"expected a window inside 200x100"),
    ],
    ids=["three numbers", "half a pixel", "as the read-me has it", "outside"],
)
def test_faulty_windows(folder: Path, more: dict[str, Any], message: str) -> None:
    change(folder / "annotations/corner/task/tiny_set_train_sw120_sh60_all.json", "images", 0, **more)
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"tinyperson:{folder}", "train_sw120_sh60_all")


def test_pictures_of_a_split(folder: Path) -> None:
    erased = folder / "erase_with_uncertain_dataset/train"
    for split, place in (
        ("train", folder / "train"),
        ("train_sw120_sh60_all", folder / "train"),
        ("train_sw120_sh60_all_erase", erased),
        ("mini_train_all_erase", erased),
    ):
        dataset = open_dataset(f"tinyperson:{folder}", split)
        assert Path(dataset.path(0)) == place / "labeled_images/bb_V0032_I0001640.jpg", split
    shutil.rmtree(folder / "train")
    dataset = open_dataset(f"tinyperson:{folder}", "train_sw120_sh60_all")
    assert Path(dataset.path(0)).is_relative_to(erased)
    assert dataset.notes[0] == (
        "there is no folder train: the pictures are the erased ones of erase_with_uncertain_dataset/train"
    )


def test_erased_pictures_are_never_replaced(folder: Path) -> None:
    shutil.rmtree(folder / "erase_with_uncertain_dataset/train")
    with pytest.raises(FineSpotError, match=r"the picture labeled_images/bb_V0032_I0001640\.jpg does not exist"):
        open_dataset(f"tinyperson:{folder}", "mini_train_all_erase")


def test_faulty_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="no split 'val'; it has train, mini_train_all_erase"):
        open_dataset(f"tinyperson:{folder}", "val")
    with pytest.raises(FineSpotError, match=r"expected annotations/tiny_set_train\.json and others"):
        dataset_splits(f"tinyperson:{folder / 'train'}")
    with pytest.raises(FineSpotError, match="expected the folder tiny_set but there is none"):
        dataset_splits(f"tinyperson:{folder / 'gone'}")
    shutil.copy(folder / "annotations/tiny_set_train.json", folder / "annotations/task/tiny_set_train.json")
    with pytest.raises(FineSpotError, match="would be the same split 'train'"):
        dataset_splits(f"tinyperson:{folder}")
    change(folder / "annotations/task/tiny_set_train_all.json", "annotations", 0, uncertain="yes")
    (folder / "annotations/task/tiny_set_train.json").unlink()
    with pytest.raises(FineSpotError, match="annotation 0: expected an integer as uncertain but got 'yes'"):
        open_dataset(f"tinyperson:{folder}", "train_all")
