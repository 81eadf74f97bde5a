"""ASS1 and ASS2 as downloaded: crossed folders, train = val, class ids that differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from data_factory import save_picture

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.formats.layout import Writable
from finespot.errors import FineSpotError

ASS1 = "path: {root}\ntrain: images\nval: images\nnc: 3\nnames: [airplane, person, truck]\n"
ASS2 = "path: {root}\ntrain: images/train\nval: images/val\nnc: 2\nnames: [airplane, truck]\n"
IDS = "class ids differ between ASS1 and ASS2 (1 is person or truck): match classes by name"


def pictures(root: Path, stems: Iterable[str], split: str = "") -> None:
    for stem in stems:
        save_picture(root / "images" / split / f"{stem}.png", (20, 20))
        label = root / "labels" / split / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("1 0.5 0.5 0.5 0.5\n")


def cameras(count: int = 20, frames: int = 3) -> list[str]:
    return [f"cam{camera}x_{frame:04d}" for camera in range(count) for frame in range(frames)]


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """The package as downloaded: both YAML files at the top, crossed folders."""
    pictures(tmp_path / "yolo_dataset2", cameras())
    pictures(tmp_path / "yolo_dataset1", ("p1", "p2"), "train")
    pictures(tmp_path / "yolo_dataset1", ("p3",), "val")
    (tmp_path / "ASS1.yaml").write_text(ASS1.format(root="yolo_dataset2"))
    (tmp_path / "ASS2.yaml").write_text(ASS2.format(root="yolo_dataset1"))
    return tmp_path


def read(folder: Path, split: str, options: str = ",set=1") -> Dataset:
    return open_dataset(f"ass{options}:{folder}", split)


def names(dataset: Dataset) -> set[str]:
    return {str(dataset.image_id(i)) for i in range(len(dataset))}


def test_crossed_folders(download: Path) -> None:
    with pytest.raises(FineSpotError, match="expected one set but got ASS1 and ASS2; say ass,set=1:"):
        dataset_splits(f"ass:{download}")
    assert dataset_splits(f"ass,set=1:{download}") == dataset_splits(f"ass,set=2:{download}") == ["train", "val"]
    second = read(download, "train", ",set=2")
    assert names(second) == {"p1", "p2"}
    assert second.classes.names == ("airplane", "truck")
    assert second.notes[0] == IDS
    assert read(download, "train").classes.names == ("airplane", "person", "truck")


def test_train_and_val_of_ass1_are_divided_by_camera(download: Path) -> None:
    train, val = read(download, "train"), read(download, "val")
    assert names(train) | names(val) == set(cameras())
    groups = [{dataset.group(i) for i in range(len(dataset))} for dataset in (train, val)]
    assert groups[0].isdisjoint(groups[1])
    assert 0.1 <= len(val) / (len(train) + len(val)) <= 0.3
    assert val.notes[:2] == [
        IDS,
        "train and val of the YAML are the same pictures; divided by a fixed hash of the camera, "
        f"of which file names tell 20 ({len(val)} here)",
    ]


def test_pictures_of_cameras_that_names_do_not_tell_apart(tmp_path: Path) -> None:
    stems = [f"{number:05d}" for number in range(60)]
    pictures(tmp_path, stems)
    (tmp_path / "ASS1.yaml").write_text(ASS1.format(root="."))
    train, val = read(tmp_path, "train"), read(tmp_path, "val")
    assert names(train) | names(val) == set(stems)
    assert names(train).isdisjoint(names(val))
    assert 0 < len(val) < len(train)
    assert "frames of one scene stand on both sides" in val.notes[1]
    pictures(tmp_path, ["new"])
    assert names(read(tmp_path, "val")) - {"new"} == names(val), "further pictures move none"


def test_too_few_pictures_to_divide(tmp_path: Path) -> None:
    pictures(tmp_path, ["a"])
    (tmp_path / "ASS1.yaml").write_text(ASS1.format(root="."))
    assert len(read(tmp_path, "train")) == 1
    with pytest.raises(FineSpotError, match="too few pictures to divide train and val: none is left for val"):
        read(tmp_path, "val")


def test_the_published_split_says_what_it_is(download: Path) -> None:
    train, val = (read(download, split, ",set=1,split=published") for split in ("train", "val"))
    assert names(train) == names(val) == set(cameras())
    assert val.notes[1] == (
        "train and val are the same 60 pictures, as published: figures on val are those of training"
    )
    with pytest.raises(FineSpotError, match="unknown value of the option split 'random'; did you mean"):
        read(download, "val", ",split=random")


def test_folders_as_the_read_me_of_the_code_has_them(tmp_path: Path) -> None:
    pictures(tmp_path / "ASS2", ("a",), "train")
    pictures(tmp_path / "ASS2", ("b",), "val")
    (tmp_path / "ASS2/ASS2.yaml").write_text(ASS2.format(root="yolo_dataset1"))
    for place in (tmp_path, tmp_path / "ASS2", tmp_path / "ASS2/ASS2.yaml"):
        dataset = read(place, "val", "")
        assert names(dataset) == {"b"}
        assert dataset.notes[1] == f"path 'yolo_dataset1' does not exist; {tmp_path / 'ASS2'} is used"


def test_folders_that_somebody_uncrossed(download: Path) -> None:
    (download / "ASS1.yaml").write_text(ASS1.format(root="yolo_dataset1"))
    with pytest.raises(FineSpotError, match=r"expected pictures directly in images/ .* the folders are crossed"):
        read(download, "train")


@pytest.mark.parametrize("split", ["test", "all"])
def test_other_splits(download: Path, split: str) -> None:
    with pytest.raises(FineSpotError, match=f"no split '{split}'; it has train, val"):
        read(download, split)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"expected ASS1\.yaml or ASS2\.yaml in the folder but there is none"):
        dataset_splits(f"ass:{tmp_path}")
    (tmp_path / "ASS1.yaml").write_text(ASS1.format(root="yolo_dataset2"))
    with pytest.raises(FineSpotError, match="the folder under 'path' does not exist: yolo_dataset2"):
        dataset_splits(f"ass:{tmp_path}")


def test_it_does_not_write(download: Path) -> None:
    from finespot.data.formats.ass import Ass

    assert not isinstance(Ass(), Writable)
