"""Means, spreads and differences over seeds, and the tables made of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finespot.studies import Results, drawing, load_study
from finespot.studies.cells import Outcome
from finespot.studies.costs import Latency, RowCost, Timing
from finespot.studies.drawing import draw
from finespot.studies.results import Spread, results
from finespot.studies.tables import comma_separated, markdown, remarks, terminal

STUDY = """
title: Three | rows
seeds: [0, 1, 2]
baseline: plain
rows:
  plain: {claimed: {AP: 20, AP50: 40, protocol: theirs, source: a paper}}
  good: {set: {lr: 0.5}, group: steps, claimed: {AP: 21.5, parameters: 123, protocol: theirs, source: a paper}}
  like: {of: good, set: {lr: 0.6}, note: not much}
  lost: {set: {lr: 0.7}}
"""
COST = RowCost(imgsz=640, classes=4, parameters=2000, parameters_fused=1234567, gflops=6.6, gflops_fused=6.5)


def found(tmp_path: Path, values: dict[str, dict[int, float | None]], seeds: list[int] | None = None) -> Results:
    """A study's results where each row scores so with each seed (None: the cell failed)."""
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    study = load_study(path, seeds=seeds)
    outcomes = [
        Outcome(row=row, seed=seed, recipe=study.row(row).recipe, error="broke", torch="2.0")
        if value is None
        else Outcome(row=row, seed=seed, recipe=study.row(row).recipe, values={"AP": value}, torch=f"{2 + seed}.0")
        for row, cells in values.items()
        for seed, value in cells.items()
    ]
    timing = Timing({"plain": Latency(2.0, 1.5, 2.5)}, "a machine")
    costs = {row.name: COST for row in study.rows}
    return results(study, study.rows, costs, outcomes, data="set", split="val", timing=timing)


@pytest.fixture
def table(tmp_path: Path) -> Results:
    return found(
        tmp_path,
        {
            "plain": {0: 0.20, 1: 0.22, 2: 0.21},
            "good": {0: 0.23, 1: 0.27, 2: 0.25},
            "like": {0: 0.21, 2: 0.23},
            "lost": {1: None},
        },
    )


def test_spread_is_half_the_range() -> None:
    spread = Spread.of([0.1, 0.4, 0.1])
    assert spread is not None
    assert (spread.mean, spread.half, spread.low, spread.high) == pytest.approx((0.2, 0.15, 0.1, 0.4))
    single = Spread.of([0.1])
    assert single is not None
    assert single.half is None
    assert Spread.of([]) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_the_mean_lies_within_its_range(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.half is not None
    assert spread.low - 1e-9 <= spread.mean <= spread.high + 1e-9
    assert spread.high - spread.low == pytest.approx(2 * spread.half)


def test_differences_are_seed_by_seed(table: Results) -> None:
    plain, good, like, lost = table.lines
    assert "AP" not in plain.differences
    better = good.differences["AP"]
    assert better is not None
    assert (better.spread.mean, better.spread.half) == pytest.approx((0.04, 0.01))
    assert better.apart is True
    # 0.21 and 0.23 beside 0.20 and 0.21 of the same seeds.
    same = like.differences["AP"]
    assert same is not None
    assert (same.spread.mean, same.spread.seeds, same.apart) == (pytest.approx(0.015), 2, False)
    assert lost.differences["AP"] is None
    assert lost.scores["AP"] is None


def test_with_one_seed_nothing_is_said_of_the_spread(tmp_path: Path) -> None:
    table = found(tmp_path, {"plain": {0: 0.2}, "good": {0: 0.3}}, seeds=[0])
    difference = table.lines[1].differences["AP"]
    assert difference is not None
    assert (difference.apart, difference.spread.half) == (None, None)
    assert "| good | steps | 30.0 |" in markdown(table)
    assert "| +10.0 |" in markdown(table)
    assert "one seed, so their spread is not known" in remarks(table)[0]


def test_the_page_for_people_is_in_percent(table: Results) -> None:
    page = markdown(table)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| **row** | **group** | **AP** | **AP50** |")
    assert rows[0].endswith("| **ms** | **claimed AP** | **claimed AP50** | **claimed difference** |")
    assert rows[2].startswith("| plain |  | 21.0 ± 1.0 | - |")
    assert rows[2].endswith("| - | 1,234,567 | 6.50 | 2.0 (1.5 to 2.5) | 20 | 40 | - |")
    assert rows[3].startswith("| good | steps | 25.0 ± 2.0 |")
    assert rows[3].endswith("| +4.0 ± 1.0 * | 1,234,567 | 6.50 | - | 21.5 | - | +1.5 |")
    assert "| +1.5 ± 0.5 |" in rows[4]
    assert "# Three | rows" in page
    assert "* like: `optimizer.lr=0.6`, on top of good (not much)" in page


def test_remarks_say_how_the_numbers_came_about(table: Results) -> None:
    said = "\n".join(remarks(table))
    assert "seeds 0, 1, 2: mean ± half the range over seeds" in said
    assert "not all seeds are done of: like, lost" in said
    assert "failed: lost, seed 1: broke" in said
    assert "claimed for plain, good: a paper; theirs" in said
    assert "trained with several versions: finespot" in said
    assert "torch 2.0; " in said
    assert "all rows in turns; a machine" in said


def test_files_hold_shares(table: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    good, lost = rows[1], rows[3]
    assert (good["AP"], good["AP half range"], good["AP difference"]) == ("0.25", "0.02", "0.04")
    assert (good["claimed AP"], good["claimed parameters"], good["claimed AP50"]) == ("0.215", "123.0", "")
    assert (lost["seeds"], lost["failed"], lost["AP"], lost["ms"]) == ("0", "1", "", "")
    data = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert data["rows"][1]["claimed"] == {"AP": 0.215, "parameters": 123, "protocol": "theirs", "source": "a paper"}
    assert data["rows"][1]["differences"]["AP"]["apart"] is True
    assert data["rows"][3]["cells"][0]["error"] == "broke"
    assert data["rows"][0]["latency_ms"] == {"median": 2.0, "low": 1.5, "high": 2.5}


def test_the_terminal_shows_the_same(table: Results) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=300)
    console.print(terminal(table))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "25.0 ± 2.0" in printed
    assert "+4.0 ± 1.0 *" in printed
    assert "failed: lost, seed 1: broke" in printed
    rows = [line for line in printed.splitlines() if line.startswith(("row", "plain", "good"))]
    assert len(rows) == 6
    assert max(map(len, rows)) <= 100
    assert "1,234,567" in rows[-1]
    assert "+1.5" in rows[-1]


@pytest.mark.slow
def test_names_in_the_picture_stand_clear_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(drawing, "save_figure", lambda figure, path: figures.append(figure))
    names = ("plain", "good", "like", "lost")
    draw(
        found(tmp_path, {"plain": {0: 0.2}, "good": {0: 0.2}, "like": {0: 0.2}, "lost": {0: 0.2005}}),
        tmp_path / "a.png",
    )
    figures[0].canvas.draw()
    boxes = [text.get_window_extent() for text in figures[0].axes[0].texts if text.get_text().strip() in names]
    assert len(boxes) == len(names)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    dear = dataclasses.replace(COST, gflops_fused=60.0)
    table = found(tmp_path, {"plain": {0: 0.2}, "good": {0: 0.2}})
    apart = [dataclasses.replace(line, cost=dear) if line.row.name == "good" else line for line in table.lines]
    draw(dataclasses.replace(table, lines=tuple(apart)), tmp_path / "a.png")
    heights = {text.get_position()[1] for text in figures[1].axes[0].texts}
    assert heights == {4.0}


@pytest.mark.slow
def test_the_picture_is_drawn_where_there_are_scores(table: Results, tmp_path: Path) -> None:
    drawn = draw(table, tmp_path / "a.png")
    assert drawn is not None
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert draw(found(tmp_path, {"lost": {1: None}}), tmp_path / "b.png") is None
    assert not (tmp_path / "b.png").exists()
