"""The protocols of VisDrone, UAVDT, TinyPerson, SODA-D and DOTA against every number that their own tools print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finespot.metrics import PROTOCOLS, Report, Results, Truth, dota_hbb, evaluate, tinyperson
from finespot.metrics.miss_rate import FPPI
from finespot.metrics.reading import read_results, read_truth

DATA = Path(__file__).parent / "data"
EXPECTED = json.loads((DATA / "expected_tools.json").read_text())


def close(value, official) -> bool:
    """Whether a value is the official one, where both -1 and NaN (written as null) are none."""
    return abs((-1 if value is None else value) - (-1 if official is None else official)) < 1e-9


def coco_report(folder: str, rules) -> Report:
    truth = Truth.read(DATA / folder / "gt.json")
    return evaluate(truth, Results.read(DATA / folder / "dt.json", truth), rules)


@pytest.fixture(scope="module")
def visdrone() -> Report:
    truth = read_truth(DATA / "visdrone/annotations", "visdrone", images=DATA / "visdrone/image_sizes.json")
    return evaluate(truth, read_results(DATA / "visdrone/detections", truth, "visdrone"), "visdrone")


def test_visdrone(visdrone) -> None:
    expected = EXPECTED["visdrone"]
    wanted = {**expected["official"], **{f"{label}_macro": value for label, value in expected["macro"].items()}}
    assert list(visdrone.values) == list(wanted)
    for label, official in wanted.items():
        assert close(visdrone.values[label], official), label
    assert visdrone.unit == "percent"


def test_visdrone_by_class(visdrone) -> None:
    expected, averages = EXPECTED["visdrone"], visdrone.averages
    numbers = [str(category) for category in range(1, 11)]
    assert averages.holding.tolist() == [expected["class_weights"].get(number, 0) for number in numbers]
    # The tool's table has zeros for classes without truth.
    average = np.nan_to_num(averages.average[0, 500]) * 100
    np.testing.assert_allclose(
        average, [expected["AP_per_class_per_iou"][number] for number in numbers], rtol=0, atol=1e-9
    )
    for limit in (1, 10, 100, 500):
        recall = np.nan_to_num(averages.recall[0, limit]).mean(axis=1) * 100
        official = [expected["AR_per_class"][number][str(limit)] for number in numbers]
        np.testing.assert_allclose(recall, official, rtol=0, atol=1e-9)
    for k, name in enumerate(visdrone.classes):
        assert close(visdrone.per_class[name]["AP"] or 0, average[k].mean())


def test_visdrone_keeps_what_regions_leave(visdrone) -> None:
    kept = {name: {"truths": one[0], "detections": one[1]} for name, one in visdrone.kept.items()}
    assert kept == EXPECTED["visdrone"]["kept_after_ignore_drop"]
    assert "others" not in visdrone.classes


def test_uavdt() -> None:
    truth = read_truth(DATA / "uavdt/GT", "uavdt")
    report = evaluate(truth, read_results(DATA / "uavdt/RES_DET/det_syn", truth, "uavdt"), "uavdt")
    expected = EXPECTED["uavdt"]
    assert close(report.values["AP_overall"], expected["AP_overall"])
    assert round(report.values["AP_overall"], 2) == expected["AP_overall_rounded_2"]
    assert close(report.values["final_recall"], expected["final_recall"])
    assert report.detections == expected["detections_counted"]
    assert report.images == 16592


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        ("ap", PROTOCOLS["tinyperson"]),
        ("ap_no_iod", tinyperson(iod=False)),
        ("ap_no_uncertain", tinyperson(uncertain=False)),
        ("ap_no_ignore_attr", tinyperson(ignore=False)),
        ("mr", PROTOCOLS["tinyperson-mr"]),
    ],
)
def test_tinyperson(key, rules) -> None:
    values, expected = coco_report("tinyperson", rules).values, EXPECTED["tinyperson"][key]
    assert list(values) == list(expected)
    for label, official in expected.items():
        assert close(values[label], official), label


def test_reference_points_of_the_miss_rate() -> None:
    np.testing.assert_allclose(FPPI, EXPECTED["tinyperson"]["fppi_thresholds"], rtol=0, atol=1e-12)


def test_soda_d() -> None:
    report, expected = coco_report("soda_d", "soda-d"), EXPECTED["soda_d"]
    assert list(report.values)[:14] == expected["labels"]
    for (label, value), official in zip(report.values.items(), expected["stats"]):
        assert close(value, official), label
    assert list(report.classes) == [name for name in report.per_class if name != "ignore"]
    assert len(expected["per_class"]) == len(report.classes) == 9
    for name, row in zip(report.classes, expected["per_class"].values()):
        assert close(report.per_class[name]["AP"], row["AP_maxDets100"]), name
        assert close(report.per_class[name]["AP_table_maxDets1000"], row["AP_table_maxDets1000"]), name


@pytest.mark.parametrize(
    ("key", "version", "iou"),
    [("v1_0_difficult_used", "1.0", 0.5), ("v1_5_difficult_ignored", "1.5", 0.5), ("v1_0_iou75", "1.0", 0.75)],
)
def test_dota(key, version, iou) -> None:
    truth = read_truth(DATA / "dota_hbb/labelTxt", "dota", images=DATA / "dota_hbb/imageset.txt")
    results = read_results(DATA / "dota_hbb/results", truth, "dota")
    report = evaluate(truth, results, dota_hbb(version, iou=iou))
    exact = evaluate(truth, results, dota_hbb(version, iou=iou, integral="area"))
    expected = EXPECTED["dota_hbb"][key]
    assert close(report.values["map_voc07"], expected["map_voc07"])
    assert list(report.classes) == list(expected["per_class"])
    for name, row in expected["per_class"].items():
        # The tool's 11 points give 0 to a class without truth, where it says nothing of the others.
        assert close(report.per_class[name]["map_voc07"] or 0, row["ap_voc07"]), name
        assert close(exact.per_class[name]["map_all_points"], row["ap_all_points"]), name
        assert close(report.per_class[name]["final_recall"], row["final_recall"]), name
        assert report.found[name] == row["n_det"]
