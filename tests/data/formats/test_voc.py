"""Pascal VOC XML: where corners lie, splits, classes, what is refused, and the way back."""

from __future__ import annotations

import contextlib
import csv
import math
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
from finespot.data.formats.voc import Voc
from finespot.errors import FineSpotError
from finespot.structures import Classes

SHARED = Path(__file__).parents[4] / "shared" / "data" / "native-samples"

MakeVoc = Callable[..., Path]


def obj(corners: tuple[float, ...] = (11, 21, 18, 28), name: str = "car", more: str = "") -> str:
    box = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners))
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def rotated(cx: float, cy: float, w: float, h: float, angle: float) -> str:
    box = f"<cx>{cx}</cx><cy>{cy}</cy><w>{w}</w><h>{h}</h><angle>{angle}</angle>"
    return f"<object><type>robndbox</type><name>car</name><robndbox>{box}</robndbox></object>"


def xml(*objects: str, head: str = "") -> str:
    return f"<annotation>{head}{''.join(objects)}</annotation>"


@pytest.fixture
def make_voc(tmp_path: Path) -> MakeVoc:
    """Write a VOC folder: `files` maps stems to XML text (None: a picture alone), `lists` names to stems."""

    def make(
        files: dict[str, str | None],
        lists: dict[str, str] | None = None,
        folder: str = "",
        size: tuple[int, int] = (100, 200),
    ) -> Path:
        root = tmp_path / folder
        for number, (stem, text) in enumerate(files.items()):
            save_picture(root / "JPEGImages" / f"{stem}.png", size, number)
            (root / "Annotations").mkdir(exist_ok=True)
            if text is not None:
                (root / "Annotations" / f"{stem}.xml").write_text(text)
        for name, text in (lists or {}).items():
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
        return tmp_path

    return make


def read(folder: Path, split: str = "all", option: str = "") -> Dataset:
    return open_dataset(f"voc{option}:{folder}", split)


@pytest.mark.parametrize(
    ("one_based", "corners", "box"),
    [
        ("true", (11, 21, 18, 28), [10, 20, 18, 28]),
        ("false", (198, 105, 233, 136), [198, 105, 233, 136]),
        ("false-inclusive", (10, 20, 17, 27), [10, 20, 18, 28]),
        ("true", (5, 5, 5, 5), [4, 4, 5, 5]),
        ("false", (1.25, 2.5, 7.75, 9), [1.25, 2.5, 7.75, 9]),
    ],
)
def test_where_corners_lie(make_voc: MakeVoc, one_based: str, corners: tuple[float, ...], box: list[float]) -> None:
    dataset = read(make_voc({"a": xml(obj(corners))}, size=(512, 640)), option=f",one_based={one_based}")
    np.testing.assert_array_equal(dataset.annotations(0).boxes, [box])
    assert dataset.notes == []


@pytest.mark.parametrize(
    ("boxes", "first", "note"),
    [
        ([(7, 9, 20, 30), (50, 0, 60, 9)], 7, "0-based (one_based=false): {b} begins at 0"),
        ([(7, 9, 200, 30), (0.4, 5, 60, 9)], 7, "0-based (one_based=false): {b} begins at 0.4"),
        ([(7, 9, 200, 30), (1, 5, 60, 9)], 6, "1-based (one_based=true): the smallest xmin is 1, and {a} ends at the"),
        ([(7, 9, 20, 100), (1, 5, 60, 9)], 6, "1-based (one_based=true): the smallest xmin is 1, and {a} ends at the"),
        ([(7, 9, 199, 30), (1, 5, 60, 9)], 7, "0-based (one_based=false): for want of a sign (the smallest xmin is 1)"),
        ([(7, 1, 200, 30), (2, 5, 60, 9)], 7, "0-based (one_based=false): for want of a sign (the smallest xmin is 2)"),
    ],
)
def test_signs_of_where_corners_lie_are_looked_for_in_all_splits(
    make_voc: MakeVoc, boxes: list[tuple[float, ...]], first: float, note: str
) -> None:
    files = {"a": xml(obj(boxes[0])), "b": xml(obj(boxes[1]))}
    folder = make_voc(files, {"train": "a", "val": "b"})
    dataset = read(folder, "train")
    assert dataset.annotations(0).boxes[0, 0] == first
    where = {stem: f"{folder / 'Annotations' / stem}.xml: object 1" for stem in "ab"}
    assert len(dataset.notes) == 1
    assert dataset.notes[0].startswith(f"corners read as {note.format(**where)}")
    assert read(folder, "val").notes == dataset.notes


def test_children_in_any_order_and_boxes_of_parts(make_voc: MakeVoc) -> None:
    part = "<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    box = "<bndbox><ymax>28</ymax><xmax> 18.0 </xmax><ymin>21</ymin><xmin>11</xmin></bndbox>"
    text = xml(f"<object>{part}<name> car </name>{box}</object>")
    dataset = read(make_voc({"a": text}), option=",one_based=true")
    np.testing.assert_array_equal(dataset.annotations(0).boxes, [[10, 20, 18, 28]])
    assert dataset.classes.names == ("car",)


def test_rotated_boxes_become_envelopes_and_are_never_shifted(make_voc: MakeVoc) -> None:
    text = xml(rotated(215.984, 120.9863, 32.276, 15.9103, 2.589049), rotated(50, 50, 20, 10, math.pi / 2))
    for option in ("", ",one_based=true"):
        dataset = read(make_voc({"a": text}, size=(512, 640)), option=option)
        expected = [[198.072, 105.745, 233.896, 136.228], [45, 40, 55, 60]]
        np.testing.assert_allclose(dataset.annotations(0).boxes, expected, atol=1e-3)
        assert dataset.notes == []


def test_flags_and_difficult_objects(make_voc: MakeVoc) -> None:
    more = "<truncated>1</truncated><occluded>1</occluded><difficult>2</difficult>"
    dataset = read(make_voc({"a": xml(obj(more=more), obj((0, 0, 9, 9)), obj(more="<difficult/>"))}))
    truth = dataset.annotations(0)
    assert truth.ignore.tolist() == [True, False, False]
    assert truth.labels.tolist() == [0, 0, 0], "the class stays: ignored for that class only"
    found = {name: column.tolist() for name, column in truth.attributes.items()}
    assert found == {"difficult": [2, 0, 0], "truncated": [1, 0, 0], "occluded": [1, 0, 0]}


def test_classes_are_sorted_names_of_all_splits(make_voc: MakeVoc) -> None:
    files = {"a": xml(obj(name="van")), "b": xml(obj(name="car")), "c": xml(obj(name="bus"))}
    folder = make_voc(files, {"train": "a\n", "val": "b\n"})
    for split, label in (("train", 2), ("val", 1)):
        dataset = read(folder, split)
        assert dataset.classes.names == ("bus", "car", "van"), "c.xml too, which is in no split"
        assert dataset.annotations(0).labels.tolist() == [label]


def test_lists_of_splits(make_voc: MakeVoc) -> None:
    lists = {
        "train": "b\r\na\r\n\r\n",
        "trainval": "a.png\nJPEGImages/c.png\na",
        "val": "c",
        "car_train": "a -1\nb  1\n",
        "car_val": "c  0\n",
    }
    folder = make_voc({"a": xml(obj()), "b": xml(), "c": None}, lists)
    assert dataset_splits(f"voc:{folder}") == ["train", "val", "trainval"]
    train, both = read(folder, "train"), read(folder, "trainval")
    assert [train.image_id(i) for i in range(len(train))] == ["a", "b"]
    assert [both.image_id(i) for i in range(len(both))] == ["a", "c"]
    assert both.notes[-2:] == ["1 picture is listed twice, read once", "1 label file absent (read as background)"]
    with pytest.raises(FineSpotError, match="no split 'test'; it has train, val, trainval"):
        read(folder, "test")


def test_listed_pictures_must_exist(make_voc: MakeVoc) -> None:
    folder = make_voc({"a": xml(obj())}, {"train": "a\n\nlost\n", "val": ""})
    with pytest.raises(FineSpotError, match=r"train\.txt:3: the picture lost does not exist"):
        read(folder, "train")
    with pytest.raises(FineSpotError, match=r"val\.txt: expected a list of pictures but it is empty"):
        read(folder, "val")


def test_lists_of_classes_alone_are_no_splits(make_voc: MakeVoc) -> None:
    with pytest.raises(FineSpotError, match=r"Main: expected lists of pictures"):
        read(make_voc({"a": xml(obj())}, {"car_train": "a -1\n"}), "car_train")


@pytest.mark.parametrize(
    "layout", ["{split}/JPEGImages|{split}/Annotations", "{split}|{split}", "images/{split}|annotations/{split}"]
)
def test_folders_as_splits(tmp_path: Path, layout: str) -> None:
    for split, name in (("train", "car"), ("val", "bus")):
        pictures, labels = (tmp_path / part for part in layout.format(split=split).split("|"))
        save_picture(pictures / "a.png")
        labels.mkdir(parents=True, exist_ok=True)
        (labels / "a.xml").write_text(xml(obj(name=name)))
    assert dataset_splits(f"voc:{tmp_path}") == ["train", "val"]
    dataset = read(tmp_path, "train")
    assert dataset.classes.names == ("bus", "car")
    assert dataset.annotations(0).labels.tolist() == [1]


def test_files_beside_the_pictures(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(xml(obj(), head="<filename>a.tif</filename>"))
    assert dataset_splits(f"voc:{tmp_path}") == ["all"]
    assert len(read(tmp_path).annotations(0)) == 1


def test_folder_above_is_refused_with_the_names_of_those_in_it(make_voc: MakeVoc) -> None:
    folder = make_voc({"a": xml(obj())}, {"train": "a"}, folder="VOC2007")
    with pytest.raises(FineSpotError, match="expected a folder with ImageSets in it; name one of VOC2007"):
        read(folder)


def test_stem_goes_before_filename(make_voc: MakeVoc) -> None:
    copied = "<filename>b.png</filename>"
    files = {"a": xml(obj((1, 1, 5, 5)), head=copied), "b": xml(obj((2, 2, 5, 5)), head=copied), "c": None}
    folder = make_voc(files)
    (folder / "Annotations" / "other.xml").write_text(xml(obj((3, 3, 5, 5)), head="<filename>D:\\x\\c</filename>"))
    dataset = read(folder, option=",one_based=false")
    assert [dataset.annotations(i).boxes[0, 0] for i in range(3)] == [1, 2, 3]
    assert dataset.image_id(2) == "c"
    assert dataset.notes == [
        "1 XML file was paired with the picture that <filename> names, having no picture of the same stem"
    ]
    (folder / "Annotations" / "more.xml").write_text(xml(obj(), head=copied))
    with pytest.raises(FineSpotError, match=r"more\.xml: the label file has no picture"):
        read(folder)


def test_list_names_the_label_of_a_picture_of_another_name(make_voc: MakeVoc) -> None:
    folder = make_voc({"c": None}, {"train": "other"})
    (folder / "Annotations" / "other.xml").write_text(xml(obj(), head="<filename>c.png</filename>"))
    dataset = read(folder, "train")
    assert (dataset.image_id(0), len(dataset.annotations(0))) == ("c", 1)


def test_nearly_all_labels_absent_is_an_error(make_voc: MakeVoc) -> None:
    files: dict[str, str | None] = {f"p{i}": None for i in range(11)}
    with pytest.raises(FineSpotError, match=r"p0\.xml: 11 of 12 label files do not exist"):
        read(make_voc({**files, "q": xml(obj())}))


def test_size_comes_from_the_picture(make_voc: MakeVoc) -> None:
    right, wrong, zero = (
        f"<size><width>{width}</width><height>{height}</height></size>"
        for width, height in ((200, 100), (100, 200), (0, 0))
    )
    files = {"a": xml(obj(), head=wrong), "b": xml(head=right), "c": xml(head=zero), "d": xml(head="<size/>")}
    findings = Findings()
    dataset = open_dataset(f"voc,one_based=false:{make_voc(files)}", "all", findings)
    assert dataset.notes == [
        "1 picture has another size than its XML file says (a.png is 200x100, not 100x200); the picture files count"
    ]
    assert [one.picture[-5:] for one in findings.of("size")] == ["a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xml(obj().replace("<name>car</name>", "")), "object 1: expected <name> in <object> but got none"),
        (xml(obj(), obj().replace("11", "x")), "object 2: expected a number as bndbox/xmin but got 'x'"),
        (xml(obj().replace("11", "nan")), "object 1: expected a finite number"),
        (xml(obj().replace("<ymax>28</ymax>", "")), "object 1: expected <bndbox/ymax> in <object> but got none"),
        (xml(obj((20, 5, 10, 9))), "object 1: expected xmin <= xmax and ymin <= ymax but got 20, 5, 10, 9"),
        (xml("<object><name>car</name></object>"), "object 1: expected <bndbox> or <robndbox>"),
        (xml(rotated(9, 9, 4, 2, 90)), "object 1: expected an angle in radians, at most a full turn, but got 90"),
        (xml(rotated(9, 9, -4, 2, 1)), "object 1: expected w and h of 0 or more but got -4 and 2"),
        (xml(obj(more="<difficult>maybe</difficult>")), "object 1: expected a number as difficult but got 'maybe'"),
        ("<annotations/>", "expected the root element <annotation> but got <annotations>"),
        ("<annotation>", "the XML cannot be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "expected XML without a document type"),
        (xml(), "expected at least one object, whose name is a class, but found none"),
    ],
)
def test_faulty_files_name_the_record(make_voc: MakeVoc, text: str, message: str) -> None:
    folder = make_voc({"a": text})
    with pytest.raises(FineSpotError) as caught:
        read(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_fault_in_another_split_is_refused_because_classes_come_from_all(make_voc: MakeVoc) -> None:
    folder = make_voc({"a": xml(obj()), "b": "<annotation>"}, {"train": "a", "val": "b"})
    with pytest.raises(FineSpotError, match=r"b\.xml:1: the XML cannot be read"):
        read(folder, "train")
    findings = Findings()
    assert len(open_dataset(f"voc:{folder}", "train", findings)) == 1
    assert len(findings) == 0, "it is noted where its own split is opened"
    open_dataset(f"voc:{folder}", "val", findings)
    assert [one.picture[-5:] for one in findings.of("record")] == ["b.png"]


def test_findings_take_the_place_of_errors(make_voc: MakeVoc) -> None:
    files = {"a": xml(obj((0, 5, 9, 9)), obj().replace("11", "x"), obj((190, 90, 210, 95))), "b": "no XML", "c": None}
    folder = make_voc(files)
    (folder / "Annotations" / "lost.xml").write_text(xml())
    findings = Findings()
    dataset = open_dataset(f"voc:{folder}", "all", findings)
    assert [len(dataset.annotations(i)) for i in range(3)] == [2, 0, 0]
    assert findings.counts == {"record": 2, "orphan": 1, "clipped": 1}


def test_unknown_option_values() -> None:
    with pytest.raises(FineSpotError, match="unknown value of the option one_based 'yes'"):
        Voc("yes")
    with pytest.raises(FineSpotError, match="unknown option of the format 'voc' 'one_base'; did you mean one_based"):
        open_dataset("voc,one_base=true:x", "all")


def write(root: Path, pictures: list[Path], rows: list[list[dict[str, Any]]], **options: str) -> Dataset:
    """Write a split `train` of these boxes and open it again."""
    builder = Builder("x", "train", Classes(("car", "Ümlaut & <b>", "van")))
    for picture, boxes in zip(pictures, rows):
        builder.picture(str(picture), picture.stem)
        for box in boxes:
            builder.box(**box, where="x")
    source = builder.build()
    layout = Voc(**options)
    assert isinstance(layout, Writable)
    names = tuple(path.name for path in pictures)
    layout.write(root, [Part("train", source, names)])
    for path in pictures:
        target = root / layout.picture("train", path.name)
        target.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            target.symlink_to(path)
    return source


def as_rows(dataset: Dataset) -> list[list[tuple[Any, ...]]]:
    found = []
    for index in range(len(dataset)):
        truth = dataset.annotations(index)
        attributes = [truth.attributes.get(name, [0] * len(truth)) for name in ("truncated", "occluded")]
        found.append(
            [
                (dataset.classes[label], bool(ignore), *map(int, more))
                for label, ignore, *more in zip(truth.labels.tolist(), truth.ignore.tolist(), *attributes)
            ]
        )
    return found


boxes = st.builds(
    lambda x, y, w, h, label, ignore, truncated, occluded: {
        "corners": (x, y, x + w, y + h),
        "label": label,
        "ignore": ignore,
        "attributes": {"truncated": truncated, "occluded": occluded, "difficult": 2 * ignore},
    },
    st.floats(0, 198),
    st.floats(0, 98),
    st.floats(0.01, 50),
    st.floats(0.01, 50),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 1),
    st.integers(0, 3),
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(boxes, max_size=4), min_size=2, max_size=2),
    one_based=st.sampled_from(["auto", "false", "false-inclusive"]),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[list[dict[str, Any]]], one_based: str) -> None:
    root = tmp_path_factory.mktemp("voc")
    pictures = [save_picture(root / "source" / f"{stem}.png") for stem in ("a", "b c")]
    source = write(root / "out", pictures, rows, one_based=one_based)
    if not any(rows):
        return
    back = read(root / "out", "train")
    assert [back.image_id(i) for i in range(2)] == ["a", "b c"]
    assert as_rows(back) == as_rows(source)
    for index in range(2):
        one, other = source.annotations(index), back.annotations(index)
        np.testing.assert_allclose(other.boxes, one.boxes, atol=0.01)
        if len(one):
            assert other.attributes["difficult"].tolist() == one.attributes["difficult"].tolist()


def test_written_is_voc_proper_and_says_so(tmp_path: Path) -> None:
    picture = save_picture(tmp_path / "source" / "a.png")
    rows = [
        {"corners": (10, 20, 18, 28), "label": 1, "ignore": True},
        {"corners": (0, 0, 50, 50), "label": -1, "ignore": True},
    ]
    write(tmp_path / "out", [picture], [rows])
    text = (tmp_path / "out" / "Annotations" / "a.xml").read_text(encoding="utf-8")
    assert "<name>Ümlaut &amp; &lt;b&gt;</name>" in text
    for tag, value in (("xmin", 11), ("ymin", 21), ("xmax", 18), ("ymax", 28), ("difficult", 1), ("depth", 1)):
        assert f"<{tag}>{value}</{tag}>" in text
    assert text.count("<object>") == 1, "a region without a class has no place here"
    assert (tmp_path / "out" / "ImageSets" / "Main" / "train.txt").read_text() == "a\n"
    dataset = read(tmp_path / "out", "train")
    assert dataset.notes == ["corners read as 1-based (one_based=true): as FineSpot wrote them"]
    np.testing.assert_array_equal(dataset.annotations(0).boxes, [[10, 20, 18, 28]])
    assert dataset.annotations(0).ignore.tolist() == [True]


def test_splits_share_a_folder_so_names_must_differ(make_yolo: Callable[..., Path], tmp_path: Path) -> None:
    train, other = (open_dataset(make_yolo({"a": "0 0.5 0.5 0.1 0.1"}), "train") for _ in range(2))
    Voc().write(tmp_path / "out", [Part("train", train, ("a.png",)), Part("trainval", other, ("a.png",))])
    moved = save_picture(tmp_path / "b" / "a.png")
    builder = Builder("x", "val", Classes(("car",)))
    builder.picture(str(moved), "a")
    with pytest.raises(FineSpotError, match="keeps all splits in one folder"):
        Voc().write(tmp_path / "out", [Part("train", train, ("a.png",)), Part("val", builder.build(), ("a.png",))])
    with pytest.raises(FineSpotError, match=r"a\.jpg and a\.png would share a label file"):
        Voc().write(tmp_path / "out", [Part("train", train, ("a.png", "a.jpg"))])
    with pytest.raises(FineSpotError, match="expected names of printable characters"):
        Voc().write(tmp_path / "out", [Part("train", train, ("a\n.png",))])


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mutated_files_never_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "voc-fuzz"
    if not root.exists():
        save_picture(root / "a.png")
    text = bytearray(
        xml(obj(), rotated(9, 9, 4, 2, 1), head="<size><width>200</width><height>100</height></size>").encode()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    (root / "a.xml").write_bytes(bytes(text))
    with contextlib.suppress(FineSpotError):
        read(root)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not here")
def test_published_trees() -> None:
    folder = SHARED / "voc-and-csv-trees"
    dataset = read(folder, option=",one_based=false")
    with (folder / "OSBS_029.csv").open() as file:
        expected = [[float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")] for row in csv.DictReader(file)]
    assert dataset.annotations(0).boxes.tolist() == expected
    assert len(expected) == 61
    assert "one_based=true" in read(folder).notes[0], "its corners reach from 1 to the width"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published files are not here")
def test_published_rotated_boxes_agree_with_upright_ones(tmp_path: Path) -> None:
    found = []
    for kind in ("normal_xml", "rotate_xml"):
        root = tmp_path / kind
        (root / "JPEGImages").mkdir(parents=True)
        (root / "Annotations").symlink_to(SHARED / "hit-uav-native" / kind)
        for file in (SHARED / "hit-uav-native" / kind).glob("*.xml"):
            picture = SHARED.parent / "hit-uav" / "images" / "val" / f"{file.stem}.jpg"
            (root / "JPEGImages" / picture.name).symlink_to(picture)
        found.append(read(root))
    upright, turned = found
    assert "one_based=false" in upright.notes[0]
    assert len(upright) == 8
    for index in range(8):
        one, other = upright.annotations(index), turned.annotations(index)
        assert one.labels.tolist() == other.labels.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1.01)
