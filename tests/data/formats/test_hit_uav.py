"""HIT-UAV in its four published layouts and in COCO layout."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from coco_sets import save_json
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.data.formats.hit_uav import LAYOUTS, frames_of
from finespot.errors import FineSpotError

OFFICIAL = Path(__file__).parent / "data" / "hit-uav"
SHARED = Path(__file__).parents[4] / "shared" / "data"
FULL, EMPTY = "1_60_50_0_00298", "1_130_60_0_10056"
SIZE = (512, 640)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The four layouts in one folder, as published, with two pictures."""
    for kind, pictures in (("normal", "val"), ("rotate", "images/val")):
        json, xml = tmp_path / f"{kind}_json", tmp_path / f"{kind}_xml"
        (json / "annotations").mkdir(parents=True)
        shutil.copy(OFFICIAL / f"{kind}_json.json", json / "annotations/val.json")
        shutil.copytree(OFFICIAL / f"{kind}_xml", xml / "Annotations")
        (xml / "ImageSets/Main").mkdir(parents=True)
        (xml / "ImageSets/Main/val.txt").write_text(f"{FULL}\r\n{EMPTY}")
        for stem in (FULL, EMPTY):
            save_picture(json / pictures / f"{stem}.jpg", SIZE)
            save_picture(xml / "JPEGImages" / f"{stem}.jpg", SIZE)
    save_json(tmp_path / "rotate_json/annotations/log.json", {"summary": {"Person": 7}})
    return tmp_path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inside", [False, True], ids=["by option", "by folder"])
def test_official_layouts_say_the_same(official: Path, layout: str, inside: bool) -> None:
    spec = f"hit-uav:{official / layout}" if inside else f"hit-uav,layout={layout}:{official}"
    assert dataset_splits(spec) == ["val"]
    dataset = open_dataset(spec, "val")
    assert dataset.notes == [f"HIT-UAV in its layout {layout}"]
    assert dataset.classes.names == ("Person", "Car", "Bicycle", "OtherVehicle")
    assert [Path(dataset.path(i)).stem for i in range(2)] == [EMPTY, FULL]
    assert [dataset.image_id(i) for i in range(2)] == ([2070, 2036] if "json" in layout else [EMPTY, FULL])
    assert [dataset.group(i) for i in range(2)] == ["1_130_60_0", "1_60_50_0"]
    assert len(dataset.annotations(0)) == 0
    truth = dataset.annotations(1)
    assert truth.labels.tolist() == [0] * 7 + [-1]
    assert truth.ignore.tolist() == [False] * 7 + [True]
    exact = layout.startswith("normal")
    np.testing.assert_allclose(truth.boxes[[0, 7]], [[60, 227, 77, 251], [591, 435, 625, 496]], atol=0 if exact else 1)
    flags = {
        "normal_json": {"crowd": 0},
        "rotate_json": {"crowd": 0, "difficult": 2},
        "normal_xml": {"difficult": 2, "truncated": 0},
        "rotate_xml": {"difficult": 2, "truncated": 0},
    }
    assert {name: int(column.sum()) for name, column in truth.attributes.items()} == flags[layout]


def test_without_a_choice_the_normal_json_is_read(official: Path) -> None:
    assert open_dataset(f"hit-uav:{official}", "val").notes == ["HIT-UAV in its layout normal_json"]
    shutil.rmtree(official / "normal_json")
    assert open_dataset(f"hit-uav:{official}", "val").notes == ["HIT-UAV in its layout normal_xml"]


def test_a_choice_must_be_one_and_be_there(official: Path) -> None:
    with pytest.raises(FineSpotError, match="unknown value of the option layout 'normal'; did you mean normal_"):
        open_dataset(f"hit-uav,layout=normal:{official}", "val")
    shutil.rmtree(official / "rotate_xml")
    with pytest.raises(FineSpotError, match="expected a folder rotate_xml but there is none"):
        open_dataset(f"hit-uav,layout=rotate_xml:{official}", "val")
    with pytest.raises(FineSpotError, match="no split 'train'; it has val"):
        open_dataset(f"hit-uav,layout=normal_xml:{official}", "train")
    with pytest.raises(FineSpotError, match="no split 'log'; it has val"):
        open_dataset(f"hit-uav,layout=rotate_json:{official}", "log")


OBJECT = (
    "<annotation><filename>other</filename><path>C:\\a\\b.jpg</path>"
    "<size><width>{size}</width><height>512</height></size><object><name>{name}</name><truncated>1</truncated>"
    "{box}</object></annotation>"
)
UPRIGHT = "<bndbox><ymax>136</ymax><xmin>198</xmin><ymin>105</ymin><xmax>233</xmax></bndbox>"
ROTATED = "<robndbox><cx>215.984</cx><cy>120.9863</cy><w>32.276</w><h>15.9103</h><angle>2.589049</angle></robndbox>"


def make_xml(folder: Path, box: str, name: str = "Car", size: int = 640) -> Path:
    save_picture(folder / "JPEGImages/0_100_30_0_03280.jpg", SIZE)
    for file, text in (
        ("Annotations/0_100_30_0_03280.xml", OBJECT.format(box=box, name=name, size=size)),
        ("ImageSets/Main/train.txt", "0_100_30_0_03280\n"),
    ):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("box", "corners"),
    [(UPRIGHT, (198, 105, 233, 136)), (ROTATED, (198.072, 105.745, 233.896, 136.228))],
    ids=["0-based, as they stand", "the envelope"],
)
def test_xml_boxes(tmp_path: Path, box: str, corners: tuple[float, ...]) -> None:
    dataset = open_dataset(f"hit-uav:{make_xml(tmp_path, box)}", "train")
    truth = dataset.annotations(0)
    np.testing.assert_allclose(truth.boxes, [corners], atol=1e-3)
    assert truth.labels.tolist() == [1]
    assert truth.attributes["truncated"].tolist() == [1]


def test_json_box_with_an_angle(tmp_path: Path) -> None:
    save_picture(tmp_path / "images/train/0_100_30_0_03280.jpg", SIZE)
    content = {
        "images": [{"id": 1, "filename": "0_100_30_0_03280.jpg", "width": 640, "height": 512}],
        "categories": [{"id": 1, "name": "Car"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [215.984, 120.9863, 32.276, 15.9103, 2.589049]}
        ],
    }
    file = save_json(tmp_path / "annotations/train.json", content)
    truth = open_dataset(f"hit-uav:{tmp_path}", "train").annotations(0)
    np.testing.assert_allclose(truth.boxes, [[198.072, 105.745, 233.896, 136.228]], atol=1e-3)
    content["annotations"][0]["bbox"] = [10, 10, -5, 5, 0]  # type: ignore[index]
    save_json(file, content)
    with pytest.raises(FineSpotError, match="annotation 1: expected a bbox with sides of 0 or more"):
        open_dataset(f"hit-uav:{tmp_path}", "train")


@pytest.mark.parametrize(
    ("box", "name", "message"),
    [
        (UPRIGHT.replace("198", "234"), "Car", r"object 1: expected corners in order but got \(234, 105\)"),
        (UPRIGHT.replace("198", "nan"), "Car", "object 1: expected a finite number as bndbox/xmin but got 'nan'"),
        (ROTATED.replace("32.276", "-1"), "Car", "object 1: expected sides of 0 or more but got -1"),
        (ROTATED.replace("cx", "dx"), "Car", "object 1: expected <robndbox/cx> in <object> but got none"),
        ("", "Car", "object 1: expected <robndbox/cx> in <object> but got none"),
        (UPRIGHT, "Cat", "object 1: unknown class 'Cat'; did you mean Car"),
        (UPRIGHT, "", "object 1: expected <name> in <object> but got none"),
    ],
)
def test_faulty_xml(tmp_path: Path, box: str, name: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"hit-uav:{make_xml(tmp_path, box, name)}", "train")
    findings = Findings()
    assert len(open_dataset(f"hit-uav:{tmp_path}", "train", findings)) == 1
    assert findings.counts == {"record": 1}


def test_xml_lists_and_sizes(tmp_path: Path) -> None:
    make_xml(tmp_path, UPRIGHT, size=641)
    notes = open_dataset(f"hit-uav:{tmp_path}", "train").notes
    assert notes == [
        "HIT-UAV in its layout normal_xml",
        "1 picture has another size than its XML file says (0_100_30_0_03280.jpg is 640x512, not 641x512); "
        "the picture files count",
    ]
    make_xml(tmp_path, UPRIGHT, size=0)
    assert len(open_dataset(f"hit-uav:{tmp_path}", "train").notes) == 1, "0 states nothing"
    listed = tmp_path / "ImageSets/Main/train.txt"
    for text, message in (("x", "train.txt:1: the picture x does not exist"), ("0_100_30_0_03280\n" * 2, "twice")):
        listed.write_text(text)
        with pytest.raises(FineSpotError, match=message):
            open_dataset(f"hit-uav:{tmp_path}", "train")
    listed.write_text("0_100_30_0_03280")
    (tmp_path / "Annotations/0_100_30_0_03280.xml").unlink()
    with pytest.raises(FineSpotError, match=r"03280\.xml: cannot be read"):
        open_dataset(f"hit-uav:{tmp_path}", "train")


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    box=st.sampled_from((UPRIGHT, ROTATED)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_xml_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, box: str, edits: list[tuple[float, bytes, int]]
) -> None:
    folder = make_xml(tmp_path_factory.getbasetemp() / "changed", box)
    file = folder / "Annotations/0_100_30_0_03280.xml"
    data = bytearray(file.read_bytes())
    for share, new, length in edits:
        place = int(share * len(data))
        data[place : place + length] = new
    file.write_bytes(bytes(data))
    for findings in (None, Findings()):
        with contextlib.suppress(FineSpotError):
            assert len(open_dataset(f"hit-uav:{folder}", "train", findings).annotations(0)) <= 1


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("0_100_30_0_03280.jpg", "0_100_30_0"),
        ("images\\train\\1_60_50_0_00298.jpg", "1_60_50_0"),
        ("sub/1_60_50_0_00298.jpg", "1_60_50_0"),
        ("frame_00298.jpg", None),
        ("1_60_50_0.jpg", None),
    ],
)
def test_groups(name: str, group: str | None) -> None:
    assert frames_of(name) == group


def test_coco_layout_says_so(samples: Path) -> None:
    dataset = open_dataset(f"hit-uav:{samples}", "train")
    assert dataset.notes == ["HIT-UAV in COCO layout"]
    assert dataset.group(0) == "0_120_90_0"


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "hit-uav").is_dir(), reason="the whole set is not here")
@pytest.mark.parametrize("kind", ["hit-uav", "coco"])
@pytest.mark.parametrize(
    ("split", "pictures", "objects", "regions"),
    [("train", 1043, [4357, 2667, 1734, 48], 53), ("val", 290, [1168, 719, 554, 12], 7)],
)
def test_counts_of_the_reduced_copy(kind: str, split: str, pictures: int, objects: list[int], regions: int) -> None:
    dataset = open_dataset(f"{kind}:{SHARED / 'hit-uav'}", split)
    labels = np.concatenate([dataset.annotations(i).labels for i in range(len(dataset))])
    assert len(dataset) == pictures
    assert np.bincount(labels[labels >= 0]).tolist() == objects
    assert (labels == -1).sum() == regions
