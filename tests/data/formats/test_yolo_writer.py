"""The YOLO and Darknet layouts as written: lines, side files, YAML, lists; and what is read from such folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from data_factory import MakeYolo, save_picture
from hypothesis import example, given, settings
from hypothesis import strategies as st
from round_trip import Row, come_back, dataset_of, splits, written

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.builder import Builder
from finespot.data.dataset import find_format
from finespot.data.formats.data_yaml import data_yaml_text, read_data_yaml
from finespot.data.formats.layout import Part, Writable
from finespot.errors import FineSpotError
from finespot.structures import Classes

CLASSES = ("no", "007", "Größe: 1", "straße # 2")
OBJECT: Row = ((10, 20, 30, 60), 1, False, {})
IGNORED: Row = ((50, 10, 70, 30), 2, True, {})
REGION: Row = ((0, 0, 200, 10), -1, True, {})


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return dataset_of(tmp_path / "from", "train", [[OBJECT, IGNORED, REGION], []], CLASSES)


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_the_files(small: Dataset, tmp_path: Path) -> None:
    root = tmp_path / "to"
    written("yolo", [small], root)
    assert (root / "labels/train/train0.txt").read_text() == "1 0.100000 0.400000 0.100000 0.400000\n"
    assert (root / "labels/train/train0.ignore.txt").read_text() == (
        "2 0.300000 0.200000 0.100000 0.200000\n-1 0.500000 0.050000 1.000000 0.100000\n"
    )
    assert (root / "labels/train/train1.txt").read_text() == "", "an empty file says that there is no object"
    assert files(root) == {
        "data.yaml",
        "images/train/train0.png",
        "images/train/train1.png",
        "labels/train/train0.txt",
        "labels/train/train0.ignore.txt",
        "labels/train/train1.txt",
    }


def test_without_side_files_what_is_ignored_is_lost_and_the_layout_says_so(small: Dataset, tmp_path: Path) -> None:
    place = written("yolo,side_file=false", [small], tmp_path / "to")
    assert not list((tmp_path / "to").rglob("*.ignore.txt"))
    assert open_dataset(place, "train").annotations(0).labels.tolist() == [1]
    with_files, without = (find_format(f"{spec}:x")[0] for spec in ("yolo", "yolo,side_file=false"))
    assert isinstance(without, Writable)
    assert (with_files.keeps.regions, with_files.keeps.ignored) == (True, True)
    assert (without.keeps.regions, without.keeps.ignored) == (False, False)
    with pytest.raises(FineSpotError, match="unknown value of the option side_file 'no'; did you mean"):
        find_format("yolo,side_file=no:x")


def test_names_are_text_for_every_yaml_reader(small: Dataset, tmp_path: Path) -> None:
    written("yolo", [small], tmp_path)
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content == {"train": "images/train", "nc": 4, "names": list(CLASSES)}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True))
@example(["\x85", "\u2028 a\r\n", "0o7", "1e3", "null", "- a", "x" * 200])
def test_every_name_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    file = tmp_path_factory.mktemp("yaml") / "data.yaml"
    file.write_text(data_yaml_text(names, {"train": "images/train", "all": "."}), encoding="utf-8", newline="")
    data = read_data_yaml(file)
    assert data.names == tuple(names)
    assert dict(data.splits) == {"train": "images/train", "all": "."}


def test_splits_of_any_name_are_read_back(tmp_path: Path) -> None:
    made = [dataset_of(tmp_path / "from", name, [[OBJECT]], CLASSES) for name in ("flight 7", "val", "all")]
    place = written("yolo", made, tmp_path / "to")
    assert dataset_splits(place) == ["val", "all", "flight 7"]
    assert len(open_dataset(place, "flight 7").annotations(0)) == 1
    with pytest.raises(FineSpotError, match="a data YAML cannot hold a split named 'names'"):
        data_yaml_text(CLASSES, {"names": "images/names"})


def test_large_pictures_get_more_decimals(tmp_path: Path) -> None:
    import PIL.Image

    path = tmp_path / "wide.png"
    PIL.Image.new("1", (30_000, 4)).save(path)
    builder = Builder("set", "train", Classes(("car",)))
    builder.picture(str(path), 0)
    builder.box((29_990.3, 1, 29_994.7, 3), 0, where="row")
    place = written("yolo", [builder.build()], tmp_path / "to")
    fields = (tmp_path / "to/labels/train/wide.txt").read_text().split()
    assert [len(field) for field in fields[1:]] == [10] * 4
    np.testing.assert_allclose(
        open_dataset(place, "train").annotations(0).boxes, [[29_990.3, 1, 29_994.7, 3]], atol=0.01
    )


def test_files_that_would_overwrite_each_other(tmp_path: Path) -> None:
    layout, _ = find_format(f"yolo:{tmp_path}")
    dataset = dataset_of(tmp_path, "train", [[REGION], []], CLASSES)
    with pytest.raises(FineSpotError, match=r"a\.png and a\.jpg would share a label file"):
        layout.write(tmp_path, [Part("train", dataset, ("a.jpg", "a.png"))])
    with pytest.raises(FineSpotError, match=r"a\.ignore\.txt would hold ignore regions of one picture and labels"):
        layout.write(tmp_path, [Part("train", dataset, ("a.png", "a.ignore.png"))])
    layout.write(tmp_path, [Part("train", dataset, ("a.ignore.png", "a.png"))])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(("yolo", "yolo,side_file=false", "darknet", "darknet,side_file=false")))
def test_round_trip(data: st.DataObject, spec: str) -> None:
    come_back(spec, data.draw(splits(len(CLASSES))), CLASSES)


def test_darknet_files(small: Dataset, tmp_path: Path) -> None:
    val = dataset_of(tmp_path / "from", "val", [[OBJECT]], CLASSES)
    root = tmp_path / "to"
    place = written("darknet", [small, val], root)
    assert (root / "train.txt").read_text() == "./images/train/train0.png\n./images/train/train1.png\n"
    assert (root / "obj.names").read_text().splitlines() == list(CLASSES)
    assert (root / "obj.data").read_text() == (
        "classes = 4\ntrain = train.txt\nvalid = val.txt\nnames = obj.names\nbackup = backup/\n"
    )
    content = yaml.safe_load((root / "data.yaml").read_text())
    assert (content["train"], content["val"], content["nc"]) == ("train.txt", "val.txt", 4)
    assert dataset_splits(place) == dataset_splits(f"yolo:{root}") == ["train", "val"]
    for spec in (place, f"darknet:{root / 'obj.data'}", f"yolo:{root}"):
        assert len(open_dataset(spec, "train").annotations(0)) == 3
    with pytest.raises(FineSpotError, match="expected a class name that fits on a line but got ' a'"):
        written("darknet", [dataset_of(tmp_path, "train", [[]], (" a",))], tmp_path / "bad")


def test_darknet_as_an_annotation_tool_exports_it(tmp_path: Path) -> None:
    save_picture(tmp_path / "obj_train_data/flight/a.png")
    (tmp_path / "obj_train_data/flight/a.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/flight/a.png\n")
    (tmp_path / "obj.names").write_text("car\nperson\n\n")
    (tmp_path / "obj.data").write_text(
        "# made by a tool\nclasses=2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    dataset = open_dataset(f"darknet:{tmp_path}", "train")
    assert dataset.classes.names == ("car", "person")
    np.testing.assert_allclose(dataset.annotations(0).boxes, [[90, 45, 110, 55]], atol=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names = x.names\ntrain = t.txt\nclasses = 3\n", "classes is 3, but there are 2 names"),
        ("train = t.txt\n", "expected a line 'names = FILE' but got none"),
        ("names = gone.names\n", r"'gone\.names' does not exist; expected it below"),
        ("names = twice.names\n", r"twice\.names: class names must differ, but a occurs more than once"),
        ("names = empty.names\n", "expected class names, one a line, but there are none"),
        ("names x.names\n", r"x\.data:1: expected a line 'key = value', each key once, but got 'names x\.names'"),
        ("names = x.names\nnames = x.names\n", r"x\.data:2: expected a line"),
        ("names = x.names\nvalid = t.txt\nval = t.txt\n", "expected 'valid' or 'val' but got both"),
        ("names = x.names\ntest = t.txt\n", "no split 'train'; it has test"),
    ],
)
def test_faulty_darknet_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.names").write_text("a\nb\n")
    (tmp_path / "twice.names").write_text("a\na\n")
    (tmp_path / "empty.names").touch()
    (tmp_path / "t.txt").write_text("a.png\n")
    (tmp_path / "x.data").write_text(text)
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"darknet:{tmp_path}", "train")


def test_darknet_folder_without_or_with_two_data_files(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"expected one \.data file in the folder but got none"):
        dataset_splits(f"darknet:{tmp_path}")
    (tmp_path / "a.data").touch()
    (tmp_path / "b.data").touch()
    with pytest.raises(FineSpotError, match=r"expected one \.data file in the folder but got a\.data, b\.data"):
        dataset_splits(f"darknet:{tmp_path}")


def test_mixed_file_of_boxes_and_polygons(make_yolo: MakeYolo) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.2 0.1\n1 0.1 0.1 0.3 0.1 0.3 0.4\n"}, size=(100, 100))
    truth = open_dataset(file, "train").annotations(0)
    np.testing.assert_allclose(truth.boxes, [[40, 45, 60, 55], [10, 10, 30, 40]], atol=1e-4)
    assert truth.labels.tolist() == [0, 1]


def test_names_longer_than_a_file_system_takes_are_refused(make_yolo: MakeYolo, tmp_path: Path) -> None:
    long = "x" * 5000
    file = make_yolo({"a": ""}, f"train: {long}\nval: list.txt\nnames: [a]\nother: {long}.txt\n")
    (tmp_path / "list.txt").write_text(f"{long}\n")
    assert dataset_splits(file) == ["train", "val"]
    for split in ("train", "val"):
        with pytest.raises(FineSpotError, match="does not exist"):
            open_dataset(file, split)


def test_a_link_that_leads_back_up_is_walked_once(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    for name in ("up", "again"):
        (tmp_path / "labels/train" / name).symlink_to(tmp_path / "labels", target_is_directory=True)
    assert len(open_dataset(file, "train")) == 1
