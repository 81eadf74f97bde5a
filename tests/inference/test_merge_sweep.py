"""The sweep over operators: the scores are those of a validation with each, the network runs once."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from finespot.data import open_dataset
from finespot.errors import FineSpotError
from finespot.inference import merge_sweep, validate
from finespot.structures import Tiling

TILES = Tiling(320, 0.2)
OPERATORS = ("greedy", "nmm(metric=ios)", "soft", "weighted")


@pytest.fixture(scope="module")
def dataset(samples):
    return open_dataset(f"hit-uav:{samples}", "val")


@pytest.fixture(scope="module")
def sweep(session, dataset):
    return merge_sweep(session, dataset, operators=OPERATORS, thresholds=(0.4, 0.7), tiling=TILES, conf=0.3)


@pytest.mark.slow
def test_each_row_is_a_validation(session, dataset, sweep) -> None:
    asked = [(row.operator, row.threshold) for row in sweep.rows]
    assert asked == [
        (operator, threshold) for operator in OPERATORS for threshold in ((None,) if operator == "soft" else (0.4, 0.7))
    ]
    for row in sweep.rows[1:5:3]:
        tiling = replace(TILES, merge=row.operator)
        alone = validate(session, dataset, conf=0.3, iou=row.threshold or 0.5, tiling=tiling)
        assert alone.report.values == row.values
        assert sum(map(len, alone.detections)) == row.detections
    assert len({row.detections for row in sweep.rows}) > 4


@pytest.mark.slow
def test_the_network_runs_once(sweep) -> None:
    assert (sweep.timing.pictures, sweep.timing.windows) == (4, 4 * 6)


@pytest.mark.slow
def test_best_table_and_json(sweep) -> None:
    main = sweep.best.values["AP"]
    assert main == max(row.values["AP"] for row in sweep.rows)
    out = io.StringIO()
    Console(file=out, width=200).print(sweep.table())
    lines = out.getvalue().splitlines()
    assert lines[0].split()[:4] == ["merge", "iou", "AP", "AP50"]
    assert len(lines) == 1 + len(sweep.rows)
    assert lines[1].split()[:3] == ["greedy", "0.4", f"{sweep.rows[0].values['AP']:.3f}"]
    assert [row["merge"] for row in sweep.to_json()["rows"]] == [row.operator for row in sweep.rows]


def test_what_is_refused(session, dataset) -> None:
    with pytest.raises(FineSpotError, match="merge-sweep: merges tiles, but nothing is cut; give --slice"):
        merge_sweep(session, dataset)
    for options in ({"operators": []}, {"operators": "greedy"}, {"thresholds": []}):
        with pytest.raises(FineSpotError, match="one of each at least"):
            merge_sweep(session, dataset, tiling=TILES, **options)
    with pytest.raises(FineSpotError, match="unknown nms 'gredy'"):
        merge_sweep(session, dataset, tiling=TILES, operators=["gredy"])
