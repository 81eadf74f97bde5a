"""LabelMe files: shapes, flags, pictures that are named badly, splits, and the way back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
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

MakeLabelMe = Callable[..., Path]


def shape(
    points: Any = ((10, 20), (30, 40)), label: str = "car", kind: str = "rectangle", **more: Any
) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


@pytest.fixture
def make_labelme(tmp_path: Path) -> MakeLabelMe:
    """Write pictures (100 x 200) with their files: `files` maps stems to shapes (None: no file)."""

    def make(files: dict[str, list[dict[str, Any]] | None], folder: str = "", **changes: Any) -> Path:
        for number, (stem, shapes) in enumerate(files.items()):
            save_picture(tmp_path / folder / f"{stem}.png", seed=number)
            if shapes is not None:
                content = {
                    "version": "5.5.0",
                    "flags": {},
                    "shapes": shapes,
                    "imagePath": f"{stem}.png",
                    "imageData": "QUJD" * 1000,
                    "imageHeight": 100,
                    "imageWidth": 200,
                }
                content.update(changes)
                (tmp_path / folder / f"{stem}.json").write_text(json.dumps(content))
        return tmp_path

    return make


def read(folder: Path, split: str = "all", options: str = "") -> Dataset:
    return open_dataset(f"labelme{options}:{folder}", split)


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("rectangle", [[30, 20], [10, 40]], [10, 20, 30, 40]),
        ("rectangle", [[10, 20], [30, 20], [30, 40], [10, 40]], [10, 20, 30, 40]),
        ("polygon", [[10.5, 20], [30, 25], [15, 40.25]], [10.5, 20, 30, 40.25]),
        (None, [[10, 20], [30, 20], [30, 40]], [10, 20, 30, 40]),
        ("circle", [[50, 50], [53, 54]], [45, 45, 55, 55]),
        ("rotation", [[50, 10], [70, 30], [50, 50], [30, 30]], [30, 10, 70, 50]),
        ("mask", [[10, 20], [29, 39]], [10, 20, 30, 40]),
    ],
)
def test_shapes_with_an_area(make_labelme: MakeLabelMe, kind: Any, points: list[Any], box: list[float]) -> None:
    dataset = read(make_labelme({"a": [shape(points, kind=kind)]}))
    assert dataset.annotations(0).boxes.tolist() == [box]
    assert dataset.notes == []


def test_shapes_without_an_area_are_counted(make_labelme: MakeLabelMe) -> None:
    none = [shape([[1, 2]] * count, "pole", kind) for kind, count in (("line", 2), ("linestrip", 3), ("point", 1))]
    dataset = read(make_labelme({"a": [*none, shape()]}))
    assert len(dataset.annotations(0)) == 1
    assert dataset.classes.names == ("car",)
    assert dataset.notes == ["3 lines and points have no area and were left out"]


def test_what_reaches_over_the_edge_is_clipped(make_labelme: MakeLabelMe) -> None:
    dataset = read(make_labelme({"a": [shape([[-5, -5], [20, 20]])]}))
    assert dataset.annotations(0).boxes.tolist() == [[0, 0, 20, 20]]
    assert dataset.notes == ["1 box reached over the edge and was clipped"]


@pytest.mark.parametrize(
    ("more", "label", "ignore", "difficult"),
    [
        ({"flags": {"ignore": False, "difficult": False}}, 0, False, 0),
        ({"flags": None}, 0, False, 0),
        ({"flags": {"ignore": True}}, 0, True, 0),
        ({"flags": {"difficult": True}}, 0, True, 1),
        ({"difficult": True}, 0, True, 1),
        ({"flags": {"any_class": True, "ignore": True}}, -1, True, 0),
    ],
)
def test_flags(make_labelme: MakeLabelMe, more: dict[str, Any], label: int, ignore: bool, difficult: int) -> None:
    truth = read(make_labelme({"a": [shape(), shape(**more)]})).annotations(0)
    assert (truth.labels[1], truth.ignore[1]) == (label, ignore)
    assert truth.attributes.get("difficult", np.zeros(2))[1] == difficult


def test_shapes_of_a_group_are_merged_on_request(make_labelme: MakeLabelMe) -> None:
    parts = [
        shape([[10, 20], [20, 30]], group_id=1),
        shape([[50, 20], [60, 40]], group_id=1),
        shape([[50, 20], [60, 40]], "bus", group_id=1),
        shape([[1, 1], [5, 5]]),
    ]
    folder = make_labelme({"a": parts})
    assert len(read(folder).annotations(0)) == 4
    dataset = read(folder, options=",merge=true")
    assert dataset.annotations(0).boxes.tolist() == [[10, 20, 60, 40], [50, 20, 60, 40], [1, 1, 5, 5]]
    assert dataset.notes == ["1 shape was merged into another of its group"]
    with pytest.raises(FineSpotError, match="unknown value of the option merge 'yes'"):
        read(folder, options=",merge=yes")


@pytest.mark.parametrize(
    "path", ["a.png", "..\\flight\\a.png", "C:\\Users\\me\\a.png", "/home/me/a.png", "a.jpg", "", None], ids=str
)
def test_pictures_are_found_however_they_are_named(make_labelme: MakeLabelMe, path: str | None) -> None:
    folder = make_labelme({"a": [shape()], "b": []}, "flight")
    content = json.loads((folder / "flight/a.json").read_text())
    (folder / "flight/a.json").write_text(json.dumps({**content, "imagePath": path}))
    dataset = read(folder)
    assert [Path(dataset.path(i)).name for i in range(2)] == ["a.png", "b.png"]
    assert [len(dataset.annotations(i)) for i in range(2)] == [1, 0]


def test_pictures_in_a_folder_beside(make_labelme: MakeLabelMe, tmp_path: Path) -> None:
    save_picture(tmp_path / "pictures/a.png")
    (tmp_path / "labels").mkdir()
    content = {"shapes": [shape()], "imagePath": "../pictures/a.png"}
    (tmp_path / "labels/a.json").write_text(json.dumps(content))
    dataset = read(tmp_path / "labels")
    assert dataset.path(0) == str(tmp_path / "pictures/a.png")


def test_two_files_of_one_picture(make_labelme: MakeLabelMe) -> None:
    with pytest.raises(FineSpotError, match=r"b\.json: .*a\.png is also the picture of .*a\.json"):
        read(make_labelme({"a": [shape()], "b": [shape()]}, imagePath="a.png"))


def test_background_and_lost_pictures(make_labelme: MakeLabelMe) -> None:
    folder = make_labelme({"a": [shape()], "b": None, "c": []})
    dataset = read(folder)
    assert [len(dataset.annotations(i)) for i in range(3)] == [1, 0, 0]
    assert dataset.notes == ["1 label file absent (read as background)"]
    (folder / "a.png").unlink()
    with pytest.raises(FineSpotError, match=r"a\.json: the label file has no picture; looked for a\.png in"):
        read(folder)
    with pytest.raises(FineSpotError, match="13 of 14 label files do not exist"):
        read(make_labelme({"a": [shape()], "c": None, **{f"n{i}": None for i in range(12)}}, "flat") / "flat")


def test_sizes_that_differ_are_told(make_labelme: MakeLabelMe) -> None:
    dataset = read(make_labelme({"a": [shape()]}, imageWidth=400))
    assert dataset.notes == [
        "1 picture has another size than the JSON file says (a.png is 200x100, not 400x100); the picture files count"
    ]


def test_splits(make_labelme: MakeLabelMe) -> None:
    folder = make_labelme({"a": [shape(label="car")]}, "train/flight1")
    assert dataset_splits(f"labelme:{folder}") == ["train"]
    make_labelme({"b": [shape(label="bus")]}, "val")
    make_labelme({"c": None}, "pictures")
    assert dataset_splits(f"labelme:{folder}") == ["train", "val"]
    assert read(folder, "train").classes.names == ("bus", "car"), "ids do not depend on the split"
    assert dataset_splits(f"labelme:{folder / 'train'}") == ["all"]
    with pytest.raises(FineSpotError, match="no split 'test'; it has train, val"):
        read(folder, "test")
    with pytest.raises(FineSpotError, match=r"expected a folder with \.json files but there is none below it"):
        read(folder / "pictures")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shape([[1, 2]]), "a.json: shape 2: expected 2 points of a rectangle but got 1"),
        (shape([[1, 2], [3, 4]], kind="polygon"), "expected 3 points of a polygon but got 2"),
        (shape([[1, 2], [3, 4], [5, 6]], kind="circle"), "expected 2 points of a circle but got 3"),
        (shape(kind="blob"), "unknown shape_type 'blob'; did you mean"),
        (shape(points=None), "a.json: shape 2: the shape cannot be read"),
        (shape(points=[[1, 2, 3], [4, 5, 6]]), "the shape cannot be read"),
        (shape(points=[["1", 2], [3, 4]]), "the shape cannot be read"),
        ({"points": [[1, 2], [3, 4]]}, "the shape cannot be read .*`label`"),
        (3, "the shape cannot be read"),
    ],
)
def test_faulty_shapes(make_labelme: MakeLabelMe, broken: Any, message: str) -> None:
    folder = make_labelme({"a": [shape(), broken, shape([[5, 5], [9, 9]])]})
    with pytest.raises(FineSpotError, match=message):
        read(folder)
    findings = Findings()
    dataset = open_dataset(f"labelme:{folder}", "all", findings)
    assert len(dataset.annotations(0)) == 2
    assert findings.counts == {"record": 1}
    assert Path(findings.of("record")[0].picture).name == "a.png"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shapes": 3}', '{"images": []}', '{"shapes": [' * 2000])
def test_files_of_another_kind(make_labelme: MakeLabelMe, text: str) -> None:
    folder = make_labelme({"a": [shape()], "b": []})
    (folder / "b.json").write_text(text)
    with pytest.raises(FineSpotError, match=r"b\.json.*the JSON cannot be read"):
        read(folder)
    findings = Findings()
    dataset = open_dataset(f"labelme:{folder}", "all", findings)
    assert [len(dataset.annotations(i)) for i in range(len(dataset))] == [1, 0]
    assert findings.counts == {"record": 1}


def test_a_folder_without_any_shape(make_labelme: MakeLabelMe) -> None:
    with pytest.raises(FineSpotError, match="there is no shape with an area"):
        read(make_labelme({"a": [], "b": []}))


def test_the_written_file(tmp_path: Path) -> None:
    rows = [((10.25, 20, 30, 40), 1, False, {}), ((1, 2, 3, 4), 0, True, {}), ((0, 0, 9, 9), -1, True, {})]
    made = dataset_of(tmp_path / "from", "train", [rows], ("bus", "car"))
    written("labelme", [made], tmp_path / "to")
    content = json.loads((tmp_path / "to/train/train0.json").read_text())
    assert (content["imagePath"], content["imageData"]) == ("train0.png", None)
    assert (content["imageHeight"], content["imageWidth"]) == (100, 200)
    assert [one["label"] for one in content["shapes"]] == ["car", "bus", "ignore"]
    assert content["shapes"][0]["points"] == [[10.25, 20.0], [30.0, 40.0]]
    assert [one["flags"] for one in content["shapes"]] == [{}, {"ignore": True}, {"any_class": True, "ignore": True}]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(splits(3))
def test_round_trip(made: Any) -> None:
    for pictures in made.values():  # classes are the names that occur
        pictures[0].append(((1, 1, 5, 5), 0, False, {}))
    come_back("labelme", made, ("no", "ignore", "Größe"), classes_stay=False)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_mutated_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("labelme")
    save_picture(folder / "a.png")
    text = bytearray(json.dumps({"shapes": [shape(), shape(kind="circle")], "imagePath": "a.png"}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.json").write_bytes(text)
    with contextlib.suppress(FineSpotError):
        assert len(read(folder)) == 1
