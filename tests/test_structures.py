from __future__ import annotations

import math
import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.structures import Annotations, Classes, Detections, LossTerms, Placement, Targets, Tiling

CLASSES = Classes(("person", "car"), (1, 7))


def found() -> Detections:
    return Detections(
        np.array([[1, 2, 4, 8], [0, 0, 2.5, 2]], np.float32), [0.5, 0.25], [1, 0], (10, 12), CLASSES, "a/b.c.jpg"
    )


def test_classes() -> None:
    assert list(CLASSES) == ["person", "car"]
    assert CLASSES.index("car") == 1
    assert Classes(("a", "b")).original_ids == (0, 1)
    with pytest.raises(FineSpotError, match="did you mean person"):
        CLASSES.index("persons")
    for names, ids in [((), ()), (("a", "a"), ()), (("a", "b"), (3, 3)), (("a",), (1, 2))]:
        with pytest.raises(FineSpotError):
            Classes(names, ids)


@pytest.mark.parametrize(
    ("boxes", "labels"),
    [
        ([[0, 0, 1]], [0]),
        ([[0, 0, np.nan, 1]], [0]),
        ([[2, 0, 1, 1]], [0]),
        ([[0, 0, 1, 1]], [0, 1]),
        ([[0, 0, 1, 1]], [-1]),
    ],
    ids=["three numbers", "nan", "x2 below x1", "two labels", "no class without ignore"],
)
def test_annotations_refuse(boxes: list[list[float]], labels: list[int]) -> None:
    with pytest.raises(FineSpotError):
        Annotations(np.array(boxes), np.array(labels), (4, 4))


def test_annotations_defaults_and_select() -> None:
    truth = Annotations(
        [[0, 0, 2, 3], [1, 1, 2, 2]], [0, -1], (4, 4), ignore=[False, True], attributes={"crowd": np.array([0, 1])}
    )
    assert truth.area.tolist() == [6, 1]
    assert truth.ids.tolist() == [1, 2]
    kept = truth.select(truth.ignore)
    assert len(kept) == 1
    assert kept.attributes["crowd"].tolist() == [1]
    assert len(Annotations.empty((4, 4))) == 0


def test_classes_by_name_and_label() -> None:
    assert CLASSES.labels(["car", 0]) == (1, 0)
    for wanted in (["cat"], [2], [-1]):
        with pytest.raises(FineSpotError):
            CLASSES.labels(wanted)


def test_a_hundred_thousand_classes() -> None:
    """Looking for doubled names must not compare all with all."""
    names = tuple(f"class {number}" for number in range(100_000))
    assert len(Classes(names)) == 100_000
    with pytest.raises(FineSpotError, match="class 7 occurs"):
        Classes((*names, "class 7"))


def test_detections_are_equal_where_all_values_are() -> None:
    assert found() == found()
    assert found() in [found()]
    for other in (found().select([1, 0]), replace(found(), source="b.jpg"), found().filter(conf=0.3), None, 3):
        assert found() != other


def test_annotations_are_equal_where_all_values_are() -> None:
    def truth(crowd: int = 1, **changed: object) -> Annotations:
        given = {"ignore": [False], "attributes": {"crowd": np.array([crowd])}, **changed}
        return Annotations([[0, 0, 2, 3]], [0], (4, 4), **given)

    assert truth() == truth()
    for other in (truth(crowd=0), truth(attributes={}), truth(ignore=[True]), truth(source="a.jpg"), found()):
        assert truth() != other


def test_detections_filter_and_coco() -> None:
    assert len(found().filter(conf=0.3)) == 1
    assert found().filter(classes=["person"]).labels.tolist() == [0]
    assert found().filter(classes=[1]).labels.tolist() == [1]
    assert found().to_coco()[0] == {"image_id": "b.c", "category_id": 7, "bbox": [1, 2, 3, 6], "score": 0.5}
    assert found().to_coco(3)[1]["image_id"] == 3
    assert len(Detections.empty((3, 3), CLASSES)) == 0


@settings(deadline=None)
@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 500))
def test_placement_there_and_back(sy: float, sx: float, top: float, left: float, origin: int) -> None:
    placement = Placement((sy, sx), (top, left), (100, 100), (origin, 2 * origin))
    boxes = np.array([[1, 2, 30, 40], [0, 0, 100, 100]], np.float32)
    np.testing.assert_allclose(placement.to_picture(placement.to_input(boxes)), boxes, atol=2e-2)
    x1, y1 = placement.to_input(boxes)[0, :2]
    np.testing.assert_allclose([x1, y1], [(1 - origin) * sx + left, (2 - 2 * origin) * sy + top], rtol=1e-4, atol=1e-3)


def test_targets_join_pictures_in_order() -> None:
    one = Annotations([[0, 0, 2, 3]], [1], (4, 4))
    targets = Targets.from_annotations([one, Annotations.empty((4, 4)), one.select([0, 0])])
    assert targets.image.tolist() == [0, 2, 2]
    assert targets.batch == 3
    assert targets.boxes.shape == (3, 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 8}, "slice: expected a tile size of 32 pixels or more but got 8"),
        (
            {"size": 640, "overlap": 640},
            "overlap: expected an overlap from 0 to below 1, or pixels below 640, but got 640",
        ),
        ({"size": 640, "overlap": 1.5}, "overlap: expected a share below 1 or whole pixels but got 1.5"),
        ({"size": 640, "overlap": -0.1}, "overlap: expected an overlap from 0"),
        ({"size": 640, "overlap": math.nan}, "overlap: expected an overlap from 0"),
        ({"overlap": 100}, "overlap: expected an overlap from 0 to below 1 but got 100"),
        ({"whole": True}, "slice-whole: has no effect on whole pictures; give a tile size too"),
        ({"merge": "nmm"}, "merge: has no effect on whole pictures; give a tile size too"),
        ({"size": 640, "metric": "ios"}, "merge-metric: has no effect without an operator; give merge too"),
        ({"size": 640, "merge": "nmm", "metric": "giou"}, "merge-metric: unknown metric 'giou'; did you mean iou"),
    ],
)
def test_tiling_refuses_nonsense(values, words) -> None:
    with pytest.raises(FineSpotError, match=re.escape(words)):
        Tiling(**values)


def test_overlap_is_a_share_or_pixels() -> None:
    assert Tiling(640, 0.25).overlap_pixels == Tiling(640, 160).overlap_pixels == 160
    assert (Tiling(640, 1).overlap_pixels, Tiling(None).overlap_pixels) == (1, 0)


def test_a_tiling_as_plain_values() -> None:
    assert Tiling(640).to_dict() == {"size": 640, "overlap": 0.2}
    full = {"size": 640, "overlap": 100, "whole": True, "merge": "nmm", "metric": "ios"}
    assert Tiling(**full).to_dict() == full


def test_loss_total_is_the_sum() -> None:
    import torch

    assert LossTerms({"a": torch.tensor(1.0), "b": torch.tensor(2.5)}).total.item() == 3.5


def test_to_supervision_hands_over_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken:
        def __init__(self, **columns: object) -> None:
            self.columns = columns

    module = types.ModuleType("supervision")
    module.Detections = Taken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    columns = found().to_supervision().columns
    assert columns["xyxy"].tolist() == found().boxes.tolist()
    assert columns["confidence"].tolist() == [0.5, 0.25]
    assert columns["class_id"].tolist() == [1, 0]
    assert columns["data"]["class_name"].tolist() == ["car", "person"]


def test_to_supervision_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(FineSpotError, match=r"finespot\[supervision\]"):
        found().to_supervision()


def test_a_tiling_in_words() -> None:
    assert Tiling(640).in_words == "tiles of 640 px with an overlap of 0.2"
    assert Tiling(640, 64).in_words == "tiles of 640 px with an overlap of 64 px"
    assert Tiling(None).in_words == "whole pictures"
