"""From ASS1 (airplane, person, truck) to ASS2 (airplane, truck): rows by name, and what is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finespot import weights, zoo
from finespot.structures import Classes
from finespot.weights import Card

FIRST, SECOND = Classes(("airplane", "person", "truck")), Classes(("airplane", "truck"))


def build(name: str, classes: int, seed: int, **options: object) -> zoo.Detector:
    torch.manual_seed(seed)
    return zoo.build(zoo.architecture(name, classes, **options))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector = build("yolo11n-ass", 3, 1)
    card = Card(architecture=detector.architecture, classes=FIRST)
    return weights.save(tmp_path_factory.mktemp("first") / "ass1.safetensors", detector, card)


@pytest.mark.slow
def test_all_but_person_goes_over(first: Path) -> None:
    target, source = build("yolo11n-ass", 2, 2), weights.load(first)[0].state_dict()
    report = weights.transfer(target, SECOND, first)
    own = target.network_state()
    rows = {f"head.{name}" for name in target.head.class_rows()}
    assert len(rows) == 8
    for name, tensor in own.items():
        assert torch.equal(tensor, source[name][[0, 2]] if name in rows else source[name]), name
    assert report.share == 1
    assert set(report.matched) == set(own)
    assert report.mismatched == report.new == report.unused == report.classes_new == report.classes_partial == ()
    assert report.classes_matched == ("airplane", "truck")
    assert report.classes_unused == ("person",)
    assert report.class_rows == (("airplane", 0, 0), ("truck", 2, 1))


def test_the_report_says_which_tensors_and_rows_were_taken(first: Path) -> None:
    target = build("yolo11n-ass", 2, 2)
    counts = {part: sum(name.startswith(part) for name in target.network_state()) for part in PARTS}
    lines = weights.transfer(target, SECOND, first).by_part()
    assert lines == [
        *(f"{part}: {count} of {count} tensors taken" for part, count in counts.items()),
        "rows of classes taken: airplane 0 to 0, truck 2 to 1",
    ]


PARTS = ("backbone", "neck", "head")


@pytest.mark.slow
def test_the_report_names_what_was_not_taken(first: Path) -> None:
    """YOLO11's own downward steps have no dual convolutions, and its neck another layout."""
    target = build("yolo11n", 2, 2)
    report = weights.transfer(target, SECOND, first)
    backbone, neck, _, rows = report.by_part()
    absent = [name for name in report.new if name.startswith("backbone")]
    assert f"not in the file: {', '.join(absent[:4])} and {len(absent) - 4} more" in backbone
    assert "backbone.stage2.down.conv.weight" in absent
    assert neck.startswith("neck: 0 of ")
    # Widths inside YOLO11n's class branches are the same: 64 channels.
    assert rows == "rows of classes taken: airplane 0 to 0, truck 2 to 1"


def test_without_common_classes_no_row_is_named(first: Path) -> None:
    report = weights.transfer(build("yolo11n-ass", 1, 2), Classes(("bus",)), first)
    assert report.class_rows == ()
    assert len(report.by_part()) == 3
    assert "of another shape: head.class_branches.p2.predict.weight" in report.by_part()[2]


@pytest.mark.slow
def test_back_to_more_classes_in_another_order(first: Path) -> None:
    target = build("yolo11n-ass", 4, 2)
    fresh = {key: value.clone() for key, value in target.state_dict().items()}
    report = weights.transfer(target, Classes(("truck", "bus", "person", "airplane")), first)
    assert report.class_rows == (("truck", 2, 0), ("person", 1, 2), ("airplane", 0, 3))
    assert report.classes_new == ("bus",)
    source, own = weights.load(first)[0].state_dict(), target.state_dict()
    for name in target.head.class_rows():
        key = f"head.{name}"
        assert torch.equal(own[key][[0, 2, 3]], source[key][[2, 1, 0]])
        assert torch.equal(own[key][1], fresh[key][1])
