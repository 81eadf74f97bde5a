"""What a report says: plain values, and a table that a person can trust."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from finespot.metrics import PROTOCOLS, Report, Results, Truth, evaluate

DATA = Path(__file__).parent / "data"


def report(rules="coco", folder="coco") -> Report:
    truth = Truth.read(DATA / folder / "gt.json")
    return evaluate(truth, Results.read(DATA / folder / "dt.json", truth), rules)


def printed(one: Report) -> str:
    console = Console(width=150)
    with console.capture() as capture:
        console.print(one.table())
    return capture.get()


def test_json_is_plain() -> None:
    made = report().to_json("val")
    assert list(made) == ["protocol", "split", "images", "values", "per_class"]
    assert json.loads(json.dumps(made)) == made
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
