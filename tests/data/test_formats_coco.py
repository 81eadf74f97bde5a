"""COCO files: ids, ignore flags, areas, and what is refused."""

from __future__ import annotations

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_factory import MakeCoco, save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import dataset_splits, open_dataset
from finespot.errors import FineSpotError


def box(
    number: int, image: object = 3, category: object = 4, bbox: tuple[Any, ...] = (10, 20, 30, 40), **more: Any
) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox), **more}


def test_ids_order_and_background_pictures(make_coco: MakeCoco) -> None:
    folder = make_coco([box(5), box(2, category=9, bbox=(1.5, 2.25, 3, 4), area=7.5)])
    dataset = open_dataset(f"coco:{folder}", "train")
    assert dataset.classes.names == ("person", "car")
    assert dataset.classes.original_ids == (4, 9)
    assert [dataset.image_id(i) for i in range(2)] == [3, 7], "sorted by path, not by id"
    truth = dataset.annotations(0)
    np.testing.assert_array_equal(truth.boxes, [[10, 20, 40, 60], [1.5, 2.25, 4.5, 6.25]])
    assert truth.labels.tolist() == [0, 1]
    assert truth.area.tolist() == [1200, 7.5]
    assert truth.ids.tolist() == [5, 2]
    assert len(dataset.annotations(1)) == 0
    assert dataset.notes == []


def test_either_flag_makes_an_ignore_region(make_coco: MakeCoco) -> None:
    folder = make_coco([box(1, iscrowd=1), box(2, ignore=1), box(3, iscrowd=0, ignore=0), box(4, difficult=True)])
    dataset = open_dataset(f"coco:{folder}", "train")
    truth = dataset.annotations(0)
    assert dataset.notes[0] == (
        "1 annotation with ignore but no iscrowd: left out in val and training; "
        "the official COCO program counts them as objects"
    )
    assert truth.ignore.tolist() == [True, True, False, False]
    assert truth.labels.tolist() == [0] * 4, "the class stays: ignored for that class only"
    assert truth.attributes["crowd"].tolist() == [1, 0, 0, 0]
    assert truth.attributes["difficult"].tolist() == [0, 0, 0, 1]


def test_polygons_stand_in_for_a_missing_box(make_coco: MakeCoco) -> None:
    record = box(1, segmentation=[[10, 5, 30, 5, 20, 40], [50, 6, 60, 6, 60, 7]])
    del record["bbox"]
    truth = open_dataset(f"coco:{make_coco([record])}", "train").annotations(0)
    np.testing.assert_array_equal(truth.boxes, [[10, 5, 60, 40]])


def test_clipping_and_empty_boxes_are_counted(make_coco: MakeCoco) -> None:
    folder = make_coco([box(1, bbox=(190, 90, 20, 20)), box(2, bbox=(10, 10, 0, 5)), box(3, bbox=(0, 0, 1, 1))])
    dataset = open_dataset(f"coco:{folder}", "train")
    np.testing.assert_array_equal(dataset.annotations(0).boxes, [[190, 90, 200, 100], [0, 0, 1, 1]])
    assert len(dataset.notes) == 2


def test_size_comes_from_the_picture(make_coco: MakeCoco) -> None:
    images = [{"id": 3, "file_name": "a.png", "width": 100, "height": 200}]
    dataset = open_dataset(f"coco:{make_coco([box(1)], images=images)}", "train")
    assert dataset.annotations(0).size == (100, 200)
    assert dataset.notes == [
        "1 picture has another size than train.json says (a.png is 200x100, not 100x200); the picture files count"
    ]


def test_missing_annotations_and_string_ids(make_coco: MakeCoco) -> None:
    images = [{"id": "a", "file_name": "a.png"}, {"id": 1, "file_name": "train/b.png"}]
    dataset = open_dataset(f"coco:{make_coco([], images=images, annotations=None)}", "train")
    assert [dataset.image_id(i) for i in range(2)] == ["a", 1]
    assert "no annotations" in dataset.notes[0]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([box(1), box(1)], "annotation 1: the id occurs more than once"),
        ([box(8, image=99)], "annotation 8: no image has the id 99"),
        ([box(8, image="3")], "annotation 8: no image has the id '3'"),
        ([box(8, category=1)], "annotation 8: no category has the id 1; there are 4, 9"),
        ([box(8, bbox=(1, 2, -3, 4))], "annotation 8: expected a bbox with sides of 0 or more"),
        ([box(8, bbox=(1, 2, 3))], r"annotation 8: expected a bbox \[x, y, width, height\]"),
        ([box(8, bbox=(1, 2, "3", 4))], "annotation 8: expected a finite number as coordinate"),
        ([box(8, area=-1)], "annotation 8: expected an area"),
        ([box(8, bbox=(1e400, 2, 3, 4))], "cannot be read"),
        ([box(8, image=[3])], r"annotation 8: no image has the id \[3\]"),
        ([box(8, image=True)], "annotation 8: no image has the id True"),
        ([box(8, category={"id": 4})], "annotation 8: no category has the id"),
        ([box(8, bbox=(1e300, 2, 3, 4))], "annotation 8: expected coordinates of at most 16777216 px but got 1e.300"),
        ([box(8, bbox=(10**400, 2, 3, 4))], "annotation 8: expected a finite number as coordinate of bbox"),
        ([box(8, bbox=(True, 2, 3, 4))], "annotation 8: expected a finite number as coordinate of bbox but got True"),
        ([box(8, area="7")], "annotation 8: expected a finite number as area"),
        ([box(8, iscrowd=[])], "annotation 8: expected an integer as iscrowd"),
        ([box(8, truncated=0.3)], "annotation 8: expected an integer as truncated but got 0.3"),
        (
            [{"id": 8, "image_id": 3, "category_id": 4, "segmentation": [1, 2, 3, 4, 5, 6]}],
            "8: expected a list of poly",
        ),
        ([box(2**70)], "annotation number 1: expected an integer of at most 2..62 as id"),
        ([{"image_id": 3}], "annotation number 1"),
        ([box("x")], "annotation number 1: expected an integer as id"),  # type: ignore[arg-type]
    ],
)
def test_faulty_annotations(make_coco: MakeCoco, records: list[dict[str, Any]], message: str) -> None:
    folder = make_coco(records)
    with pytest.raises(FineSpotError, match=message) as caught:
        open_dataset(f"coco:{folder}", "train")
    assert "train.json" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 3, "file_name": "gone.png"}]}, r"image 3: the picture gone\.png does not exist"),
        ({"images": [{"id": 3}]}, "image 3: expected a file_name"),
        ({"images": [{"id": 3, "file_name": "a.png"}] * 2}, "image 3: the id occurs more than once"),
        ({"categories": []}, "at least one category"),
        ({"categories": [{"id": 4, "name": "a"}] * 2}, "category 4: the id occurs more than once"),
        ({"categories": [{"id": 4}]}, "category 4: expected a name"),
        ({"categories": [{"id": 4, "name": ["a"]}]}, "category 4: expected a name"),
        ({"categories": [{"id": 4, "name": "a"}, {"id": 5, "name": "a"}]}, "train.json: class names must differ"),
        ({"images": [{"id": 3, "file_name": "a.png", "width": "w"}]}, "image 3: expected a finite number as width"),
        ({"categories": None}, "expected a COCO file"),
    ],
)
def test_faulty_files(make_coco: MakeCoco, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        open_dataset(f"coco:{make_coco([], **changes)}", "train")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.integers(-3, 10)
    | st.text(max_size=3)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [("images",), ("categories",), ("annotations",)]
    + [("images", 0), ("categories", 0), ("annotations", 0), ("annotations", 1)]
    + [("images", 0, key) for key in ("id", "file_name", "width", "height")]
    + [("categories", 0, key) for key in ("id", "name")]
    + [("annotations", 0, key) for key in ("id", "image_id", "category_id", "area", "iscrowd", "ignore")]
    + [("annotations", 0, key) for key in ("bbox", "segmentation", "dontcare", "region_id", "difficult")]
    + [("annotations", 0, "bbox", 2), ("annotations", 1, "segmentation", 0), ("annotations", 1, "segmentation", 0, 1)]
)


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    save_picture(folder / "images/train/a.png", (20, 20))
    (folder / "annotations").mkdir()
    return folder


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(place=PLACES, value=VALUES)
def test_whatever_stands_in_a_field_is_read_or_refused(
    fuzz_folder: Path, place: tuple[Any, ...], value: object
) -> None:
    polygon = {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "difficult": 1}
    content: Any = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [box(1, 1, 1, (2, 3, 4, 5), dontcare=1, region_id=1, iscrowd=0, area=20), polygon],
    }
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (fuzz_folder / "annotations/train.json").write_text(json.dumps(content))
    for kind in ("coco", "hit-uav"):
        with warnings.catch_warnings(), contextlib.suppress(FineSpotError):
            warnings.simplefilter("error")
            dataset = open_dataset(f"{kind}:{fuzz_folder}", "train")
            assert [len(dataset.annotations(i)) <= 2 for i in range(len(dataset))] == [True] * len(dataset)


def test_malformed_json_names_the_line(make_coco: MakeCoco, tmp_path: Path) -> None:
    folder = make_coco([])
    file = tmp_path / "annotations/train.json"
    lines = file.read_text().splitlines()
    lines[4] += "]"
    file.write_text("\n".join(lines))
    with pytest.raises(FineSpotError, match=r"train\.json:[56]: the JSON cannot be read"):
        open_dataset(f"coco:{folder}", "train")


def test_official_file_names_and_splits(make_coco: MakeCoco, tmp_path: Path) -> None:
    folder = make_coco([box(1)])
    (tmp_path / "annotations/train.json").rename(tmp_path / "annotations/instances_train2017.json")
    (tmp_path / "images/train").rename(tmp_path / "train2017")
    assert dataset_splits(f"coco:{folder}") == ["train2017"]
    assert len(open_dataset(f"coco:{folder}", "train2017")) == 2
    with pytest.raises(FineSpotError, match="no split 'val'; it has train2017"):
        open_dataset(f"coco:{folder}", "val")


def test_coco_file_under_a_data_yaml(make_coco: MakeCoco, tmp_path: Path) -> None:
    make_coco([box(1), box(2, category=9)])
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: annotations/train.json\nnames: [car, person]\n")
    dataset = open_dataset(yaml, "train")
    assert dataset.classes.names == ("car", "person"), "the YAML orders the classes"
    assert dataset.classes.original_ids == (9, 4)
    assert dataset.annotations(0).labels.tolist() == [1, 0]
    yaml.write_text("train: annotations/train.json\nnames: [car, people]\n")
    with pytest.raises(FineSpotError, match=r"the data YAML \(car, people\) but got person, car"):
        open_dataset(yaml, "train")


def region(number: int, category: int, **more: Any) -> dict[str, Any]:
    return box(number, category=category, iscrowd=1, ignore=1, dontcare=1, region_id=1, **more)


def test_hit_uav_folds_class_free_regions(make_coco: MakeCoco) -> None:
    records = [box(1), region(2, 4), region(3, 9), {**region(4, 4), "image_id": 7}, {**region(5, 9), "image_id": 7}]
    folder = make_coco(records)
    truth = open_dataset(f"hit-uav:{folder}", "train").annotations(0)
    assert truth.labels.tolist() == [0, -1]
    assert truth.ignore.tolist() == [False, True]
    assert truth.ids.tolist() == [1, 2]
    assert open_dataset(f"coco:{folder}", "train").annotations(0).labels.tolist() == [0, -1], "plain COCO does so too"


def test_hit_uav_refuses_regions_that_do_not_fit(make_coco: MakeCoco) -> None:
    with pytest.raises(FineSpotError, match="annotation 3: expected one box for all rows of region 1"):
        open_dataset(f"hit-uav:{make_coco([region(2, 4), region(3, 9, bbox=(0, 0, 5, 5))])}", "train")
    lonely = region(2, 4)
    del lonely["region_id"]
    with pytest.raises(FineSpotError, match="annotation 2: expected a number or text as region_id"):
        open_dataset(f"hit-uav:{make_coco([lonely])}", "train")


def test_sample_folder() -> None:
    root = Path(__file__).parents[2] / "samples" / "hit-uav"
    content = json.loads((root / "annotations/train.json").read_text())
    regions = {(a["image_id"], a["region_id"]) for a in content["annotations"] if a.get("dontcare")}
    objects = [a for a in content["annotations"] if not a["iscrowd"]]
    coco, yolo = open_dataset(f"hit-uav:{root}", "train"), open_dataset(root / "hit-uav.yaml", "train")
    assert len(coco) == len(yolo) == 8
    truths = [coco.annotations(i) for i in range(8)]
    assert sum(int((~one.ignore).sum()) for one in truths) == len(objects)
    assert sum(int((one.labels == -1).sum()) for one in truths) == len(regions) > 0
    for one, index in zip(truths, range(8)):
        np.testing.assert_allclose(one.boxes[~one.ignore], yolo.annotations(index).boxes, atol=1e-3)
