"""Label Studio exports: percent, turned boxes, several annotators, addresses, JSON and JSON-MIN."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError

MakeStudio = Callable[..., Path]


def value(names: Sequence[str] | None = ("car",), **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, **changes}
    return found if names is None else {**found, "rectanglelabels": list(names)}


def result(one: dict[str, Any] | None = None, kind: str = "rectanglelabels", **changes: Any) -> dict[str, Any]:
    sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": "x1", "type": kind, **sizes, "value": value() if one is None else one, **changes}


def task(
    *results: Any, number: int = 1, image: str = "/data/upload/3/1a2b3c4d-a.png", **changes: Any
) -> dict[str, Any]:
    done = {"id": 7, "completed_by": 1, "was_cancelled": False, "result": list(results)}
    return {"id": number, "data": {"image": image}, "annotations": [done], "predictions": [], **changes}


def annotation(label: str, when: str = "", **changes: Any) -> dict[str, Any]:
    return {"result": [result(value([label]))], "was_cancelled": False, "updated_at": when, **changes}


@pytest.fixture
def make_studio(tmp_path: Path) -> MakeStudio:
    """Write an export with pictures (100 x 200) in images/."""

    def make(*tasks: Any, file: str = "export.json", pictures: Sequence[str] = ("a.png",)) -> Path:
        for number, name in enumerate(pictures):
            save_picture(tmp_path / "images" / name, seed=number)
        (tmp_path / file).write_text(json.dumps(list(tasks)))
        return tmp_path

    return make


def read(folder: Path, split: str = "all", options: str = "") -> Dataset:
    return open_dataset(f"label-studio{options}:{folder}", split)


@pytest.mark.parametrize(
    ("rotation", "box", "clipped"),
    [
        (0, (20, 20, 80, 60), False),
        (90, (0, 20, 20, 80), True),
        (30, (0, 20, 71.9615, 84.6410), False),
        (-330, (0, 20, 71.9615, 84.6410), False),
    ],
)
def test_boxes_are_turned_about_their_corner(
    make_studio: MakeStudio, rotation: float, box: tuple[float, ...], clipped: bool
) -> None:
    dataset = read(make_studio(task(result(value(rotation=rotation)))))
    np.testing.assert_allclose(dataset.annotations(0).boxes, [box], atol=1e-4)
    assert (dataset.notes == ["1 box reached over the edge and was clipped"]) == clipped


@pytest.mark.parametrize(
    ("one", "box"),
    [
        ({"points": [[10, 20], [30, 20], [20, 50.5]], "polygonlabels": ["car"]}, [20, 20, 60, 50.5]),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "ellipselabels": ["car"]}, [80, 40, 120, 60]),
        ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90, "ellipselabels": ["car"]}, [90, 30, 110, 70]),
        (value(None, labels=["car"]), [20, 20, 80, 60]),
    ],
)
def test_other_shapes(make_studio: MakeStudio, one: dict[str, Any], box: list[float]) -> None:
    dataset = read(make_studio(task(result(one, "other"))))
    np.testing.assert_allclose(dataset.annotations(0).boxes, [box], atol=1e-4)
    assert dataset.notes == []


def test_what_is_no_box_is_counted(make_studio: MakeStudio) -> None:
    none = [
        result({"x": 1, "y": 1, "width": 0.5, "keypointlabels": ["car"]}, "keypointlabels"),
        result({"format": "rle", "rle": [1], "brushlabels": ["car"]}, "brushlabels"),
        result({"choices": ["night"]}, "choices"),
    ]
    dataset = read(make_studio(task(result(), *none)))
    assert len(dataset.annotations(0)) == 1
    assert dataset.notes == ["3 results are no boxes and were left out"]


def test_a_box_that_other_results_repeat_is_read_once(make_studio: MakeStudio) -> None:
    bare, choice = result(value(None), "rectangle"), result(value(None, choices=["parked"]), "choices")
    dataset = read(make_studio(task(bare, result(value(None, labels=["car"]), "labels"), choice)))
    assert dataset.annotations(0).labels.tolist() == [0]


def test_boxes_of_no_and_of_several_labels(make_studio: MakeStudio) -> None:
    boxes = [result(value([])), result(value(None, x=50), "rectangle"), result(value(["car", "bus", "car"], y=5))]
    dataset = read(make_studio(task(*boxes)))
    truth = dataset.annotations(0)
    assert dataset.classes.names == ("bus", "car")
    assert truth.labels.tolist() == [-1, -1, 1, 0]
    assert truth.ignore.tolist() == [True, True, False, False]
    assert dataset.notes == [
        "2 boxes have no label and are ignore regions",
        "1 box has several labels, read once each",
    ]


@pytest.mark.parametrize(
    ("annotations", "label"),
    [
        ([annotation("first"), annotation("second")], "second"),
        ([annotation("later", "2024-05-02T10:00:00Z"), annotation("older", "2024-05-01T10:00:00Z")], "later"),
        ([annotation("done"), annotation("cancelled", was_cancelled=True)], "done"),
        ([annotation("done", "2024"), annotation("skipped", "2025", skipped=True)], "done"),
    ],
)
def test_the_latest_annotation_that_was_not_cancelled(
    make_studio: MakeStudio, annotations: list[Any], label: str
) -> None:
    for key in ("annotations", "completions"):
        record = {"id": 1, "data": {"image": "a.png"}, key: annotations}
        dataset = read(make_studio(record))
        assert dataset.classes.names == (label,)
        assert len(dataset.annotations(0)) == 1


@pytest.mark.parametrize("who", ["2", "eve@example.org"])
def test_one_annotator(make_studio: MakeStudio, who: str) -> None:
    person = {"id": 2, "email": "eve@example.org"}
    both = [annotation("hers", completed_by=person), annotation("his", "2030", completed_by=1)]
    folder = make_studio(
        task(annotations=both), task(number=2, image="b.png", annotations=[annotation("his", completed_by=1)])
    )
    dataset = read(folder, options=f",annotator={who}")
    assert dataset.classes.names == ("hers",)
    assert dataset.notes == ["1 task without annotation was left out"]
    with pytest.raises(FineSpotError, match="expected labelled boxes by 3 but there are none"):
        read(folder, options=",annotator=3")


def test_background_is_what_somebody_has_looked_at(make_studio: MakeStudio) -> None:
    folder = make_studio(
        task(result()),
        task(number=2, image="b.png"),
        task(number=3, image="c.png", annotations=[]),
        task(number=4, image="d.png", annotations=[annotation("x", was_cancelled=True)]),
        task(number=5, image="e.png", annotations=[], predictions=[{"result": [result()]}]),
        pictures=("a.png", "b.png", "c.png", "d.png", "e.png"),
    )
    dataset = read(folder)
    assert [dataset.image_id(i) for i in range(len(dataset))] == ["a", "b"]
    assert dataset.notes == ["3 tasks without annotation were left out"]


@pytest.mark.parametrize(
    ("address", "picture"),
    [
        ("/data/upload/3/1a2b3c4d-a.png", "a.png"),
        ("/data/upload/3/1a2b3c4d-a.png", "1a2b3c4d-a.png"),
        ("/data/local-files/?d=flight/1%20b/a.png", "flight/1 b/a.png"),
        ("/data/local-files/?d=flight\\a.png", "flight/a.png"),
        ("https://example.org/x/a%20b.png?token=1", "a b.png"),
        ("s3://bucket/x/a.png", "x/a.png"),
        ("http://[", "http:/[.png"),
        ("a.tif", "a.png"),
    ],
)
def test_pictures_are_found_by_the_end_of_their_address(make_studio: MakeStudio, address: str, picture: str) -> None:
    folder = make_studio(task(result(), image=address), pictures=(picture, "other/z.png"))
    assert read(folder).path(0) == str(folder / "images" / picture)


def test_two_pictures_of_one_name(make_studio: MakeStudio) -> None:
    tasks = [task(result(), number=i, image=f"/data/local-files/?d=set/{name}/a.png") for i, name in enumerate("pq")]
    folder = make_studio(*tasks, pictures=("p/a.png", "q/a.png"))
    assert [Path(read(folder).path(i)).parent.name for i in range(2)] == ["p", "q"]
    with pytest.raises(FineSpotError, match=r"task 1: expected one picture called .*a\.png but got"):
        read(make_studio(task(result(), image="a.png")))
    with pytest.raises(FineSpotError, match=r"the picture data/upload/3/1a2b3c4d-b\.png does not exist"):
        read(make_studio(task(result(), image="/data/upload/3/1a2b3c4d-b.png")))


def minimal(*values: Any, number: int = 1, **changes: Any) -> dict[str, Any]:
    sizes = {"original_width": 200, "original_height": 100}
    inner = {"label": [{**one, **sizes} for one in values]} if values else {}
    return {"image": "/data/upload/a.png", "id": number, **inner, "annotator": 1, "updated_at": "2024", **changes}


def test_the_minimal_export(make_studio: MakeStudio) -> None:
    folder = make_studio(
        minimal(value(["old"])),
        minimal(value(["car"], rotation=90), value(["bus"]), updated_at="2025"),
        minimal(number=2, image="b.png"),
        {"image": "c.png", "id": 3},
        pictures=("a.png", "b.png", "c.png"),
    )
    dataset = read(folder)
    assert dataset.classes.names == ("bus", "car"), "an annotation that is not the latest does not count"
    np.testing.assert_allclose(dataset.annotations(0).boxes, [[0, 20, 20, 80], [20, 20, 80, 60]], atol=1e-4)
    assert [len(dataset.annotations(i)) for i in range(len(dataset))] == [2, 0]
    assert dataset.notes[-2:] == [
        "1 task without annotation was left out",
        "1 box reached over the edge and was clipped",
    ]


def test_splits_and_classes_of_all_files(make_studio: MakeStudio) -> None:
    folder = make_studio(task(result(value(["car"]))), file="val.json")
    assert dataset_splits(f"label-studio:{folder}") == ["val"]
    make_studio(task(result(value(["bus"])), image="b.png"), file="train.json", pictures=("b.png",))
    assert dataset_splits(f"label-studio:{folder}") == ["train", "val"]
    assert read(folder, "val").annotations(0).labels.tolist() == [1]
    assert dataset_splits(f"label-studio:{folder / 'val.json'}") == ["all"]


def test_sizes_that_differ_are_told(make_studio: MakeStudio) -> None:
    assert read(make_studio(task(result(original_width=400)))).notes == [
        "1 picture has another size than export.json says (a.png is 200x100, not 400x100); the picture files count"
    ]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (result(value(x=None)), "task 1: box 2: expected a finite number as x but got None"),
        (result(value(width="3")), "expected a finite number as width but got '3'"),
        (result(value(height=-1)), "expected a width and height of 0 or more"),
        (result(image_rotation=90), "expected a picture that was not turned but got image_rotation 90"),
        (result(value(rotation=[1])), "expected a finite number as rotation"),
        (result({"points": [[1, 2]], "polygonlabels": ["car"]}), "expected 3 or more points"),
        (
            result({"points": [[1, 2], [3], [4, 5]], "polygonlabels": ["car"]}),
            r"expected a point \[x, y\] but got \[3\]",
        ),
    ],
)
def test_faulty_results(make_studio: MakeStudio, broken: Any, message: str) -> None:
    folder = make_studio(task(result(), broken))
    with pytest.raises(FineSpotError, match=message):
        read(folder)
    findings = Findings()
    assert len(open_dataset(f"label-studio:{folder}", "all", findings).annotations(0)) == 1
    assert findings.counts == {"record": 1}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (3, "task number 2: expected a task but got 3"),
        ({"id": 2, "data": {"image": 5}, "annotations": []}, "task 2: expected the address of a picture"),
        ({"id": 2, "data": {"image": "b.png"}, "annotations": [3]}, "task 2: expected a list of annotations"),
        (task("x", number=2, image="b.png"), "task 2: expected a list of results"),
        (task(result(), image="b.png"), "task 1: the id stands for two pictures"),
    ],
)
def test_faulty_tasks(make_studio: MakeStudio, broken: Any, message: str) -> None:
    folder = make_studio(task(result()), broken)
    with pytest.raises(FineSpotError, match=message):
        read(folder)
    findings = Findings()
    assert len(open_dataset(f"label-studio:{folder}", "all", findings)) == 1
    assert findings.counts == {"record": 1}


def test_a_file_of_another_kind(make_studio: MakeStudio, tmp_path: Path) -> None:
    make_studio()
    with pytest.raises(FineSpotError, match="expected labelled boxes but there are none"):
        read(tmp_path)
    (tmp_path / "export.json").write_text('{"images": []}')
    with pytest.raises(FineSpotError, match=r"export\.json: expected a list of Label Studio tasks"):
        read(tmp_path)


VALUES = st.none() | st.booleans() | st.integers(-3, 300) | st.text(max_size=3) | st.just([]) | st.just({"a": [1]})


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_field_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("studio")
    save_picture(folder / "a.png")
    polygon = {"points": [[1, 2], [3, 4], [5, 9]], "polygonlabels": ["car"]}
    tasks: Any = [task(result(), result(polygon)), minimal(value(), number=2)]
    inner: Any = tasks
    while isinstance(inner, (dict, list)) and inner:
        parent, key = inner, data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        inner = parent[key]
        if data.draw(st.integers(0, 3)) == 0:
            break
    parent[key] = data.draw(VALUES)
    (folder / "export.json").write_text(json.dumps(tasks))
    with contextlib.suppress(FineSpotError):
        assert len(read(folder)) <= 2
