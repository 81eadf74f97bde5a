"""What `open_dataset` accepts as a data set."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from data_factory import MakeCoco, MakeYolo

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError
from finespot.registry import names


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
        ("some_folder", f"expected a data YAML or FORMAT:FOLDER; the formats are {', '.join(names('format'))}$"),
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


@pytest.fixture
def noisy(make_yolo: MakeYolo, tmp_path: Path) -> Path:
    """A set of one JPEG and one PNG file that are longer than what is looked at of them; returns the folder."""
    make_yolo({"a": "", "b": ""}, size=(120, 160))
    (tmp_path / "images/train/a.png").unlink()
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "images/train/a.jpg")
    return tmp_path


@pytest.mark.parametrize(("name", "kept"), [("a.jpg", -2), ("a.jpg", 4000), ("b.png", -600), ("b.png", 4000)])
def test_a_truncated_picture_is_refused_when_the_set_is_opened(noisy: Path, name: str, kept: int) -> None:
    file = noisy / "images/train" / name
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(FineSpotError, match=rf"{name}: expected a whole picture but the file is truncated") as caught:
        open_dataset(noisy / "data.yaml", "train")
    assert "\n" not in str(caught.value)
    findings = Findings()
    assert len(open_dataset(noisy / "data.yaml", "train", findings)) == 2
    assert len(findings) == 0, "who gathers findings decodes pictures himself"


@pytest.mark.parametrize("name", ["a.jpg", "b.png"])
@pytest.mark.parametrize("behind", [b"", b"\0", b"\r\n" * 3, bytes(1000), b"MotionPhoto" * 5000], ids=len)
def test_bytes_behind_a_whole_picture_are_allowed(noisy: Path, name: str, behind: bytes) -> None:
    file = noisy / "images/train" / name
    file.write_bytes(file.read_bytes() + behind)
    assert len(open_dataset(noisy / "data.yaml", "train")) == 2


def test_a_picture_that_lacks_nothing_but_its_end_marker(noisy: Path) -> None:
    file = noisy / "images/train/b.png"
    file.write_bytes(file.read_bytes()[:-12])
    dataset = open_dataset(noisy / "data.yaml", "train")
    assert dataset.image(1).read(None).shape == (120, 160, 1)


def test_pictures_are_not_decoded_when_a_set_is_opened(noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*words: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("finespot.images.decode._read", decoded)
    assert len(open_dataset(noisy / "data.yaml", "train")) == 2


@pytest.mark.parametrize(
    ("corners", "note"),
    [
        ([201, 10, 20, 20], "1 box outside its picture was dropped"),
        ([-30, 10, 30, 20], "1 box outside its picture was dropped"),
        ([10, 100, 20, 20], "1 box outside its picture was dropped"),
        ([10, 10, 0, 20], "1 box without area was dropped"),
        ([199, 10, 20, 20], "1 box reached over the edge and was clipped"),
    ],
)
def test_a_box_is_told_as_what_it_is(make_coco: MakeCoco, corners: list[int], note: str) -> None:
    record = {"id": 1, "image_id": 3, "category_id": 4, "bbox": corners, "area": 1, "iscrowd": 0}
    assert open_dataset(f"coco:{make_coco([record])}", "train").notes == [note]
