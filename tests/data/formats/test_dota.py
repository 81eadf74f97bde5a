"""DOTA: headers, corners, flags, versions and folders as downloaded, and the way back."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from round_trip import come_back, dataset_of, splits, written

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError
from finespot.writers import DOTA_CLASSES

SHARED = Path(__file__).parents[4] / "shared" / "data" / "native-samples" / "dota-v1"
SHIP = "10 20 30 20 30 40 10 40 ship 0\n"

MakeDota = Callable[..., Path]


@pytest.fixture
def make_dota(tmp_path: Path) -> MakeDota:
    """Write pictures (100 x 200) and label files below a folder: `files` maps stems to text (None: no label file)."""

    def make(files: dict[str, str | None], labels: str = "labelTxt", split: str = "", extension: str = "png") -> Path:
        for number, (stem, text) in enumerate(files.items()):
            save_picture(tmp_path / split / "images" / f"{stem}.{extension}", seed=number)
            file = tmp_path / split / labels / f"{stem}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                file.write_bytes(text.encode())
        return tmp_path

    return make


def read(folder: Path, split: str = "all", options: str = "") -> Dataset:
    return open_dataset(f"dota{options}:{folder}", split)


def test_a_file_as_published(tmp_path: Path) -> None:
    save_picture(tmp_path / "images/P0706.png", (1182, 1111))
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt/P0706.txt").write_bytes(
        b"imagesource:GoogleEarth\r\ngsd:0.255589285596\r\n"
        b"1054 1028 1063 1011 1111 1040 1112 1062 ship 1\r\n8.0 4.0 9.5 4.0 9.5 15.0 8.0 16.5 small-vehicle\r\n"
    )
    dataset = read(tmp_path)
    truth = dataset.annotations(0)
    np.testing.assert_array_equal(truth.boxes, [[1054, 1011, 1111, 1062], [8, 4, 9.5, 16.5]])
    assert [dataset.classes[label] for label in truth.labels] == ["ship", "small-vehicle"]
    assert truth.ignore.tolist() == [True, False]
    assert truth.attributes["difficult"].tolist() == [1, 0]
    assert dataset.notes == ["1 box reached over the edge and was clipped"]
    assert dataset.classes.names == DOTA_CLASSES["1.0"]
    assert [len(DOTA_CLASSES[version]) for version in ("1.0", "1.5", "2.0")] == [15, 16, 18]


@pytest.mark.parametrize(
    "head",
    [
        "",
        "gsd:null\n",
        "imagesource:GoogleEarth\ngsd:0.15\n",
        "acquisition dates:None\nimagesource:GF\ngsd:None\n",
        "\ufeffimagesource:GF\r\n\r\n",
    ],
    ids=["none", "one", "two", "three", "byte order mark"],
)
def test_header_lines_are_told_by_what_they_say(make_dota: MakeDota, head: str) -> None:
    assert read(make_dota({"a": head + SHIP})).annotations(0).boxes.tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    ("flag", "ignore", "value"), [("", False, 0), (" 0", False, 0), (" 1", True, 1), (" 2", True, 2)]
)
def test_difficult_objects_are_ignored_objects(make_dota: MakeDota, flag: str, ignore: bool, value: int) -> None:
    truth = read(make_dota({"a": f"10 20 30 20 30 40 10 40 ship{flag}\n"})).annotations(0)
    assert truth.labels.tolist() == [6]
    assert truth.ignore.tolist() == [ignore]
    assert truth.attributes["difficult"].tolist() == [value]


@pytest.mark.parametrize("name", ["storage-tank", "storage_tank", "Storage tank", "storage tank"])
def test_names_are_compared_by_their_words(make_dota: MakeDota, name: str) -> None:
    dataset = read(make_dota({"a": f"10 20 30 20 30 40 10 40 {name} 0\n"}))
    assert dataset.classes[int(dataset.annotations(0).labels[0])] == "storage-tank"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10 20 30 20 30 40 10 40", "expected 8 coordinates, a class and a difficult flag but got 8 fields"),
        ("10 20 30 20 30 40 10 ship 0 0", "expected a number as coordinate but got 'ship'"),
        ("10 20 30 20 30 40 10 nan ship 0", "expected a finite number as coordinate"),
        ("10 20 30 20 30 40 10 40 shipp 0", r"unknown class 'shipp'; did you mean ship.* the classes of v1\.0"),
        ("10 20 30 20 30 40 10 40 container-crane 0", "unknown class 'container-crane'"),
        ("10 20 30 20 30 40 10 40 ship -1", "expected a difficult flag of 0 or more but got -1"),
        ("10 20 30 20 30 40 10 40 ship 0.5", "expected an integer as difficult flag"),
        ("10 20 30 20 30 40 10 40 storage tank", "expected a number as difficult flag but got 'tank'"),
    ],
)
def test_faulty_lines(make_dota: MakeDota, line: str, message: str) -> None:
    folder = make_dota({"a": f"gsd:1\n{SHIP}{line}\n{SHIP}"})
    with pytest.raises(FineSpotError, match=message) as caught:
        read(folder)
    assert "labelTxt/a.txt:3:" in str(caught.value)
    findings = Findings()
    assert len(open_dataset(f"dota:{folder}", "all", findings).annotations(0)) == 2
    assert findings.counts == {"record": 1, "twice": 1}


def test_versions(make_dota: MakeDota) -> None:
    crane = "10 20 30 20 30 40 10 40 container-crane 0\n"
    folder = make_dota({"a": SHIP}, "labelTxt")
    make_dota({"a": SHIP + crane}, "labelTxt-v1.5")
    with pytest.raises(
        FineSpotError, match=r"one version but got those of v1\.0 and v1\.5; say which, as in dota,versi"
    ):
        read(folder)
    assert len(read(folder, options=",version=1.0").annotations(0)) == 1
    later = read(folder, options=",version=1.5")
    assert later.annotations(0).labels.tolist() == [6, 15]
    (folder / "labelTxt/a.txt").write_text(crane)
    with pytest.raises(FineSpotError, match="unknown class 'container-crane'"):
        read(folder, options=",version=1.0")
    assert read(folder, options=",version=2.0").annotations(0).labels.tolist() == [15], "labelTxt may hold any version"
    with pytest.raises(FineSpotError, match=r"unknown value of the option version '1\.4'; did you mean"):
        read(folder, options=",version=1.4")


def test_folders_as_downloaded(make_dota: MakeDota) -> None:
    folder = make_dota({"P1": SHIP}, "labelTxt-v1.0/labelTxt", "train", "jpg")
    make_dota({"P1": SHIP}, "labelTxt-v1.0/trainset_reclabelTxt", "train", "jpg")
    make_dota({"P2": ""}, "labelTxt-v1.0/labelTxt", "val")
    save_picture(folder / "test/images/P3.png")
    assert dataset_splits(f"dota:{folder}") == ["train", "val"], "the truth of test is not public"
    dataset = read(folder, "train")
    assert len(dataset.annotations(0)) == 1
    assert dataset.notes == ["labels are read from labelTxt-v1.0/labelTxt"]
    with pytest.raises(FineSpotError, match="no split 'test'; it has train, val"):
        read(folder, "test")
    make_dota({"P1": SHIP}, "labelTxt-v1.0/other", "train", "jpg")
    with pytest.raises(FineSpotError, match="expected label files or one folder with them but got labelTxt, other"):
        read(folder, "train")


def test_pictures_and_label_files_without_each_other(make_dota: MakeDota) -> None:
    folder = make_dota({"a": SHIP, "b": None})
    dataset = read(folder)
    assert [len(dataset.annotations(i)) for i in range(2)] == [1, 0]
    assert dataset.notes == ["1 label file absent (read as background)"]
    (folder / "labelTxt/c.txt").write_text(SHIP)
    with pytest.raises(FineSpotError, match=r"labelTxt/c\.txt: the label file has no picture"):
        read(folder)
    with pytest.raises(FineSpotError, match="expected folders 'images' and 'labelTxt'"):
        read(folder / "images")
    with pytest.raises(FineSpotError, match="expected the folder of a data set"):
        read(folder / "nowhere")


def test_pieces_of_a_picture_are_a_group(make_dota: MakeDota) -> None:
    dataset = read(make_dota({"P1__1__0___0": SHIP, "P1__0.5__824___-7": SHIP, "P2": SHIP}))
    assert [dataset.group(i) for i in range(2)] == ["P1", "P1"]
    assert dataset.group(2) == dataset.path(2)


def test_classes_of_another_set(make_dota: MakeDota) -> None:
    folder = make_dota({"a": "10 20 30 20 30 40 10 40 Buoy_red 0\n"})
    (folder / "classes.txt").write_text("ship\nbuoy red\n")
    dataset = read(folder)
    assert dataset.classes.names == ("ship", "buoy red")
    assert dataset.annotations(0).labels.tolist() == [1]
    (folder / "classes.txt").write_text("ship\nSHIP\n")
    with pytest.raises(FineSpotError, match="expected class names that differ in more than letter case"):
        read(folder)


def test_the_written_lines(tmp_path: Path) -> None:
    rows = [
        ((10.25, 20, 30, 40), 1, False, {"difficult": 1}),
        ((1, 2, 3, 4), 1, True, {"difficult": 2}),
        ((5, 6, 7, 8), 0, True, {}),
        ((0, 0, 9, 9), -1, True, {}),
    ]
    made = dataset_of(tmp_path / "from", "train", [rows], ("large vehicle", "ship"))
    place = written("dota", [made], tmp_path / "to")
    assert (tmp_path / "to/train/labelTxt/train0.txt").read_text() == (
        "10.25 20 30 20 30 40 10.25 40 ship 0\n1 2 3 2 3 4 1 4 ship 2\n5 6 7 6 7 8 5 8 large-vehicle 1\n"
    )
    assert (tmp_path / "to/classes.txt").read_text() == "large vehicle\nship\n"
    assert open_dataset(place, "train").annotations(0).attributes["difficult"].tolist() == [0, 2, 1]
    with pytest.raises(FineSpotError, match="the class names Car, car cannot be told apart"):
        written("dota", [dataset_of(tmp_path, "train", [[]], ("Car", "car"))], tmp_path / "bad")


def test_official_classes_need_no_list(tmp_path: Path) -> None:
    made = dataset_of(tmp_path / "from", "train", [[((1, 2, 3, 4), 15, False, {})]], DOTA_CLASSES["1.5"])
    place = written("dota,version=1.5", [made], tmp_path / "to")
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["train"]
    assert (tmp_path / "to/train/labelTxt-v1.5/train0.txt").is_file()
    assert open_dataset(place, "train").annotations(0).labels.tolist() == [15]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from((("ship", "storage tank", "Übergang:1"), DOTA_CLASSES["1.0"])))
def test_round_trip(data: st.DataObject, classes: tuple[str, ...]) -> None:
    made = data.draw(splits(len(classes)))
    for pictures in made.values():
        for rows in pictures:
            for number, (box, label, ignore, _) in enumerate(rows):
                rows[number] = (box, label, ignore, {"difficult": data.draw(st.integers(1, 2)) if ignore else 0})
    come_back("dota", made, classes)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60) | st.text("0123456789 .-:shipx\n\r", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("dota")
    save_picture(folder / "images/a.png")
    (folder / "labelTxt").mkdir()
    (folder / "labelTxt/a.txt").write_bytes(content + b"\n" + SHIP.encode())
    with contextlib.suppress(FineSpotError):
        assert len(read(folder).annotations(0)) >= 1


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the files may not be shipped")
@pytest.mark.parametrize(
    ("stem", "counts", "difficult"),
    [
        ("P0706", {"ship": 531, "harbor": 5}, 6),
        ("P1234", {"storage-tank": 110, "ship": 24, "bridge": 6, "harbor": 4}, 44),
        ("P1888", {"large-vehicle": 50, "small-vehicle": 14}, 0),
    ],
)
def test_published_files(tmp_path: Path, stem: str, counts: dict[str, int], difficult: int) -> None:
    picture = next(iter((SHARED / "images").glob(f"{stem}.*")), None)
    (tmp_path / "images").mkdir()
    if picture is None:
        save_picture(tmp_path / f"images/{stem}.png", (4100, 4100))
    else:
        (tmp_path / "images" / picture.name).symlink_to(picture)
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / f"labelTxt/{stem}.txt").symlink_to(SHARED / f"labelTxt/{stem}.txt")
    dataset = read(tmp_path)
    truth = dataset.annotations(0)
    assert Counter(dataset.classes[label] for label in truth.labels.tolist()) == counts
    assert int(truth.ignore.sum()) == difficult
