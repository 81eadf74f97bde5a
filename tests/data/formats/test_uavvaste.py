"""UAVVaste: the split file, category 0, boxes that are not the polygons', missing pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_sets import make_uavvaste, save_json

from finespot.data import dataset_splits, open_dataset
from finespot.errors import FineSpotError

SHARED = Path(__file__).parents[4] / "shared" / "data" / "native-samples" / "uavvaste"
SPLITS = "annotations/train_val_test_distribution_file.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_uavvaste(tmp_path)


def test_category_0_and_the_box_as_it_stands(folder: Path) -> None:
    assert dataset_splits(f"uavvaste:{folder}") == ["train", "val", "test"]
    dataset = open_dataset(f"uavvaste:{folder}", "train")
    assert dataset.classes.names == ("rubbish",)
    assert dataset.classes.original_ids == (0,)
    truth = dataset.annotations(0)
    assert truth.labels.tolist() == [0]
    assert truth.boxes.tolist() == [[2288, 388, 2419, 524]], "not the envelope of the polygon"
    assert truth.area.tolist() == [8840.5]


def test_splits_groups_and_pictures_in_no_split(folder: Path) -> None:
    for split, name, group in (
        ("train", "batch_04_img_20.jpg", "batch_04"),
        ("val", "batch_04_img_40.jpg", "batch_04"),
        ("test", "GOPR0029.JPG", None),
    ):
        dataset = open_dataset(f"uavvaste:{folder}", split)
        assert [Path(dataset.path(i)).name for i in range(len(dataset))] == [name]
        assert dataset.group(0) == (group or dataset.path(0))
        assert dataset.notes == ["1 picture is in no split"]
    assert len(open_dataset(f"uavvaste:{folder}", "val").annotations(0)) == 0


def test_a_picture_in_two_splits_is_told(folder: Path) -> None:
    splits = json.loads((folder / SPLITS).read_text())
    splits["val"] += splits["train"]
    save_json(folder / SPLITS, splits)
    assert open_dataset(f"uavvaste:{folder}", "train").notes[0] == "1 picture is in the split val too"


def test_pictures_that_were_not_fetched(folder: Path) -> None:
    splits = json.loads((folder / SPLITS).read_text())
    splits["train"] += ["lost.jpg"]
    save_json(folder / SPLITS, splits)
    message = r"image 3: the picture lost\.jpg does not exist; looked in .*; fetch the pictures from the address under"
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"uavvaste:{folder}", "train")
    (folder / "images/batch_04_img_20.jpg").unlink()
    with pytest.raises(FineSpotError, match="2 of 2 pictures are missing; fetch the pictures"):
        open_dataset(f"uavvaste:{folder}", "train")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"train": ["gone.jpg"]},
            r"expected the pictures of the split 'train' in .*annotations\.json but it lacks 1 of ",
        ),
        ({"train": "gone.jpg"}, "expected a list of file names for each split"),
        ({"train": [1]}, "expected a list of file names for each split"),
        ([], "expected a list of file names for each split"),
        ({"val": []}, "no split 'train'; it has val"),
    ],
)
def test_faulty_split_files(folder: Path, splits: object, message: str) -> None:
    save_json(folder / SPLITS, splits)
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"uavvaste:{folder}", "train")


def test_faulty_folders(folder: Path) -> None:
    (folder / SPLITS).unlink()
    with pytest.raises(FineSpotError, match=r"distribution_file\.json: cannot be read"):
        dataset_splits(f"uavvaste:{folder}")
    with pytest.raises(FineSpotError, match=r"with annotations/annotations\.json"):
        dataset_splits(f"uavvaste:{folder / 'gone'}")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample is not here")
def test_the_published_files_without_their_pictures() -> None:
    assert dataset_splits(f"uavvaste:{SHARED}") == ["train", "val", "test"]
    with pytest.raises(FineSpotError, match="12 of 12 pictures are missing; fetch the pictures"):
        open_dataset(f"uavvaste:{SHARED}", "train")
