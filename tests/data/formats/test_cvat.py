"""CVAT XML: boxes that are turned, other shapes, attributes, subsets, videos, and the way back."""

from __future__ import annotations

import contextlib
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

MakeCvat = Callable[..., Path]

BOX = '<box label="car" occluded="0" xtl="10" ytl="20" xbr="30" ybr="40" z_order="0"/>'


def meta(labels: Sequence[str] = ("person", "car"), holder: str = "task", more: str = "") -> str:
    listed = "".join(f"<label><name>{name}</name><attributes></attributes></label>" for name in labels)
    return f"<meta><{holder}>{more}<labels>{listed}</labels></{holder}></meta>"


def image(inner: str = BOX, name: str = "a.png", more: str = "", size: tuple[int, int] = (100, 200)) -> str:
    return f'<image id="0" name="{name}" {more} width="{size[1]}" height="{size[0]}">{inner}</image>'


@pytest.fixture
def make_cvat(tmp_path: Path) -> MakeCvat:
    """Write an XML file with pictures (100 x 200) in images/ beside it."""

    def make(
        *inner: str, head: str | None = None, file: str = "annotations.xml", pictures: Sequence[str] = ("a.png",)
    ) -> Path:
        for number, name in enumerate(pictures):
            save_picture((tmp_path / file).parent / "images" / name, seed=number)
        text = f"<annotations><version>1.1</version>{meta() if head is None else head}{''.join(inner)}</annotations>"
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def read(folder: Path, split: str = "all") -> Dataset:
    return open_dataset(f"cvat:{folder}", split)


@pytest.mark.parametrize(
    ("rotation", "box"),
    [
        ("0", (100, 150, 300, 250)),
        ("90", (150, 100, 250, 300)),
        ("180", (100, 150, 300, 250)),
        ("30", (88.3975, 106.6987, 311.6025, 293.3013)),
        ("330", (88.3975, 106.6987, 311.6025, 293.3013)),
    ],
)
def test_boxes_are_turned_about_their_center(
    make_cvat: MakeCvat, tmp_path: Path, rotation: str, box: tuple[float, ...]
) -> None:
    text = f'<box label="car" occluded="1" xtl="100" ytl="150" xbr="300" ybr="250" rotation="{rotation}"/>'
    folder = make_cvat(image(text, size=(400, 400)))
    save_picture(tmp_path / "images/a.png", (400, 400))
    truth = read(folder).annotations(0)
    np.testing.assert_allclose(truth.boxes, [box], atol=1e-4)
    assert truth.attributes["occluded"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ('<polygon label="car" points="10.5,20.0;30,25;15,40.25"/>', [10.5, 20, 30, 40.25]),
        ('<ellipse label="car" cx="50" cy="40" rx="20" ry="10"/>', [30, 30, 70, 50]),
        ('<ellipse label="car" cx="50" cy="40" rx="20" ry="10" rotation="90"/>', [40, 20, 60, 60]),
        ('<mask label="car" rle="1, 2" left="10" top="20" width="30" height="40"/>', [10, 20, 40, 60]),
        (
            '<cuboid label="car" xtl1="10" ytl1="20" xbl1="10" ybl1="40" xtr1="30" ytr1="20" xbr1="30" ybr1="40" '
            'xtl2="40" ytl2="15" xbl2="40" ybl2="35" xtr2="50" ytr2="15" xbr2="50" ybr2="35"/>',
            [10, 15, 50, 40],
        ),
    ],
)
def test_other_shapes_with_an_area(make_cvat: MakeCvat, text: str, box: list[float]) -> None:
    dataset = read(make_cvat(image(text)))
    np.testing.assert_allclose(dataset.annotations(0).boxes, [box], atol=1e-4)
    assert dataset.notes == []


def test_shapes_without_an_area_are_counted(make_cvat: MakeCvat) -> None:
    none = '<tag label="car"/><points label="car" points="1,2"/><polyline label="car" points="1,2;3,4"/>'
    dataset = read(make_cvat(image(none + BOX)))
    assert len(dataset.annotations(0)) == 1
    assert dataset.notes == ["3 shapes have no area and were left out (tags, points, lines, skeletons)"]


@pytest.mark.parametrize(
    ("name", "value", "ignore", "difficult"),
    [
        ("ignore", "true", True, 0),
        ("ignore", "True", True, 0),
        ("ignore", "false", False, 0),
        ("ignore", "", False, 0),
        ("ignore", "1", True, 0),
        ("difficult", "1", True, 1),
        ("difficult", "0", False, 0),
    ],
)
def test_attributes_that_ignore(make_cvat: MakeCvat, name: str, value: str, ignore: bool, difficult: int) -> None:
    text = BOX.replace("/>", f'><attribute name="{name}">{value}</attribute></box>')
    truth = read(make_cvat(image(text))).annotations(0)
    assert truth.ignore.tolist() == [ignore]
    assert truth.attributes["difficult"].tolist() == [difficult]


def test_other_attributes_are_told(make_cvat: MakeCvat) -> None:
    text = BOX.replace("/>", '><attribute name="color">red</attribute><attribute name="parked">true</attribute></box>')
    assert read(make_cvat(image(text))).notes == [
        "attributes other than ignore and difficult are not read (color, parked)"
    ]


@pytest.mark.parametrize("holder", ["task", "job", "project"])
def test_classes_stand_in_the_order_of_the_file(make_cvat: MakeCvat, holder: str) -> None:
    dataset = read(make_cvat(image(), head=meta(("zebra", "car", "ant"), holder)))
    assert dataset.classes.names == ("zebra", "car", "ant")
    assert dataset.annotations(0).labels.tolist() == [1]
    assert read(make_cvat(image(), head="")).classes.names == ("car",), "without meta data those that occur"


def test_parts_of_skeletons_are_no_classes(make_cvat: MakeCvat) -> None:
    head = (
        "<meta><task><labels><label><name>car</name></label>"
        "<label><name>wheel</name><parent>car</parent></label></labels></task></meta>"
    )
    assert read(make_cvat(image(), head=head)).classes.names == ("car",)


def test_pictures_keep_their_order_and_names_may_hold_folders(make_cvat: MakeCvat) -> None:
    folder = make_cvat(
        image(name="b/a.png"), image("", name="a\\a.png"), image("", name="other/c.jpg"),
        pictures=("b/a.png", "a/a.png", "c.png", "unlisted.png"),
    )  # fmt: skip
    dataset = read(folder)
    assert [str(Path(dataset.path(i)).relative_to(folder / "images")) for i in range(3)] == [
        "a/a.png",
        "b/a.png",
        "c.png",
    ]
    assert [len(dataset.annotations(i)) for i in range(3)] == [0, 1, 0]
    assert dataset.notes == ["1 picture has another extension than the labels say (c.png for c.jpg)"]


def test_lost_and_ambiguous_pictures(make_cvat: MakeCvat) -> None:
    with pytest.raises(FineSpotError, match=r"image 0 gone\.png: the picture gone\.png does not exist; looked below"):
        read(make_cvat(image(name="gone.png")))
    with pytest.raises(FineSpotError, match=r"the picture \(no name\) does not exist"):
        read(make_cvat(image(name="")))
    with pytest.raises(FineSpotError, match=r"a\.png is also the picture of another record"):
        read(make_cvat(image(), image(name="x/a.png")))
    with pytest.raises(FineSpotError, match=r"expected one picture called x/b\.png but got"):
        read(make_cvat(image(name="x/b.png"), pictures=("p/b.png", "q/b.png")))


def test_sizes_that_differ_are_told(make_cvat: MakeCvat) -> None:
    assert read(make_cvat(image(size=(100, 300)))).notes == [
        "1 picture has another size than annotations.xml says (a.png is 200x100, not 300x100); the picture files count"
    ]


def test_subsets_and_files_are_splits(make_cvat: MakeCvat, tmp_path: Path) -> None:
    subsets = [image(name="a.png", more='subset="Train"'), image("", name="b.png", more='subset="Validation"')]
    folder = make_cvat(*subsets, pictures=("Train/a.png", "Validation/b.png"))
    assert dataset_splits(f"cvat:{folder}") == ["Train", "Validation"]
    assert [len(read(folder, split)) for split in ("Train", "Validation")] == [1, 1]
    (tmp_path / "annotations.xml").unlink()
    make_cvat(image(), file="val/annotations.xml", head=meta(("car",)))
    make_cvat(image(), file="train/annotations.xml")
    assert dataset_splits(f"cvat:{folder}") == ["train", "val"]
    dataset = read(folder, "val")
    assert dataset.classes.names == ("person", "car")
    assert dataset.annotations(0).labels.tolist() == [1]
    assert dataset.notes == ["the XML files list different labels, or in another order; classes are those of all files"]
    assert dataset_splits(f"cvat:{folder / 'val' / 'annotations.xml'}") == ["all"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOX.replace('"car"', '"bus"'), r"image 0 a\.png: box 2: the label 'bus' is not among those of the file"),
        (BOX.replace('"10"', '"x"'), "box 2: expected a number as xtl but got 'x'"),
        (BOX.replace(' xtl="10"', ""), "box 2: expected a number as xtl but got ''"),
        (BOX.replace('"10"', '"31"'), "expected xtl <= xbr and ytl <= ybr but got 31, 20, 30, 40"),
        (BOX.replace('"10"', '"inf"'), "expected a finite number as xtl"),
        ('<polygon label="car" points="1,2;3,4"/>', "expected 3 or more points"),
        ('<polygon label="car" points="1,2;3,4;5"/>', "expected 3 or more points"),
        ('<ellipse label="car" cx="1" cy="1" rx="-1" ry="1"/>', "expected radii of 0 or more"),
        ('<blob label="car"/>', "unknown shape <blob>; there are box, polygon"),
    ],
)
def test_faulty_shapes(make_cvat: MakeCvat, text: str, message: str) -> None:
    folder = make_cvat(image(BOX + text))
    with pytest.raises(FineSpotError, match=message):
        read(folder)
    findings = Findings()
    assert len(open_dataset(f"cvat:{folder}", "all", findings).annotations(0)) == 1
    assert findings.counts == {"record": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations>", r"annotations\.xml:1: the XML cannot be read"),
        ("<other/>", "expected the root element <annotations> but got <other>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "expected XML without a document type"),
        ("<annotations/>", "expected labels in the meta data or of objects but got none"),
        ("<annotations><image/><track/></annotations>", "expected tracks or images but got both"),
    ],
)
def test_faulty_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(FineSpotError, match=message):
        read(tmp_path)


def track(*boxes: tuple[int, bool], number: int = 3, label: str = "car") -> str:
    shapes = "".join(BOX.replace('label="car"', f'frame="{frame}" outside="{int(gone)}"') for frame, gone in boxes)
    return f'<track id="{number}" label="{label}">{shapes}</track>'


def video(size: int = 3) -> str:
    return meta(more=f"<name>harbor</name><size>{size}</size><mode>interpolation</mode>")


@pytest.mark.parametrize(
    "names",
    [
        ("frame_000000.png", "frame_000001.png", "frame_000002.png"),
        ("frame_000000.png", "frame_000005.png", "frame_000010.png"),
        ("0001.png", "0002.png", "0003.png"),
        ("v8.png", "v9.png", "v10.png"),
    ],
    ids=["as exported", "every fifth", "counted from 1", "without zeros"],
)
def test_a_video(make_cvat: MakeCvat, names: tuple[str, ...]) -> None:
    folder = make_cvat(track((0, False), (1, False), (2, True)), head=video(), pictures=names)
    dataset = read(folder)
    objects = {Path(dataset.path(i)).name: len(dataset.annotations(i)) for i in range(3)}
    assert objects == dict(zip(names, (1, 1, 0))), "outside the frame is no object"
    assert {dataset.group(i) for i in range(3)} == {str(folder / "annotations.xml")}
    first = next(i for i in range(3) if Path(dataset.path(i)).name == names[0])
    assert dataset.annotations(first).attributes["target_id"].tolist() == [3]
    assert dataset.notes == []


def test_a_video_with_some_of_its_frames(make_cvat: MakeCvat, tmp_path: Path) -> None:
    folder = make_cvat(track((2, False)), head=video(9), pictures=("frame_000002.png", "frame_000004.png"))
    assert [len(read(folder).annotations(i)) for i in range(2)] == [1, 0]
    make_cvat(track((3, False)), head=video(9), pictures=())
    with pytest.raises(FineSpotError, match="track 3: box of frame 3: the frame 3 has no picture"):
        read(folder)
    save_picture(tmp_path / "images/7.png")
    with pytest.raises(FineSpotError, match="expected 9 frames but got 3 pictures; frames are taken in order"):
        read(folder)


def test_gaps_in_tracks_are_told(make_cvat: MakeCvat) -> None:
    names = [f"{number}.png" for number in range(6)]
    boxes = ((0, False), (3, False), (4, True), (5, False))
    assert read(make_cvat(track(*boxes), head=video(6), pictures=names)).notes == [
        "1 gap in a track: frames in between are read as without the object"
    ]


def test_a_job_counts_frames_from_its_own_start(make_cvat: MakeCvat) -> None:
    head = meta(holder="job", more="<size>2</size><start_frame>100</start_frame><mode>interpolation</mode>")
    folder = make_cvat(track((101, False)), head=head, pictures=("1.png", "2.png"))
    assert [len(read(folder).annotations(i)) for i in range(2)] == [0, 1]


@pytest.mark.parametrize("inside", [True, False], ids=["newer", "older"])
def test_frames_of_another_size_are_told(make_cvat: MakeCvat, inside: bool) -> None:
    size = "<original_size><width>400</width><height>200</height></original_size>"
    head = (
        meta(more=f"<size>1</size>{size}")
        if inside
        else meta(more="<size>1</size>").replace("</meta>", f"{size}</meta>")
    )
    assert read(make_cvat(track((0, False)), head=head)).notes == [
        "1 picture has another size than annotations.xml says (a.png is 200x100, not 400x200); the picture files count"
    ]


def test_a_video_exported_for_images(make_cvat: MakeCvat) -> None:
    folder = make_cvat(image(name="frame_000000"), head=video(1), pictures=("frame_000000.png",))
    assert read(folder).notes == []
    assert len(read(folder).annotations(0)) == 1


def test_tracks_of_several_tasks(make_cvat: MakeCvat) -> None:
    head = "<meta><project><tasks><task/><task/></tasks></project></meta>"
    with pytest.raises(FineSpotError, match="expected the tracks of one task but got those of several"):
        read(make_cvat(track((0, False)), head=head))


def test_the_written_file(tmp_path: Path) -> None:
    rows = [
        ((10.25, 20, 30, 40), 1, False, {"occluded": 1}),
        ((1, 2, 3, 4), 0, True, {}),
        ((0, 0, 9, 9), -1, True, {}),
    ]
    made = dataset_of(tmp_path / "from", "train", [rows, []], ("bus", "ignore-region"))
    written("cvat", [made], tmp_path / "to")
    text = (tmp_path / "to/train/annotations.xml").read_text()
    assert 'xtl="10.25" ytl="20" xbr="30" ybr="40"' in text
    assert '<box label="ignore-region" source="manual" occluded="1"' in text
    assert '<box label="ignore-region_" source="manual" occluded="0"' in text, "a class has the usual name"
    assert '<image id="1" name="train1.png" width="53" height="37">' in text
    for name in (" a", "a\x01", ""):
        with pytest.raises(FineSpotError, match="expected a name that XML can hold but got"):
            written("cvat", [dataset_of(tmp_path, "train", [[]], (name,))], tmp_path / "bad")


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(splits(3, ("occluded",)))
def test_round_trip(made: Any) -> None:
    come_back("cvat", made, ("no", "<&\"'>", "Größe\t1"))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_mutated_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("cvat")
    save_picture(folder / "images/a.png")
    inner = data.draw(st.sampled_from((image(), track((0, False)))))
    text = bytearray(f"<annotations>{meta(more='<size>1</size>')}{inner}</annotations>".encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    (folder / "annotations.xml").write_bytes(text)
    with contextlib.suppress(FineSpotError):
        assert len(read(folder)) <= 1
