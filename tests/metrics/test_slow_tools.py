"""The evaluator against slow twins of the tools on random truth of several classes, with flags and ties."""

from __future__ import annotations

from dataclasses import replace

import pytest
import slow_tools
from random_tables import marked_tables

from finespot.metrics import PROTOCOLS, Regions, dota_hbb, evaluate

seeds = pytest.mark.parametrize("seed", range(3))


@seeds
def test_visdrone(seed) -> None:
    truth, results = marked_tables(seed)
    truth = replace(truth, regions=Regions())
    values, slow = evaluate(truth, results, "visdrone").values, slow_tools.visdrone(truth, results)
    assert {label: values[label] for label in slow} == pytest.approx(slow, abs=1e-9)


@seeds
@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_dota(seed, iou) -> None:
    truth, results = marked_tables(seed)
    assert evaluate(truth, results, dota_hbb(iou=iou)).values["map_voc07"] == pytest.approx(
        slow_tools.dota(truth, results, iou), abs=1e-9
    )


@seeds
def test_miss_rate(seed) -> None:
    truth, results = marked_tables(seed)
    rules = PROTOCOLS["tinyperson-mr"]
    values = evaluate(truth, results, rules).values
    for row in rules.rows:
        area = rules.areas[rules.position(row)]
        slow = slow_tools.miss_rate(truth, results, row.iou, area.low, area.high)
        assert values[row.label] == pytest.approx(slow, abs=1e-9), row.label
