"""What `open_dataset` accepts as a data set."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from data_factory import MakeCoco, MakeYolo

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.errors import FineSpotError


class Constant:
    """A format of a user's own."""

    def splits(self, place: Path) -> list[str]:
        return [f"split of {place.name}"]


def test_yolo_by_folder_or_prefix(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    for spec in (str(file), file, f"yolo:{file}", f"yolo:{tmp_path}"):
        assert len(open_dataset(spec, "train")) == 1
        assert dataset_splits(spec) == ["train", "val"]
    (tmp_path / "other.yaml").touch()
    with pytest.raises(FineSpotError, match=r"expected one data YAML in the folder but got data\.yaml, other\.yaml"):
        open_dataset(f"yolo:{tmp_path}", "train")


def test_a_format_of_ones_own() -> None:
    assert dataset_splits(f"{__name__}:Constant:some/place") == ["split of place"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("some_folder", "expected a data YAML or FORMAT:FOLDER; the formats are coco, hit-uav, yolo"),
        ("coko:folder", "unknown format 'coko'; did you mean coco"),
        ("coco:", "expected coco:FOLDER but got no folder"),
        ("coco:nowhere", "expected the folder of a data set"),
        ("nowhere.yaml", "no such file"),
    ],
)
def test_what_is_no_data_set(spec: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        open_dataset(spec, "train")


def test_unknown_split_lists_those_there_are(make_yolo: MakeYolo, make_coco: MakeCoco) -> None:
    with pytest.raises(FineSpotError, match="no split 'tset'; it has train, val"):
        open_dataset(make_yolo({"a": ""}), "tset")
    with pytest.raises(FineSpotError, match="no split 'val'; it has train"):
        open_dataset(f"coco:{make_coco([])}", "val")


def test_home_behind_the_format(make_coco: MakeCoco, make_yolo: MakeYolo, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_coco([])
    make_yolo({"a": ""})
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder.parent))
    assert dataset_splits(f"coco:~/{folder.name}") == ["train"]
    assert dataset_splits(f"~/{folder.name}/data.yaml") == ["train", "val"]
    assert dataset_splits(f"{__name__}:Constant:~/x") == ["split of x"]


def test_folder_without_annotations(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="expected a folder 'annotations'"):
        open_dataset(f"coco:{tmp_path}", "train")


def test_picture_and_truth_belong_together(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "", "b": "1 0.5 0.5 0.1 0.1"}), "train")
    assert isinstance(dataset, Dataset)
    assert (dataset.name, dataset.split) == ("data", "train")
    truth, image = dataset.annotations(1), dataset.image(1)
    assert truth.source == image.path == dataset.path(1)
    assert truth.size == image.size == dataset.size(1) == (100, 200)
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again.annotations(1).boxes, truth.boxes)
