"""Each rule of a protocol: that it changes numbers, that a report says it, and what its variants are called."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from random_tables import marked_tables

from finespot.errors import FineSpotError
from finespot.metrics import (
    PROTOCOLS,
    AreaRange,
    Protocol,
    Regions,
    Results,
    Row,
    Truth,
    both,
    dota_hbb,
    evaluate,
    judged,
    tinyperson,
)
from finespot.structures import Classes

CHANGES = [
    ("coco", {"ignored": ("crowd", "ignore")}),
    ("coco", {"iod": "never"}),
    ("visdrone", {"iod": "never"}),
    ("tinyperson-mr", {"iod": "flagged"}),
    ("coco", {"candidate": "any"}),
    ("dota-hbb", {"candidate": "free"}),
    ("dota-hbb", {"pixel": 0}),
    ("coco", {"strict": True}),
    ("coco", {"scope": "picture"}),
    ("visdrone", {"scope": "class"}),
    ("visdrone", {"scope": "picture"}),
    ("coco", {"regions": "half covered"}),
    ("coco", {"regions": "inside"}),
    ("coco", {"regions": "unused"}),
    ("coco", {"integral": "11 points"}),
    ("coco", {"integral": "area"}),
    ("coco", {"class_mean": "pictures"}),
    ("coco", {"class_mean": "names"}),
    ("visdrone", {"recall_of": "counted"}),
    ("tinyperson", {"leftovers": "none"}),
    ("tinyperson", {"leftovers": "half"}),
    ("tinyperson", {"true_iod": True}),
    ("tinyperson-mr", {"true_iod": True}),
    ("tinyperson-mr", {"measure": "area"}),
    ("tinyperson-mr", {"detection_slack": None}),
    ("tinyperson-mr", {"detection_slack": 3.0}),
    ("coco", {"unevaluated": ("c0",)}),
    ("coco", {"id_zero_lost": False}),
    ("tinyperson-mr", {"wrap_index": False}),
    ("ai-tod", {"extra_thresholds": (0.25,)}),
    ("coco", {"percent": True}),
    ("coco", {"pooled": True}),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[f"{name}-{change}" for name, change in CHANGES])
def test_each_rule_changes_numbers_and_is_told(name, change) -> None:
    rules = PROTOCOLS[name]
    changed = replace(rules, **change)
    assert any(
        evaluate(truth, results, changed).values != evaluate(truth, results, rules).values
        for truth, results in (marked_tables(seed) for seed in range(12))
    )
    assert changed.describe() != rules.describe()


def test_no_rule_is_left_untested() -> None:
    named = {key for _, change in CHANGES for key in change}
    elsewhere = {"name", "thresholds", "areas", "max_dets", "rows", "notes", "without_regions"}
    assert {field.name for field in fields(Protocol)} == named | elsewhere


def test_limits_that_ap_does_not_use_are_told() -> None:
    assert PROTOCOLS["soda-d"].describe()[0] == "at most 1000 detections per image and class (AP: 100 and 1000)"
    mixed = PROTOCOLS["coco"].with_max_dets((10, 100, 500))
    assert mixed.describe()[0] == "at most 500 detections per image and class (AP: 100 and 500)"
    assert PROTOCOLS["coco"].describe()[0] == "at most 100 detections per image and class"


def test_notes_are_told() -> None:
    assert PROTOCOLS["uavvaste"].describe()[-1].startswith("sizes are polygon areas")
    assert any("not merged into one" in line for line in PROTOCOLS["uavdt-coco"].describe())


def one_picture(names=("a",), image_ids=("s0/1",), **columns) -> Truth:
    """Two objects of 10 x 10 pixels, of class 0 in picture 0."""
    values = {
        "image": np.zeros(2, int),
        "label": np.zeros(2, int),
        "boxes": np.array([[0, 0, 10, 10], [50, 0, 10, 10]], float),
        "area": np.full(2, 100.0),
        "crowd": np.zeros(2, bool),
        "ids": np.arange(1, 3),
        **columns,
    }
    return Truth(image_ids, Classes(names), **values)


def detections(boxes, scores, label=None) -> Results:
    count = len(scores)
    label = np.zeros(count, int) if label is None else np.array(label)
    return Results(np.zeros(count, int), label, np.array(boxes, float), np.array(scores, float))


def test_sequences_without_regions() -> None:
    truth = one_picture(regions=Regions(np.zeros(1, int), np.array([[60, 60, 30, 30]], float)))
    results = detections([[0, 0, 10, 10], [70, 70, 10, 10]], [0.5, 0.9])
    rules = PROTOCOLS["uavdt"]
    left_out = replace(rules, without_regions=("s0",))
    assert evaluate(truth, results, rules).values == pytest.approx({"AP_overall": 50, "final_recall": 0.5})
    assert evaluate(truth, results, left_out).values["AP_overall"] == pytest.approx(25)
    assert evaluate(truth, results, left_out.clean()).values["AP_overall"] == pytest.approx(50)
    assert "not in the sequences s0" in "; ".join(left_out.describe())


def test_what_a_detection_asks_for() -> None:
    # The second detection overlaps both objects, the better one of which is taken.
    truth = one_picture(boxes=np.array([[0, 0, 10, 10], [4, 0, 10, 10]], float))
    results = detections([[0, 0, 10, 10], [1, 0, 10, 10]], [0.9, 0.8])
    free = judged(truth, results, PROTOCOLS["coco"], iou=0.5)
    asked = judged(truth, results, replace(PROTOCOLS["coco"], candidate="any"), iou=0.5)
    assert (free.partner.tolist(), free.right.tolist()) == ([0, 1], [True, True])
    assert (asked.partner.tolist(), asked.wrong.tolist()) == ([0, -1], [False, True])


def test_the_first_of_equal_truths_is_asked_for() -> None:
    truth = one_picture(boxes=np.array([[0, 0, 10, 10], [10, 0, 10, 10]], float))
    results = detections([[2, 0, 16, 10]], [0.9])
    asked = judged(truth, results, PROTOCOLS["dota-hbb"], iou=0.4)
    free = judged(truth, results, PROTOCOLS["coco"], iou=0.4)
    assert (asked.partner.tolist(), free.partner.tolist()) == ([0], [1])


def test_a_limit_over_all_classes() -> None:
    truth = one_picture(names=("a", "b"), label=np.array([0, 1]))
    results = detections([[0, 0, 10, 10], [50, 0, 10, 10]], [0.4, 0.9], label=[0, 1])
    rules = PROTOCOLS["coco"]
    by_class = evaluate(truth, results, rules).values["AR@1"]
    best = evaluate(truth, results, replace(rules, scope="picture"))
    first = evaluate(truth, results, replace(rules, scope="rows"))
    assert by_class == 1
    assert (best.per_class["a"]["AR@1"], best.per_class["b"]["AR@1"]) == (0, 1)
    assert (first.per_class["a"]["AR@1"], first.per_class["b"]["AR@1"]) == (1, 0)


def test_no_limit() -> None:
    truth, results = marked_tables(0, found=4000)
    rules = replace(PROTOCOLS["coco"], max_dets=(), rows=(Row("AR", "AR"),))
    assert rules.largest is None
    assert evaluate(truth, results, rules).detections == len(results)
    assert evaluate(truth, results, rules).values["AR"] >= evaluate(truth, results).values["AR@100"]
    assert "no limit of detections" in rules.describe()
    limited = PROTOCOLS["dota-hbb"].with_max_dets((7,))
    assert limited.name == "dota-hbb maxDets 7"
    assert evaluate(truth, results, limited).detections < len(results)
    assert PROTOCOLS["dota-hbb"].with_max_dets(()) is PROTOCOLS["dota-hbb"]


def test_extra_thresholds_move_no_mean() -> None:
    truth, results = marked_tables(1)
    rules = PROTOCOLS["ai-tod"]
    clean = replace(rules, id_zero_lost=False)
    with_25 = evaluate(truth, results, rules.clean()).values
    without = evaluate(truth, results, clean).values
    assert without["AP25"] is None
    assert with_25["AP25"] > with_25["AP50"]
    assert {**with_25, "AP25": None} == without


def test_sizes_of_ones_own() -> None:
    truth, results = marked_tables(4)
    rules = PROTOCOLS["coco"].with_sizes([8, 16, 24])
    assert rules.name == "coco sizes 8/16/24"
    report = evaluate(truth, results, rules)
    parts = ["0-8", "8-16", "16-24", "24+"]
    assert list(report.values) == [
        *("AP", "AP50", "AP75", "AR@1", "AR@10", "AR@100"),
        *(f"{kind}_{part}" for kind in ("AP", "AR") for part in parts),
    ]
    plain = evaluate(truth, results)
    assert {key: report.values[key] for key in ("AP", "AP50", "AR@10")} == {
        key: plain.values[key] for key in ("AP", "AP50", "AR@10")
    }
    own = replace(PROTOCOLS["coco"], areas=(AreaRange("mine", 8**2, 16**2),), rows=(Row("AP", "AP", area="mine"),))
    assert report.values["AP_8-16"] == evaluate(truth, results, own).values["AP"]
    assert any("8-16 64-256" in line for line in rules.describe())


def test_sizes_of_protocols_without_any_and_of_sides() -> None:
    truth, results = marked_tables(4)
    visdrone = PROTOCOLS["visdrone"].with_sizes([16])
    values = evaluate(truth, results, visdrone).values
    assert list(values)[-4:] == ["AP_0-16", "AP_16+", "AR_0-16", "AR_16+"]
    assert values["AP_0-16"] != values["AP_16+"]
    assert values["AP"] == evaluate(truth, results, "visdrone").values["AP"]
    sides = PROTOCOLS["tinyperson-mr"].with_sizes([16])
    assert [area.high for area in sides.areas] == [1e10, 16, float("inf")]
    assert list(evaluate(truth, results, sides).values) == [
        *("MR25_All", "MR50_All", "MR75_All", "MR25_0-16", "MR25_16+", "MR50_0-16", "MR50_16+", "MR75_0-16"),
        "MR75_16+",
    ]


@pytest.mark.parametrize("sides", [[], [0, 8], [8, 8], [16, 8]])
def test_sizes_are_refused(sides) -> None:
    with pytest.raises(FineSpotError, match="rising sides above 0"):
        PROTOCOLS["coco"].with_sizes(sides)


def test_clean_variants() -> None:
    for name, rules in PROTOCOLS.items():
        clean = rules.clean()
        if clean is rules:
            continue
        assert clean.name == f"{name} (clean)"
        assert clean.class_mean == "present"
        assert (clean.recall_of, clean.id_zero_lost, clean.wrap_index) == ("counted", False, False)
    assert PROTOCOLS["visdrone"].clean().scope == "picture"
    assert "AP_macro" not in [row.label for row in PROTOCOLS["visdrone"].clean().rows]
    assert PROTOCOLS["ai-tod"].clean().extra_thresholds == (0.25,)
    assert tinyperson().clean().true_iod


def test_both() -> None:
    truth, results = marked_tables(7)
    official, clean = both(truth, results, "visdrone")
    assert official.values == evaluate(truth, results, "visdrone").values
    assert clean is not None
    assert clean.protocol.name == "visdrone (clean)"
    assert clean.values["AP"] != official.values["AP"]
    assert both(truth, results, clean.protocol)[1] is None


def test_regions_of_visdrone_need_sizes() -> None:
    truth, results = marked_tables(0)
    with pytest.raises(FineSpotError, match="expected the sizes of the pictures"):
        evaluate(replace(truth, sizes=None), results, "visdrone")
    nowhere = replace(truth, sizes=None, regions=Regions())
    assert evaluate(nowhere, results, "visdrone").values["AP"] is not None


def test_names_of_built_protocols() -> None:
    assert dota_hbb("1.5", iou=0.75, integral="area").name == "dota-hbb-1.5 IoU 0.75 exact area"
    assert tinyperson(uncertain=False).name == "tinyperson without uncertain"
    with pytest.raises(FineSpotError, match=r"version 1\.0 or 1\.5"):
        dota_hbb("2.0")


def test_judged_follows_the_rules_of_the_protocol() -> None:
    truth = one_picture(
        regions=Regions(np.zeros(1, int), np.array([[40, 0, 40, 40]], float)), sizes=np.array([[99, 99]])
    )
    results = detections([[0, 0, 10, 10], [50, 2, 10, 10]], [0.9, 0.8])
    one = judged(truth, results, PROTOCOLS["visdrone"], iou=0.5)
    assert (one.kept.tolist(), one.right.tolist()) == ([True, False], [True, False])
    assert one.counts.tolist() == [True, False]
    assert one.found.tolist() == [True, False]
