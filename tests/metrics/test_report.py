"""What a report says: plain values, and a table that a person can trust."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from finespot.metrics import PROTOCOLS, Report, Results, Truth, evaluate

DATA = Path(__file__).parent / "data"


def report(rules="coco", folder="coco") -> Report:
    truth = Truth.read(DATA / folder / "gt.json")
    return evaluate(truth, Results.read(DATA / folder / "dt.json", truth), rules)


def printed(one: Report, **options: Any) -> str:
    console = Console(**{"width": 150, "soft_wrap": True, **options})
    with console.capture() as capture:
        console.print(one.table())
    return capture.get()


def test_json_is_plain() -> None:
    made = report().to_json("val")
    assert list(made) == [
        *("protocol", "split", "images", "values", "per_class"),
        *("unit", "counts", "rules", "notes", "settings"),
    ]
    assert made["unit"] == "fraction"
    assert made["rules"] == PROTOCOLS["coco"].describe()
    assert made["counts"]["objects"] == report().objects
    assert sum(made["counts"]["detections"].values()) == report().detections
    assert made["counts"]["kept_after_ignore_drop"] == {"truths": 222, "detections": 378}
    assert json.loads(json.dumps(made)) == made
    assert made["settings"] == {}
    assert made["split"] == "val"
    assert made["protocol"] == "coco"
    assert any(values["AP"] is None for values in made["per_class"].values())


def test_json_names_the_limits_where_they_differ() -> None:
    assert report(PROTOCOLS["coco"].with_max_dets((1, 10, 500))).to_json("val")["protocol"] == "coco maxDets 1/10/500"


def test_table() -> None:
    one = report()
    text = printed(one)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    for name in one.classes:
        expected = f"{one.per_class[name]['AP']:.3f}" if one.objects[name] else "no objects"
        assert expected in lines[name]
    assert f"{one.values['AP_small']:.3f}" in lines["all"]
    assert f"AR@100 {one.values['AR@100']:.3f}" in text
    assert (
        f"{one.images} images, {one.truths} objects, {one.ignored} ignore regions, {one.detections} detections" in text
    )
    assert "at most 100 detections per image and class" in text
    assert "neither right nor wrong" in text
    assert "42 detections beyond 100" in text


def test_table_leaves_out_what_a_protocol_cannot_say() -> None:
    text = printed(report("ai-tod", "aitod"))
    assert "AP25" not in text.splitlines()[0]
    assert "AP25 has no value: 0.25 is not among the IoU thresholds" in text
    assert "-: no objects of this size" in text


def test_table_of_one_class_has_one_row() -> None:
    text = printed(report(PROTOCOLS["coco"].class_agnostic()))
    assert text.splitlines()[1].startswith("all ")


def test_counts() -> None:
    one = report()
    truth = json.loads((DATA / "coco/gt.json").read_text())
    crowds = sum(record["iscrowd"] for record in truth["annotations"])
    assert one.images == len(truth["images"])
    assert (one.truths, one.ignored) == (len(truth["annotations"]) - crowds, crowds)
    assert sum(one.objects.values()) == one.truths
    assert one.detections == len(json.loads((DATA / "coco/dt.json").read_text())) - 42


SETTINGS = {"conf": 0.001, "imgsz": 640, "tiling": {"size": 512, "overlap": 0.2}, "max_det": None}


def test_settings_are_told() -> None:
    one = replace(report(), settings=SETTINGS)
    assert "made with conf 0.001, imgsz 640, tiling (size 512, overlap 0.2), max_det none" in printed(one)
    assert one.to_json("val")["settings"] == SETTINGS
    assert "made with" not in printed(report())


def renamed(name: str) -> Report:
    """A report whose first class is called `name`."""
    one = report()
    first = one.classes[0]
    called = {key: name if key == first else key for key in one.classes}
    return replace(
        one,
        classes=tuple(called.values()),
        objects={called[key]: value for key, value in one.objects.items()},
        per_class={called[key]: value for key, value in one.per_class.items()},
    )


def numbers(one: Report, name: str) -> list[str]:
    shown = [one.per_class[name][label] for label in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")]
    return [str(one.objects[name]), *("-" if value is None else f"{value:.3f}" for value in shown)]


def test_a_narrow_terminal_folds_names_and_no_number() -> None:
    name = "a-class-name-that-is-much-too-long-for-a-table-of-eighty-columns"
    one = renamed(name)
    for width in (80, 50):
        lines = printed(one, width=width, force_terminal=True, color_system=None).splitlines()
        (first,) = (line for line in lines if line.startswith(name[:8]))
        assert first.split()[1:] == numbers(one, name)
        assert "…" not in "".join(lines)
        column = "".join(line[: first.index(" ")].strip() for line in lines[1:12])
        assert name in column


def test_what_is_no_terminal_gets_whole_lines() -> None:
    name = "a-class-name-that-is-much-too-long-for-a-table-of-eighty-columns"
    one = renamed(name)
    (line,) = (line for line in printed(one, width=80).splitlines() if line.startswith(name))
    assert line.split() == [name, *numbers(one, name)]


@pytest.mark.parametrize("name", ["[/red] car", "[class] 3", "[bold]", ":car: x"])
def test_class_names_are_no_markup(name: str) -> None:
    one = renamed(name)
    (line,) = (line for line in printed(one, markup=True).splitlines() if line.startswith(name))
    assert line.removeprefix(name).split() == numbers(one, name)
