"""COCO files that are written: what reads back, and what other programs find in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finespot.data import open_dataset
from finespot.data.builder import Builder
from finespot.data.dataset import Dataset
from finespot.data.formats import Coco, HitUav
from finespot.data.formats.layout import Part, Writable
from finespot.metrics.tables import Truth
from finespot.structures import Classes

SIZE = (100, 200)
NAMES = ("0.png", "1.png", "2.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("written")
    for number, name in enumerate(NAMES):
        save_picture(root / Coco().picture("train", name), SIZE, number)
    return root


def build(
    folder: Path, boxes: list[list[dict[str, Any]]], names: tuple[str, ...] = ("car", "person"), **more: Any
) -> Dataset:
    """A data set of the three pictures with the boxes of each."""
    builder = Builder("set", "train", Classes(names, more.get("ids", ())))
    image_ids = more.get("image_ids", (1, 2, 3))
    for name, image_id, records in zip(NAMES, image_ids, boxes):
        builder.picture(str(folder / "images/train" / name), image_id)
        for record in records:
            builder.box(record.pop("corners"), record.pop("label"), where="x", **record)
    return builder.build()


def write(folder: Path, dataset: Dataset, layout: Coco | None = None) -> dict[str, Any]:
    (layout or Coco()).write(folder, [Part("train", dataset, NAMES[: len(dataset)])])
    content: dict[str, Any] = json.loads((folder / "annotations/train.json").read_text())
    return content


def test_both_formats_write() -> None:
    assert isinstance(Coco(), Writable)
    assert isinstance(HitUav(), Writable)


def test_records_as_other_programs_read_them(folder: Path) -> None:
    boxes = [
        {"corners": (10, 20, 30.5, 40), "label": 1, "area": 7.5, "annotation_id": 5, "attributes": {"occlusion": 2}},
        {"corners": (0, 0, 8, 8), "label": 0, "ignore": True, "annotation_id": 3},
        {"corners": (50, 50, 60, 60), "label": -1, "ignore": True, "annotation_id": 9},
        {"corners": (70, 50, 80, 60), "label": -1, "ignore": True, "annotation_id": 4},
    ]
    content = write(folder, build(folder, [boxes, [], []], ids=(7, 4), image_ids=(30, 10, 20)))
    assert content["categories"] == [{"id": 7, "name": "car"}, {"id": 4, "name": "person"}]
    assert [(one["id"], one["file_name"], one["width"], one["height"]) for one in content["images"]] == [
        (30, "0.png", 200, 100),
        (10, "1.png", 200, 100),
        (20, "2.png", 200, 100),
    ]
    plain = {"image_id": 30, "occlusion": 0, "iscrowd": 1, "ignore": 1}
    region = {**plain, "bbox": [50.0, 50.0, 10.0, 10.0], "area": 100.0, "dontcare": 1, "region_id": 1}
    other = {**plain, "bbox": [70.0, 50.0, 10.0, 10.0], "area": 100.0, "dontcare": 1, "region_id": 2}
    assert content["annotations"] == [
        {"id": 5, "category_id": 4, "image_id": 30, "bbox": [10.0, 20.0, 20.5, 20.0], "area": 7.5}
        | {"iscrowd": 0, "ignore": 0, "occlusion": 2},
        {**plain, "id": 3, "category_id": 7, "bbox": [0.0, 0.0, 8.0, 8.0], "area": 64.0},
        {**region, "id": 9, "category_id": 7},
        {**region, "id": 10, "category_id": 4},
        {**other, "id": 4, "category_id": 7},
        {**other, "id": 11, "category_id": 4},
    ]


def test_the_evaluation_honors_what_is_ignored(folder: Path) -> None:
    boxes = [{"corners": (0, 0, 8, 8), "label": label, "ignore": label != 1} for label in (0, 1, -1)]
    write(folder, build(folder, [boxes, [], []]))
    truth = Truth.read(folder / "annotations/train.json")
    assert truth.crowd.tolist() == [True, False, True, True]
    assert truth.notes == ()


@pytest.mark.parametrize(
    ("image_ids", "kept"),
    [((3, 1, 2), [3, 1, 2]), (("a", "b", "c"), [1, 2, 3]), ((7, "b", 9), [1, 2, 3]), ((7, 7, 9), [1, 2, 3])],
    ids=["kept", "texts", "mixed", "twice"],
)
def test_image_ids(folder: Path, image_ids: tuple[int | str, ...], kept: list[int]) -> None:
    content = write(folder, build(folder, [[], [{"corners": (0, 0, 5, 5), "label": 0}], []], image_ids=image_ids))
    assert [one["id"] for one in content["images"]] == kept
    assert content["annotations"][0]["image_id"] == kept[1]


@pytest.mark.parametrize(
    ("ids", "kept"),
    [((8, 3), [8, 3, 9]), ((0, 3), [1, 2, 3]), ((3, 3), [1, 2, 3]), ((2**62, 3), [1, 2, 3])],
    ids=["kept", "the official program cannot find 0", "twice", "no room behind it"],
)
def test_annotation_ids(folder: Path, ids: tuple[int, int], kept: list[int]) -> None:
    boxes = [
        {"corners": (0, 0, 5, 5), "label": 0, "annotation_id": ids[0]},
        {"corners": (0, 0, 9, 9), "label": -1, "ignore": True, "annotation_id": ids[1]},
    ]
    content = write(folder, build(folder, [boxes, [], []]))
    assert [one["id"] for one in content["annotations"]] == kept


def test_crowd_is_a_key_only_where_iscrowd_does_not_say_it(folder: Path) -> None:
    boxes = [{"corners": (0, 0, 5, 5), "label": 0, "ignore": True, "attributes": {"crowd": 1}}]
    assert "crowd" not in write(folder, build(folder, [boxes, [], []]))["annotations"][0]
    boxes = [{"corners": (0, 0, 5, 5), "label": 0, "ignore": True, "attributes": {"crowd": 0}}]
    assert write(folder, build(folder, [boxes, [], []]))["annotations"][0]["crowd"] == 0
    assert open_dataset(f"coco:{folder}", "train").annotations(0).attributes["crowd"].tolist() == [0]


def test_every_split_gets_its_file_and_an_empty_one_reads(folder: Path) -> None:
    empty = Builder("set", "val", Classes(("car",))).build()
    Coco().write(folder, [Part("train", build(folder, [[], [], []]), NAMES), Part("val", empty, ())])
    assert len(open_dataset(f"coco:{folder}", "train")) == 3
    assert len(open_dataset(f"coco:{folder}", "val")) == 0


SPOT = st.floats(0, 199, width=32, allow_subnormal=False)
SIDE = st.floats(1 / 64, 199, width=32)
ROW = st.fixed_dictionaries(
    {
        "spot": st.tuples(SPOT, st.floats(0, 99), SIDE, SIDE),
        "label": st.integers(-1, 2),
        "ignore": st.booleans(),
        "area": st.none() | st.floats(0, 1e6, allow_subnormal=False),
        "attributes": st.dictionaries(
            st.sampled_from((*sorted(Coco.keeps.attributes), "of_my_own")), st.integers(-3, 2**40), max_size=4
        ),
    }
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.lists(ROW, max_size=4), min_size=3, max_size=3),
    ids=st.lists(st.integers(0, 90), min_size=3, max_size=3, unique=True),
    image_ids=st.lists(st.integers(0, 99), min_size=3, max_size=3, unique=True),
    layout=st.sampled_from((Coco, HitUav)),
)
def test_what_is_written_reads_back(
    folder: Path, rows: list[list[dict[str, Any]]], ids: list[int], image_ids: list[int], layout: type[Coco]
) -> None:
    boxes = [
        [
            {
                "corners": (x, y, x + width, y + height),
                **{key: row[key] for key in ("label", "area", "attributes")},
                "ignore": row["ignore"] or row["label"] < 0,
            }
            for row in picture
            for x, y, width, height in [row["spot"]]
        ]
        for picture in rows
    ]
    source = build(folder, boxes, ("car", "person", "boat"), ids=tuple(sorted(ids)), image_ids=image_ids)
    layout().write(folder, [Part("train", source, NAMES)])
    found = layout().open(folder, "train")
    assert found.classes == source.classes
    assert [found.image_id(i) for i in range(3)] == image_ids
    for index in range(3):
        truth, back = source.annotations(index), found.annotations(index)
        np.testing.assert_allclose(back.boxes, truth.boxes, atol=1e-4)
        for name in ("labels", "ignore", "area", "ids"):
            np.testing.assert_array_equal(getattr(back, name), getattr(truth, name))
        for name, column in truth.attributes.items():
            np.testing.assert_array_equal(back.attributes.get(name, np.zeros(len(truth))), column)
