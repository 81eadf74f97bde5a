"""VisDrone-DET: categories, scores, splits, what is refused, and the way back."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.builder import Builder
from finespot.data.findings import Findings
from finespot.data.formats.layout import Part, Writable
from finespot.data.formats.visdrone import NAMES, VisDrone
from finespot.errors import FineSpotError
from finespot.structures import Classes

SHARED = Path(__file__).parents[4] / "shared" / "data" / "native-samples"

MakeVisDrone = Callable[..., Path]


@pytest.fixture
def make_visdrone(tmp_path: Path) -> MakeVisDrone:
    """Write a split: `files` maps stems to annotation text (None: a picture alone)."""

    def make(
        files: dict[str, str | None], split: str = "train", year: int = 2019, size: tuple[int, int] = (100, 200)
    ) -> Path:
        folder = tmp_path / f"VisDrone{year}-DET-{split}"
        for number, (stem, text) in enumerate(files.items()):
            save_picture(folder / "images" / f"{stem}.jpg", size, number)
            if text is not None:
                (folder / "annotations").mkdir(exist_ok=True)
                (folder / "annotations" / f"{stem}.txt").write_bytes(text.encode())
        return tmp_path

    return make


def read(folder: Path, split: str = "train", others: str | None = None) -> Dataset:
    return open_dataset(f"visdrone{f',others={others}' if others else ''}:{folder}", split)


def test_rows_as_published(make_visdrone: MakeVisDrone) -> None:
    text = "963,638,75,53,1,10,0,1\r\n782,0,12,9,0,0,0,0,\r\n\r\n10,20,30,40,1,1,1,2"
    dataset = read(make_visdrone({"a": text}, size=(765, 1360)))
    truth = dataset.annotations(0)
    np.testing.assert_array_equal(truth.boxes, [[963, 638, 1038, 691], [782, 0, 794, 9], [10, 20, 40, 60]])
    assert truth.labels.tolist() == [9, -1, 0]
    assert truth.ignore.tolist() == [False, True, False]
    assert truth.attributes["truncation"].tolist() == [0, 0, 1]
    assert truth.attributes["occlusion"].tolist() == [1, 0, 2]
    assert dataset.classes.names[9] == "motor"
    assert dataset.classes.original_ids == tuple(range(1, 11)), "what the official program calls them"
    assert dataset.notes == []
    shares = [(963 + 75 / 2) / 1360, (638 + 53 / 2) / 765, 75 / 1360, 53 / 765]
    assert " ".join(f"{share:.6f}" for share in shares) == "0.735662 0.868627 0.055147 0.069281"


@pytest.mark.parametrize(
    ("category", "score", "others", "label", "ignore"),
    [
        (0, 0, "ignore", -1, True),
        (0, 1, "class", -1, True),
        (1, 1, "ignore", 0, False),
        (10, 0, "ignore", 9, True),
        (10, 0, "object", 9, True),
        (11, 0, "ignore", -1, True),
        (11, 1, "ignore", -1, True),
        (11, 1, "class", 10, False),
        (11, 0, "class", 10, True),
        (11, 0, "object", 10, False),
    ],
)
def test_categories_and_scores(
    make_visdrone: MakeVisDrone, category: int, score: int, others: str, label: int, ignore: bool
) -> None:
    truth = read(make_visdrone({"a": f"10,20,30,40,{score},{category},0,0"}), others=others).annotations(0)
    assert (truth.labels.tolist(), truth.ignore.tolist()) == ([label], [ignore])


def test_others(make_visdrone: MakeVisDrone) -> None:
    folder = make_visdrone({"a": "10,20,30,40,0,11,0,0\n10,20,31,40,0,11,0,0\n10,20,30,40,1,4,0,0"})
    region, dropped = read(folder), read(folder, others="drop")
    assert region.classes.names == dropped.classes.names == NAMES
    assert region.notes == ["2 objects of the category 'others' read as ignore regions"]
    assert dropped.notes == ["2 objects of the category 'others' left out"]
    assert dropped.annotations(0).labels.tolist() == [3]
    assert read(folder, others="class").classes.names == (*NAMES, "others")
    assert read(folder, others="object").notes == []
    with pytest.raises(FineSpotError, match="unknown value of the option others 'region'; did you mean"):
        read(folder, others="region")


def test_splits_in_official_order(make_visdrone: MakeVisDrone, tmp_path: Path) -> None:
    for split in ("val", "mine", "test-challenge", "train", "test-dev"):
        make_visdrone({split: "10,20,30,40,1,4,0,0" if split != "test-challenge" else None}, split)
    (tmp_path / "VisDrone2019-VID-val" / "images").mkdir(parents=True)
    (tmp_path / "VisDrone2019-DET-toolkit").mkdir()
    assert dataset_splits(f"visdrone:{tmp_path}") == ["train", "val", "test-dev", "test-challenge", "mine"]
    assert read(tmp_path, "test-dev").image_id(0) == "test-dev"
    inside = tmp_path / "VisDrone2019-DET-val"
    assert dataset_splits(f"visdrone:{inside}") == ["val"]
    assert read(inside, "val").image_id(0) == "val"
    inside.rename(tmp_path / "flights")
    assert dataset_splits(f"visdrone:{tmp_path / 'flights'}") == ["all"]
    with pytest.raises(FineSpotError, match="no split 'test'; it has train, test-dev"):
        read(tmp_path, "test")


def test_two_folders_of_one_split(make_visdrone: MakeVisDrone) -> None:
    make_visdrone({"a": ""})
    with pytest.raises(FineSpotError, match="one folder of the split 'train' but got VisDrone2018-DET-train and"):
        read(make_visdrone({"a": ""}, year=2018))


@pytest.mark.parametrize(
    ("folder", "message"),
    [("", "expected folders like VisDrone2019-DET-train with a folder 'images' in them"), ("x", "but there is none")],
)
def test_no_data_set(tmp_path: Path, folder: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        dataset_splits(f"visdrone:{tmp_path / folder}")


def test_challenge_has_no_truth(make_visdrone: MakeVisDrone) -> None:
    dataset = read(make_visdrone({"a": None, "b": None}, "test-challenge"), "test-challenge")
    assert (len(dataset), len(dataset.annotations(0))) == (2, 0)
    assert dataset.notes == [
        "test-challenge has no annotations: its pictures are read without truth and cannot be scored"
    ]
    with pytest.raises(FineSpotError, match=r"annotations: expected a folder with annotation files"):
        read(make_visdrone({"a": None}, "val"), "val")


def test_absent_label_files_and_labels_without_picture(make_visdrone: MakeVisDrone, tmp_path: Path) -> None:
    row = "10,20,30,40,1,4,0,0"
    assert read(make_visdrone({"a": row, "b": None})).notes == ["1 label file absent (read as background)"]
    make_visdrone({f"p{i}": None for i in range(20)})
    with pytest.raises(FineSpotError, match=r"b\.txt: 21 of 22 label files do not exist"):
        read(tmp_path)
    make_visdrone({"c": None}, "val")
    (tmp_path / "VisDrone2019-DET-val" / "annotations").mkdir()
    with pytest.raises(FineSpotError, match="1 of 1 label files do not exist"):
        read(tmp_path, "val")
    (tmp_path / "VisDrone2019-DET-train" / "annotations" / "lost.txt").write_text(row)
    with pytest.raises(FineSpotError, match=r"lost\.txt: the label file has no picture"):
        read(tmp_path)


def test_painted_copies_are_no_pictures_without_objects(make_visdrone: MakeVisDrone) -> None:
    row = "10,20,30,40,1,4,0,0"
    dataset = read(make_visdrone({"a": row, "a_masked": None, "b_masked": row}))
    assert [dataset.image_id(i) for i in range(len(dataset))] == ["a", "b_masked"]
    assert dataset.notes == ["1 painted copy of pictures (*_masked) left out"]


def test_pictures_of_one_scene_are_a_group(make_visdrone: MakeVisDrone) -> None:
    names = ["0000072_01234_d_0000003", "0000072_04488_d_0000015", "0000073_00000_d_0000001", "other"]
    dataset = read(make_visdrone(dict.fromkeys(names, "")))
    assert [dataset.group(i) for i in range(3)] == ["0000072", "0000072", "0000073"]
    assert dataset.group(3) == dataset.path(3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10,20,30,40,1,4,0", "expected 8 values with commas between (left,top,width,height,score,category,"),
        ("10,20,30,40,1,4,0,0,0", "but got 9"),
        ("10 20 30 40 1 4 0 0", "but got 1"),
        ("10,20,30,40,1,12,0,0", "expected a category from 0 to 11 but got 12"),
        ("10,20,30,40,1,-1,0,0", "expected a category from 0 to 11 but got -1"),
        ("10,20,30,40,0.97,4,-1,-1", "expected an integer as score but got '0.97'"),
        ("10,20,30,40,2,4,0,0", "expected a score of 0 or 1 but got 2"),
        ("10,20,-30,40,1,4,0,0", "expected a width and height of 0 or more but got -30 and 40"),
        ("10,20,nan,40,1,4,0,0", "expected a finite number as width but got 'nan'"),
        ("x,20,30,40,1,4,0,0", "expected a number as left but got 'x'"),
        ("10,20,30,40,1,car,0,0", "expected a number as category but got 'car'"),
    ],
)
def test_faulty_lines_name_file_and_line(make_visdrone: MakeVisDrone, line: str, message: str) -> None:
    folder = make_visdrone({"a": f"10,20,30,40,1,4,0,0\n\n{line}\n10,20,35.0,40,1.0,4,0,0\n"})
    with pytest.raises(FineSpotError) as caught:
        read(folder)
    assert message in str(caught.value)
    assert "annotations/a.txt:3:" in str(caught.value)
    findings = Findings()
    dataset = open_dataset(f"visdrone:{folder}", "train", findings)
    assert (len(dataset.annotations(0)), findings.counts) == (2, {"record": 1})


def test_clipping_and_empty_boxes_are_counted(make_visdrone: MakeVisDrone) -> None:
    dataset = read(make_visdrone({"a": "190,90,20,20,1,4,0,0\n10,10,0,5,1,4,0,0\n0,0,0,0,0,0,0,0\n"}))
    np.testing.assert_array_equal(dataset.annotations(0).boxes, [[190, 90, 200, 100]])
    assert dataset.notes == ["1 box reached over the edge and was clipped", "1 box without area was dropped"]


def write(root: Path, pictures: list[Path], rows: list[list[dict[str, Any]]], classes: tuple[str, ...]) -> Dataset:
    """Write a split `val` of these boxes, with its pictures."""
    builder = Builder("mine", "val", Classes(classes))
    for picture, boxes in zip(pictures, rows):
        builder.picture(str(picture), picture.stem)
        for box in boxes:
            builder.box(**box, where="x")
    source = builder.build()
    layout = VisDrone("class")
    assert isinstance(layout, Writable)
    layout.write(root, [Part("val", source, tuple(path.name for path in pictures))])
    for path in pictures:
        target = root / layout.picture("val", path.name)
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(path)
    return source


CLASSES = ("van", "others", "car")

boxes = st.builds(
    lambda x, y, w, h, label, ignore, truncation, occlusion: {
        "corners": (x, y, x + w, y + h),
        "label": label,
        "ignore": ignore or label < 0,
        "attributes": {"truncation": truncation, "occlusion": occlusion},
    },
    st.floats(0, 198),
    st.floats(0, 98),
    st.floats(0.01, 50),
    st.floats(0.01, 50),
    st.integers(-1, 2),
    st.booleans(),
    st.integers(0, 1),
    st.integers(0, 2),
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.lists(boxes, max_size=4), min_size=2, max_size=2))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[list[dict[str, Any]]]) -> None:
    root = tmp_path_factory.mktemp("visdrone")
    pictures = [save_picture(root / "source" / f"{stem}.jpg") for stem in "ab"]
    source = write(root / "out", pictures, rows, CLASSES)
    back = read(root / "out", "val", "class")
    assert [back.image_id(i) for i in range(2)] == ["a", "b"]
    for index in range(2):
        one, other = source.annotations(index), back.annotations(index)
        names = [back.classes[label] if label >= 0 else "" for label in other.labels]
        assert names == [CLASSES[label] if label >= 0 else "" for label in one.labels]
        np.testing.assert_allclose(other.boxes, one.boxes, atol=0.01)
        assert other.ignore.tolist() == one.ignore.tolist()
        for name in VisDrone.keeps.attributes if len(one) else ():
            assert other.attributes[name].tolist() == one.attributes[name].tolist()


def test_written_as_the_official_program_reads_it(tmp_path: Path) -> None:
    pictures = [save_picture(tmp_path / "source" / f"{stem}.jpg") for stem in "ab"]
    rows = [
        {"corners": (10, 20, 40, 60), "label": 2, "attributes": {"truncation": 1, "occlusion": 2}},
        {"corners": (0.5, 20, 40, 60.25), "label": 0, "ignore": True},
        {"corners": (0, 0, 200, 100), "label": -1, "ignore": True},
    ]
    write(tmp_path / "out", pictures, [rows, []], CLASSES)
    folder = tmp_path / "out" / "VisDrone2019-DET-val" / "annotations"
    assert (folder / "a.txt").read_text() == "10,20,30,40,1,4,1,2\n0.5,20,39.5,40.25,0,5,0,0\n0,0,200,100,0,0,0,0\n"
    assert (folder / "b.txt").read_text() == "0,0,0,0,0,0,0,0\n", "the program cannot read an empty file"
    dataset = read(tmp_path / "out", "val")
    assert (len(dataset.annotations(1)), dataset.notes) == (0, [])


def test_classes_without_a_category_are_not_written(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "source" / "a.jpg")
    with pytest.raises(FineSpotError, match="mine: expected classes of VisDrone but got 'lorry'; rename it"):
        write(tmp_path / "out", [picture], [[]], ("car", "lorry"))
    assert not (tmp_path / "out").exists()
    builder = Builder("mine", "val", Classes(("car", "others")))
    builder.picture(str(picture), "a")
    with pytest.raises(FineSpotError, match=r"mine: the class 'others' would be read back .* visdrone,others=class"):
        VisDrone().write(tmp_path / "out", [Part("val", builder.build(), ("a.jpg",))])


def test_unknown_truth_is_not_written_as_no_objects(make_visdrone: MakeVisDrone, tmp_path: Path) -> None:
    dataset = read(make_visdrone({"a": None}, "test-challenge"), "test-challenge")
    VisDrone().write(tmp_path / "out", [Part("test-challenge", dataset, ("a.jpg",))])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mutated_files_never_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "visdrone-fuzz"
    if not root.exists():
        save_picture(root / "images" / "a.png")
        (root / "annotations").mkdir()
    text = bytearray(b"63,38,75,53,1,10,0,1\r\n82,0,12,9,0,0,0,0,\r\n")
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    (root / "annotations" / "a.txt").write_bytes(bytes(text))
    with contextlib.suppress(FineSpotError):
        read(root, "all")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not here")
def test_published_file() -> None:
    truth = read(SHARED / "visdrone-det", "all").annotations(0)
    counts = Counter(truth.labels.tolist())
    assert counts == {-1: 7, 0: 49, 1: 100, 2: 8, 3: 17, 4: 4, 6: 5, 7: 5, 9: 17}
    assert truth.ignore.sum() == 7
    np.testing.assert_array_equal(truth.boxes[0], [963, 638, 1038, 691])
