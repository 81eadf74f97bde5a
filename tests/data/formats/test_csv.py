"""Tables of boxes: with a header, without one, pictures without objects, classes, and the way back."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from round_trip import come_back, dataset_of, splits, written

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError

SHARED = Path(__file__).parents[4] / "shared" / "data" / "native-samples" / "voc-and-csv-trees"
HEADER = "image_path,xmin,ymin,xmax,ymax,label\n"

MakeCsv = Callable[..., Path]


@pytest.fixture
def make_csv(tmp_path: Path) -> MakeCsv:
    """Write tables (`files` maps names to text) with pictures (100 x 200)."""

    def make(pictures: Sequence[str] = ("a.png",), **files: str) -> Path:
        for number, name in enumerate(pictures):
            save_picture(tmp_path / name, seed=number)
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_bytes(text.encode())
        return tmp_path

    return make


def read(folder: Path, split: str = "all", options: str = "") -> Dataset:
    return open_dataset(f"csv{options}:{folder}", split)


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "a.png,10,20.5,30,40,Tree\n",
        "\ufeffimage_path,xmin,ymin,xmax,ymax,label\r\na.png,10.0,20.5,30,40,Tree",
        "label, ymax, xmax, ymin, xmin, image_path\nTree, 40, 30, 20.5, 10,a.png\n",
        "filename,class,x1,y1,x2,y2\n\na.png,Tree,10,20.5,30,40\n",
        'a.png,10,20.5,30,40,"Tree"\n',
    ],
    ids=["DeepForest", "byte order mark", "another order", "other names", "keras-retinanet"],
)
def test_with_and_without_header(make_csv: MakeCsv, text: str) -> None:
    dataset = read(make_csv(boxes=text))
    assert dataset.annotations(0).boxes.tolist() == [[10, 20.5, 30, 40]]
    assert dataset.classes.names == ("Tree",)
    assert dataset.notes == []


@pytest.mark.parametrize("row", ["b.png,,,,,", "b.png,0,0,0,0,Tree", "b.png,0.0,0,0,0,", "b.png, , , , ,Tree"])
@pytest.mark.parametrize("header", [HEADER, ""])
def test_pictures_without_objects(make_csv: MakeCsv, header: str, row: str) -> None:
    dataset = read(make_csv(("a.png", "b.png", "c.png"), boxes=f"{header}{row}\na.png,10,20,30,40,Tree\n"))
    assert [dataset.image_id(i) for i in range(len(dataset))] == ["a", "b"], "a picture that no row names is not taken"
    assert [len(dataset.annotations(i)) for i in range(2)] == [1, 0]
    assert dataset.notes == []


def test_rows_of_a_picture_may_be_scattered(make_csv: MakeCsv) -> None:
    rows = "b.png,1,1,5,5,x\na.png,1,1,5,5,x\nb.png,2,2,6,6,x\n"
    dataset = read(make_csv(("a.png", "b.png"), boxes=rows))
    assert [len(dataset.annotations(i)) for i in range(2)] == [1, 2]


def test_columns_that_are_not_read_are_told(make_csv: MakeCsv) -> None:
    text = "image_path,xmin,ymin,xmax,ymax,label,score,geometry\na.png,10,20,30,40,Tree,0.9,POLYGON\n"
    assert read(make_csv(boxes=text)).notes == ["columns that are not read: score, geometry"]


@pytest.mark.parametrize("name", ["images/a.png", "images/all/a.png", "elsewhere/deep/a.png", "a.jpg"])
def test_pictures_lie_beside_or_below(make_csv: MakeCsv, name: str) -> None:
    dataset = read(make_csv((name,), boxes="a.png,10,20,30,40,Tree\n"))
    assert len(dataset) == 1
    assert dataset.notes == (
        ["1 picture has another extension than the labels say (a.jpg for a.png)"] if name == "a.jpg" else []
    )


def test_splits_and_classes(make_csv: MakeCsv) -> None:
    folder = make_csv(val="a.png,10,20,30,40,car\n")
    assert dataset_splits(f"csv:{folder}") == ["val"]
    make_csv(train="a.png,10,20,30,40,bus\n")
    assert dataset_splits(f"csv:{folder}") == ["train", "val"]
    assert read(folder, "val").classes.names == ("bus", "car"), "those of all files, by name"
    make_csv(classes="car,0\nperson,2\nbus,1\n")
    assert dataset_splits(f"csv:{folder}") == ["train", "val"], "the list of classes is no split"
    assert read(folder, "val").classes.names == ("car", "bus", "person")
    make_csv(classes="car,0\n")
    with pytest.raises(FineSpotError, match=r"train\.csv:1: the class 'bus' is not in classes\.csv"):
        read(folder, "train")
    assert dataset_splits(f"csv:{folder / 'train.csv'}") == ["all"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car\n", r"classes\.csv:1: expected a row 'name,id'"),
        (",0\n", "expected a row 'name,id'"),
        ("car,x\n", "expected a number as id but got 'x'"),
        ("car,0\nbus,0\n", r"classes\.csv:2: expected each name and id once but got bus,0"),
        ("car,0\ncar,1\n", "expected each name and id once"),
        ("car,0\nbus,2\n", "expected the ids 0 to 1"),
        ("\n", "expected the ids 0 to 0"),
    ],
)
def test_faulty_lists_of_classes(make_csv: MakeCsv, text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read(make_csv(boxes="a.png,10,20,30,40,car\n", classes=text))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,10,20,30,40", "expected a header or the 6 columns .* but got 5"),
        ("a.png;10;20;30;40;car", "but got 1; separate the columns with commas"),
        ("a.png,10,20,30,40,car,0.9", "but got 7"),
        ("a.png,x,20,30,40,car", "expected a number as xmin but got 'x'"),
        ("a.png,10,,30,40,car", "expected a number as ymin but got ''"),
        ("a.png,10,20,nan,40,car", "expected a finite number as xmax"),
        ("a.png,30,20,10,40,car", "expected xmin <= xmax and ymin <= ymax but got 30,20,10,40"),
        ("a.png,10,20,30,40,", "expected a label"),
        (",10,20,30,40,car", "expected the path of a picture"),
        ("gone.png,10,20,30,40,car", r"the picture gone\.png does not exist"),
    ],
)
def test_faulty_rows(make_csv: MakeCsv, row: str, message: str) -> None:
    folder = make_csv(boxes=f"a.png,10,20,30,40,car\n\n{row}\n")
    with pytest.raises(FineSpotError, match=message) as caught:
        read(folder)
    assert "boxes.csv:3:" in str(caught.value)
    findings = Findings()
    assert len(open_dataset(f"csv:{folder}", "all", findings).annotations(0)) == 1
    assert findings.counts == {"missing" if row.startswith("gone") else "record": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_path,xmin,ymin,xmax,ymax\n", r"boxes\.csv:1: expected a column label in the header"),
        ("image_path,xmin,xmin,ymin,xmax,ymax,label\n", "expected each column once in the header"),
        (HEADER + "a.png,10,20,30\n", r"boxes\.csv:2: expected 6 columns or more but got 4"),
        ('a.png,10,20,30,40,"car\n', "the table cannot be read"),
        ('a.png,10,20,30,40,"ca"r\n', r"boxes\.csv:1: the table cannot be read"),
        (HEADER, "expected boxes with labels but there are none"),
        ("", "expected boxes with labels but there are none"),
    ],
)
def test_faulty_tables(make_csv: MakeCsv, text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read(make_csv(boxes=text))


def test_the_written_tables(tmp_path: Path) -> None:
    rows = [((10.25, 20, 30, 40), 1, False, {}), ((1, 2, 3, 4), 0, True, {}), ((0, 0, 9, 9), -1, True, {})]
    made = dataset_of(tmp_path / "from", "train", [rows, rows[1:], []], ("bus", 'ca"r, red'))
    written("csv", [made], tmp_path / "with")
    assert (tmp_path / "with/train.csv").read_text() == (
        f'{HEADER}images/train/train0.png,10.25,20,30,40,"ca""r, red"\n'
        "images/train/train1.png,0,0,0,0,bus\nimages/train/train2.png,0,0,0,0,bus\n"
    )
    written("csv,header=false", [made], tmp_path / "without")
    assert (tmp_path / "without/train.csv").read_text() == (
        'images/train/train0.png,10.25,20,30,40,"ca""r, red"\n'
        "images/train/train1.png,,,,,\nimages/train/train2.png,,,,,\n"
    )
    assert (tmp_path / "without/classes.csv").read_text() == 'bus,0\n"ca""r, red",1\n'
    with pytest.raises(FineSpotError, match="a split cannot be named classes"):
        written("csv", [dataset_of(tmp_path, "classes", [[]], ("a",))], tmp_path / "bad")
    with pytest.raises(FineSpotError, match="expected a class name that fits on a line"):
        written("csv", [dataset_of(tmp_path, "train", [[]], ("a ",))], tmp_path / "bad")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(splits(3), st.sampled_from(("csv", "csv,header=false")))
def test_round_trip(made: Any, spec: str) -> None:
    come_back(spec, made, ("no", "Größe, 1", '"x"'))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=80) | st.text('0123456789.,-"ax\n\r\0', max_size=80).map(str.encode), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, header: bool) -> None:
    folder = tmp_path_factory.mktemp("csv")
    save_picture(folder / "a.png")
    (folder / "x.csv").write_bytes(HEADER.encode() * header + content + b"\na.png,10,20,30,40,car\n")
    with contextlib.suppress(FineSpotError):
        assert len(read(folder)) >= 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="only where the sample lies")
def test_the_published_trees(tmp_path: Path) -> None:
    for name in ("OSBS_029.csv", "OSBS_029.png", "OSBS_029.xml"):
        shutil.copy(SHARED / name, tmp_path)
    dataset = read(tmp_path)
    truth = dataset.annotations(0)
    assert len(truth) == 61
    assert dataset.notes == ["1 picture has another extension than the labels say (OSBS_029.png for OSBS_029.tif)"]
    np.testing.assert_array_equal(truth.boxes[:2], [[203, 67, 227, 90], [256, 99, 288, 140]])
    other = open_dataset(f"voc,one_based=false:{tmp_path}", "all").annotations(0)
    np.testing.assert_array_equal(truth.boxes, other.boxes)
