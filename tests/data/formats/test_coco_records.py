"""What COCO readers make of keys and files beyond the plain ones."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import make_ai_tod, make_soda_d, make_tinyperson, make_uavvaste
from data_factory import MakeCoco, save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError


def box(number: int, image: object = 3, category: int = 4, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": [10, 20, 30, 40], **more}


def test_keys_with_whole_numbers_in_every_annotation_are_attributes(make_coco: MakeCoco) -> None:
    odd = [
        {"track": 7, "occluded": True, "score": 0.5, "name": "a", "sometimes": 1, "huge": 2**63, "iscrowd": 0},
        {"track": -1, "occluded": False, "score": 1, "name": "b", "huge": 1, "iscrowd": 0, "num_keypoints": 3},
    ]
    folder = make_coco([{**box(number), **more} for number, more in enumerate(odd, 1)])
    dataset = open_dataset(f"coco:{folder}", "train")
    attributes = {name: column.tolist() for name, column in dataset.annotations(0).attributes.items()}
    assert attributes == {"crowd": [0, 0], "track": [7, -1], "occluded": [1, 0]}
    assert dataset.notes[0] == "keys of the annotations that were kept as attributes: occluded, track"


def region(number: int, category: int, **more: Any) -> dict[str, Any]:
    return box(number, category=category, **{"iscrowd": 1, "dontcare": 1, "region_id": 1, **more})


@pytest.mark.parametrize(
    ("records", "labels"),
    [
        ([region(1, 4), region(2, 9)], [-1]),
        ([region(1, 4), region(2, 9), region(3, 4, region_id=2), region(4, 9, region_id=2)], [-1, -1]),
        ([region(1, 4)], [0]),
        ([region(1, 4), region(2, 9, region_id=2)], [0, 1]),
        ([region(1, 4, dontcare=0), region(2, 9, dontcare=0)], [0, 1]),
        ([region(1, 4, dontcare="no"), region(2, 9, dontcare="no")], [0, 1]),
        ([region(1, 4, region_id=[1]), region(2, 9, region_id=[1])], [0, 1]),
        ([region(1, 4), region(2, 9, image_id=7)], [0]),
    ],
    ids=["one", "two", "one class alone", "other ids", "no dontcare", "a text", "no id", "other picture"],
)
def test_only_rows_for_every_class_are_a_region_of_none(
    make_coco: MakeCoco, records: list[dict[str, Any]], labels: list[int]
) -> None:
    truth = open_dataset(f"coco:{make_coco(records)}", "train").annotations(0)
    assert truth.labels.tolist() == labels
    assert truth.ignore.all()


def test_a_faulty_region_is_noted_and_the_rest_kept(make_coco: MakeCoco) -> None:
    folder = make_coco([region(1, 4), region(2, 9, bbox=[0, 0, 5, 5]), box(3), region(4, 9, region_id=None)])
    findings = Findings()
    dataset = open_dataset(f"hit-uav:{folder}", "train", findings)
    assert dataset.annotations(0).labels.tolist() == [-1, 0]
    assert findings.counts == {"record": 2}


def test_boxes_beside_run_lengths_and_polygons_alone(make_coco: MakeCoco) -> None:
    polygons = [[1, 2, 3, 2, 3, 9], [5, 5, 6, 5, 6, 6]]
    records = [
        box(1, segmentation={"counts": [5, 5], "size": [100, 200]}),
        {"id": 2, "image_id": 3, "category_id": 4, "segmentation": polygons, "area": 8.5},
    ]
    truth = open_dataset(f"coco:{make_coco(records)}", "train").annotations(0)
    np.testing.assert_array_equal(truth.boxes, [[10, 20, 40, 60], [1, 2, 6, 9]])
    assert truth.area.tolist() == [1200, 8.5]


def test_run_lengths_without_a_box_are_refused(make_coco: MakeCoco) -> None:
    record = {"id": 2, "image_id": 3, "category_id": 4, "segmentation": {"counts": [5], "size": [100, 200]}}
    with pytest.raises(FineSpotError, match=r"annotation 2: expected a bbox \[x, y, width, height\] but got None"):
        open_dataset(f"coco:{make_coco([record])}", "train")


def test_names_with_other_extensions_and_backslashes(make_coco: MakeCoco, tmp_path: Path) -> None:
    images = [{"id": 3, "file_name": "sub\\a.png"}, {"id": 7, "file_name": "b.jpg"}]
    folder = make_coco([box(1)], images=images)
    save_picture(tmp_path / "images/train/sub/a.png")
    dataset = open_dataset(f"coco:{folder}", "train")
    assert [Path(dataset.path(i)).name for i in range(2)] == ["b.png", "a.png"]
    assert dataset.notes == ["1 picture has another extension than train.json says (b.png for b.jpg)"]


def test_missing_pictures_are_counted(make_coco: MakeCoco) -> None:
    images = [{"id": 3, "file_name": "a.png"}, {"id": 7, "file_name": "x.png"}, {"id": 8, "file_name": "y.png"}]
    folder = make_coco([box(1)], images=images)
    with pytest.raises(FineSpotError, match=r"image 7: the picture x\.png does not exist; looked in .*; 2 of 3 pict"):
        open_dataset(f"coco:{folder}", "train")
    findings = Findings()
    assert len(open_dataset(f"coco:{folder}", "train", findings)) == 1
    assert findings.counts == {"missing": 2}


def test_a_picture_that_differs_in_case_only_is_named(make_coco: MakeCoco) -> None:
    folder = make_coco([box(1)], images=[{"id": 3, "file_name": "a.png"}, {"id": 7, "file_name": "B.PNG"}])
    (folder / "images/train/b.png").rename(folder / "images/train/b.Png")
    with pytest.raises(FineSpotError, match=r"image 7: expected B\.PNG but the file is called b\.Png; rename one"):
        open_dataset(f"coco:{folder}", "train")
    findings = Findings()
    open_dataset(f"coco:{folder}", "train", findings)
    assert findings.counts == {"case": 1}


def test_one_picture_under_two_ids(make_coco: MakeCoco) -> None:
    """The boxes of one id would be background of the other."""
    folder = make_coco(
        [box(1), box(2, image_id=7)], images=[{"id": 3, "file_name": "a.png"}, {"id": 7, "file_name": "./a.png"}]
    )
    with pytest.raises(
        FineSpotError, match=r"train\.json: image 7: \./a\.png is also the picture of image 3; give each"
    ):
        open_dataset(f"coco:{folder}", "train")
    findings = Findings()
    dataset = open_dataset(f"coco:{folder}", "train", findings)
    assert [len(dataset.annotations(i)) for i in range(len(dataset))] == [1]
    assert findings.counts == {"record": 1}


def test_a_size_of_0_is_told_and_an_absent_one_is_not(make_coco: MakeCoco) -> None:
    images = [{"id": 3, "file_name": "a.png", "width": 0, "height": 0}, {"id": 7, "file_name": "b.png"}]
    dataset = open_dataset(f"coco:{make_coco([box(1)], images=images)}", "train")
    assert dataset.notes == [
        "1 picture has another size than train.json says (a.png is 200x100, not 0x0); the picture files count"
    ]


@pytest.mark.slow
def test_deeply_nested_values_are_refused(make_coco: MakeCoco) -> None:
    folder = make_coco([box(1)])
    file = folder / "annotations/train.json"
    text = file.read_text()
    limit = sys.getrecursionlimit()
    for depth in (*range(limit - 60, limit + 5), 100_000):
        file.write_text(re.sub(r'"bbox": \[[^]]*\]', f'"bbox": {"[" * depth + "]" * depth}', text))
        with pytest.raises(FineSpotError, match=r"expected a bbox|nested too deeply|cannot be read"):
            open_dataset(f"coco:{folder}", "train")


MAKERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "ai-tod": (make_ai_tod, "annotations/aitodv2_train.json"),
    "soda-d": (make_soda_d, "rawData/Annotations/train.json"),
    "tinyperson": (make_tinyperson, "annotations/corner/task/tiny_set_train_sw120_sh60_all.json"),
    "uavvaste": (make_uavvaste, "annotations/annotations.json"),
    "uavvaste-splits": (make_uavvaste, "annotations/train_val_test_distribution_file.json"),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path, bytes]]:
    """Folder, file to spoil and its content, of each."""
    found = {}
    for name, (make, file) in MAKERS.items():
        root = make(tmp_path_factory.mktemp(name))
        found[name] = (root, root / file, (root / file).read_bytes())
    return found


def read_all(spec: str) -> None:
    """Read every split; whatever is wrong is a FineSpotError, with and without findings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for findings in (None, Findings()):
            with contextlib.suppress(FineSpotError):
                for split in dataset_splits(spec):
                    with contextlib.suppress(FineSpotError):
                        open_dataset(spec, split, findings)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    name=st.sampled_from(list(MAKERS)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4),
)
def test_files_with_changed_bytes_are_read_or_refused(
    sets: dict[str, tuple[Path, Path, bytes]], name: str, edits: list[tuple[float, bytes, int]]
) -> None:
    root, file, content = sets[name]
    data = bytearray(content)
    for share, new, length in edits:
        place = int(share * len(data))
        data[place : place + length] = new
    file.write_bytes(bytes(data))
    read_all(f"{name.removesuffix('-splits')}:{root}")
    file.write_bytes(content)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.lists(st.integers(-5, 300), max_size=5),
    st.just({}),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(list(MAKERS)), share=st.floats(0, 1), value=VALUES)
def test_files_with_changed_values_are_read_or_refused(
    sets: dict[str, tuple[Path, Path, bytes]], name: str, share: float, value: object
) -> None:
    root, file, text = sets[name]
    content = json.loads(text)
    places = list(_places(content))
    inner, key = places[min(int(share * len(places)), len(places) - 1)]
    inner[key] = value
    file.write_text(json.dumps(content))
    read_all(f"{name.removesuffix('-splits')}:{root}")
    file.write_bytes(text)


def _places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    keys = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in keys:
        found.append((content, key))
        found += _places(value)
    return found
