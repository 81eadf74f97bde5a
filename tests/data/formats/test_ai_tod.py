"""AI-TOD: names of its files, versions, numbers of pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from coco_sets import AI_TOD, image, make_ai_tod, save_coco
from data_factory import save_picture

from finespot.data import dataset_splits, open_dataset
from finespot.data.formats import ai_tod
from finespot.errors import FineSpotError

FILES = [
    *(f"aitod_{split}_v1" for split in ("train", "val", "trainval", "test")),
    *("aitod_training_v1.0", "aitod_validation_v1.0", "small_trainval_v1_1.0", "small_test_v1_1.0"),
    *("small_train_v2_1.0", "small_val_v2_1.0", "small_trainval_v2_2.0", "small_test_v2_2.0"),
    *(f"aitodv2_{split}" for split in ("train", "val", "trainval", "test")),
]


@pytest.mark.parametrize("stem", FILES)
def test_every_name_is_a_split_of_a_version(tmp_path: Path, stem: str) -> None:
    split = next(name for name in ("trainval", "train", "val", "test") if name in stem)
    version = "2" if "v2" in stem else "1"
    make_ai_tod(tmp_path, f"annotations/{stem}.json", f"images/{split}")
    for spec in (f"ai-tod:{tmp_path}", f"ai-tod,version={version}:{tmp_path}"):
        assert dataset_splits(spec) == [split]
        assert len(open_dataset(spec, split)) == 3
    other = "1" if version == "2" else "2"
    with pytest.raises(FineSpotError, match=r"expected annotation files such as annotations/aitodv2_train\.json"):
        dataset_splits(f"ai-tod,version={other}:{tmp_path}")


def test_boxes_classes_and_groups(tmp_path: Path) -> None:
    dataset = open_dataset(f"ai-tod:{make_ai_tod(tmp_path)}", "train")
    assert dataset.classes.names == AI_TOD == ai_tod.NAMES
    assert dataset.classes.original_ids == tuple(range(1, 9))
    assert [Path(dataset.path(i)).name for i in range(3)] == ["2053__0_600.png", "2053__2298_1200.png", "P7.png"]
    truth = dataset.annotations(1)
    assert truth.boxes.tolist() == [[70, 10, 80, 22], [4.5, 6, 7.5, 9]], "clipped to the window"
    assert truth.labels.tolist() == [7, 0]
    assert truth.area.tolist() == [240, 9]
    assert [dataset.group(i) for i in range(3)] == ["2053", "2053", dataset.path(2)]
    assert "1 box reached over the edge and was clipped" in dataset.notes


@pytest.mark.parametrize(
    "folder", ["images/train", "train/images", "train/Images", "train", "trainval/images", "images"]
)
def test_where_pictures_lie(tmp_path: Path, folder: str) -> None:
    dataset = open_dataset(f"ai-tod:{make_ai_tod(tmp_path, folder=folder)}", "train")
    assert Path(dataset.path(0)).parent == tmp_path / folder


@pytest.mark.parametrize(
    "file", ["aitodv2_train.json", "annotations_v2/aitodv2_train.json", "train/aitod_train_v1.json"]
)
def test_where_annotations_lie(tmp_path: Path, file: str) -> None:
    assert dataset_splits(f"ai-tod:{make_ai_tod(tmp_path, file)}") == ["train"]


def test_trainval_may_lie_in_two_folders(tmp_path: Path) -> None:
    make_ai_tod(tmp_path, "annotations/aitodv2_trainval.json", "train/images")
    (tmp_path / "val/images").mkdir(parents=True)
    shutil.move(tmp_path / "train/images/P7.png", tmp_path / "val/images/P7.png")
    assert len(open_dataset(f"ai-tod:{tmp_path}", "trainval")) == 3


def test_two_versions_need_a_choice(tmp_path: Path) -> None:
    make_ai_tod(tmp_path)
    shutil.copy(tmp_path / "annotations/aitodv2_train.json", tmp_path / "annotations/aitod_train_v1.json")
    with pytest.raises(
        FineSpotError, match=r"but got annotations/aitod_train_v1\.json, annotations/aitodv2_train\.json"
    ):
        open_dataset(f"ai-tod:{tmp_path}", "train")
    for version in ("1", "2"):
        assert len(open_dataset(f"ai-tod,version={version}:{tmp_path}", "train")) == 3
    with pytest.raises(FineSpotError, match="unknown value of the option version '3'"):
        open_dataset(f"ai-tod,version=3:{tmp_path}", "train")


@pytest.mark.parametrize(
    ("official", "from_xview", "note"),
    [
        ({"train": 3}, {}, None),
        ({"train": 5}, {"train": 2}, "that is the set without the 2 pictures that are cut from xView"),
        (
            {"train": 5, "val": 3},
            {"train": 1},
            "3 pictures, not the 5 of the official train: that is the number of val",
        ),
        ({"train": 5}, {"train": 1}, "aitodv2_train.json has 3 pictures, not the 5 of the official train"),
    ],
)
def test_the_number_of_pictures_tells_the_split(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    official: dict[str, int],
    from_xview: dict[str, int],
    note: str | None,
) -> None:
    monkeypatch.setattr(ai_tod, "PICTURES", ai_tod.PICTURES | official)
    monkeypatch.setattr(ai_tod, "FROM_XVIEW", ai_tod.FROM_XVIEW | from_xview)
    notes = open_dataset(f"ai-tod:{make_ai_tod(tmp_path)}", "train").notes
    assert [one for one in notes if "pictures" in one] == [] if note is None else notes[-1].endswith(note)


def test_other_classes_are_told(tmp_path: Path) -> None:
    save_picture(tmp_path / "images/a.png", (80, 80))
    save_coco(tmp_path / "aitodv2_test.json", [image(1, "a.png", 80, 80)], [], ("person", "vehicle"))
    notes = open_dataset(f"ai-tod:{tmp_path}", "test").notes
    assert notes[0].startswith("the classes are not the official ones in their order (airplane, bridge")


def test_missing_pictures_are_counted(tmp_path: Path) -> None:
    make_ai_tod(tmp_path)
    for name in ("2053__0_600", "2053__2298_1200"):
        (tmp_path / f"images/train/{name}.png").unlink()
    with pytest.raises(
        FineSpotError, match=r"2053__2298_1200\.png does not exist; looked in .*; 2 of 3 pictures are mi"
    ):
        open_dataset(f"ai-tod:{tmp_path}", "train")


def test_faulty_folders(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="expected the folder of a data set but there is none"):
        dataset_splits(f"ai-tod:{tmp_path / 'gone'}")
    make_ai_tod(tmp_path)
    with pytest.raises(FineSpotError, match="no split 'test'; it has train"):
        open_dataset(f"ai-tod:{tmp_path}", "test")
