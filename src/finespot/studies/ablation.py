"""`ablate`: train the rows of a study with every seed at equal epochs, and compare them.

The folder `runs/ablate/<study>` holds a folder a cell (see `cells`) and the table so far, written anew after each cell:
`ablation.csv`, `ablation.json`, `ablation.md`, `ablation.png`. The same call goes on where a study was killed, and
takes up what was added to it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from finespot.data import Dataset, open_dataset
from finespot.errors import FineSpotError
from finespot.runtimes.settings import choose_device
from finespot.studies.cells import Cell, Outcome, cells_of, refuse_touched, train_cell
from finespot.studies.costs import RowCost, clock, count
from finespot.studies.drawing import draw
from finespot.studies.results import Results, results
from finespot.studies.study import Row, Study, choose_rows
from finespot.studies.tables import comma_separated, markdown
from finespot.training.recipe import write_recipe
from finespot.training.stages import Stages
from finespot.writers import check_folder, make_folder, write_atomic

PROJECT = Path("runs/ablate")
ROUNDS = 30
_REPORT = "ablation.json"

Note = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A study that is ready: its rows at the input sizes that their networks take, what they cost, its data (None
    where none is named), and the cells in the order of training.
    """

    study: Study
    rows: tuple[Row, ...]
    costs: dict[str, RowCost]
    train: Dataset | None
    val: Dataset | None
    cells: tuple[Cell, ...]
    folder: Path


@dataclass(frozen=True)
class Ablation:
    """A finished study: its folder, its table, the files that were written."""

    folder: Path
    results: Results
    files: tuple[Path, ...]


def plan(study: Study, *, rows: Sequence[str] | None = None, out: str | Path | None = None) -> Plan:
    """Open the data, build every chosen row's network without weights, and settle the order.

    Raises
    ------
    FineSpotError
        The data cannot be opened, a row cannot be built or has stages that contradict its recipe, or the folder is
        another study's, or holds finished cells that were trained otherwise.
    """
    folder = PROJECT / study.name if out is None else Path(out)
    _refuse_another(study, folder)
    chosen = choose_rows(study, rows)
    for row in chosen:
        _refuse_stages(row)
    recipe = study.rows[0].recipe
    train = open_dataset(recipe.data, recipe.splits.train) if recipe.data else None
    val = open_dataset(recipe.data, recipe.splits.val) if recipe.data else None
    # Finished rows that are not chosen stand in the table too, so they must be of this study as well.
    begun = {path.name for path in (folder / "cells").glob("*")}
    wanted = [row for row in study.rows if row in chosen or row.name in begun]
    costs = count(wanted, train)
    sized = [replace(row, recipe=msgspec.structs.replace(row.recipe, imgsz=costs[row.name].imgsz)) for row in wanted]
    names = {row.name for row in chosen}
    refuse_touched(cells_of(study, sized, folder))
    cells = cells_of(study, [row for row in sized if row.name in names], folder)
    return Plan(study, tuple(sized), costs, train, val, tuple(cells), folder)


def _refuse_stages(row: Row) -> None:
    """Refuse stages that cannot be trained before the rows that come first have taken their hours."""
    try:
        Stages.of(row.recipe)
    except FineSpotError as error:
        hint = ", or ".join(one for one in (error.hint, "leave the row out (--rows)") if one)
        raise FineSpotError(f"{error.where}: {error.what}", where=f"row '{row.name}'", hint=hint) from error


def _refuse_another(study: Study, folder: Path) -> None:
    """Refuse a folder with the tables of another study, which would be written over."""
    report = folder / _REPORT
    if not report.is_file():
        return
    try:
        name = json.loads(report.read_text(encoding="utf-8"))["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise FineSpotError("expected the table of a study but cannot read it", where=report) from error
    if name != study.name:
        raise FineSpotError(
            f"the folder holds the study '{name}', not '{study.name}'", where=folder, hint="give another one by --out"
        )


def ablate(
    plan: Plan, *, quiet: bool = False, rounds: int = ROUNDS, threads: int | None = None, note: Note = print
) -> Ablation:
    """Train what is not trained yet, take the times, and write the table.

    Parameters
    ----------
    quiet:
        Without the lines of each training.
    rounds, threads:
        Turns of the timing of each row, and CPU threads in it (None: one for each core of this process).
    note:
        Gets a line before each cell, with the time left, and one for each cell that fails.

    Raises
    ------
    FineSpotError
        No data set is named, the device is not there, or a file cannot be written. What goes wrong in a cell is
        recorded in its outcome.
    """
    if plan.train is None or plan.val is None:
        raise FineSpotError("no data set is named", where="data", hint="for example --data visdrone:DIR")
    if any(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "LOCAL_RANK")):
        raise FineSpotError("a study trains in one process, but a launcher started several", where=plan.study.name)
    for row in plan.rows:
        choose_device(row.recipe.device)
    check_folder(plan.folder)
    make_folder(plan.folder)
    for row in plan.rows:
        write_recipe(row.recipe, plan.folder / "recipes" / f"{row.name}.yaml")
    _train(plan, plan.val, quiet, note)
    done = {row.name: _weights(plan, row) for row in plan.rows}
    files = {name: path for name, path in done.items() if path is not None}
    timing = clock(files, plan.study.rows[0].recipe.device, rounds, threads) if files else None
    found = results(
        plan.study, plan.rows, plan.costs, _outcomes(plan), data=plan.val.name, split=plan.val.split, timing=timing
    )
    return Ablation(plan.folder, found, tuple(_write(found, plan.folder)))


def _train(plan: Plan, val: Dataset, quiet: bool, note: Note) -> None:
    """Train the cells that are not done, one after the other."""
    left = _Left(plan)
    for number, cell in enumerate(plan.cells, start=1):
        before = cell.outcome()
        if before is not None and before.error is None:
            continue
        note(f"cell {number} of {len(plan.cells)}: {cell.title}{left.words(number - 1)}")
        start = time.monotonic()
        outcome = train_cell(cell, val, quiet)
        if outcome.error is not None:
            note(f"failed: {cell.title}: {outcome.error}")
        left.add(outcome, time.monotonic() - start)
        found = results(plan.study, plan.rows, plan.costs, _outcomes(plan), data=val.name, split=val.split)
        _write(found, plan.folder)


class _Left:
    """How long the cells still take, from those that are done: each its row's mean, or that of all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds: dict[str, list[float]] = {}
        for outcome in _outcomes(plan):
            self.add(outcome)

    def add(self, outcome: Outcome, waited: float = 0.0) -> None:
        """Note a cell that is done; `waited` counts validation and drawing too, but of a cell that went on not all."""
        if outcome.error is None:
            self.seconds.setdefault(outcome.row, []).append(max(outcome.seconds, waited))

    def words(self, number: int) -> str:
        """What is to be said before cell `number` (from 0)."""
        known = [one for row in self.seconds.values() for one in row]
        if not known:
            return ""
        rest = 0.0
        for cell in self.plan.cells[number:]:
            outcome = cell.outcome()
            if outcome is None or outcome.error is not None:
                own = self.seconds.get(cell.row.name, known)
                rest += sum(own) / len(own)
        return f" (about {_duration(rest)} left)"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _outcomes(plan: Plan) -> list[Outcome]:
    """What is recorded of all cells of the table."""
    cells = cells_of(plan.study, list(plan.rows), plan.folder)
    return [outcome for cell in cells if (outcome := cell.outcome()) is not None]


def _weights(plan: Plan, row: Row) -> Path | None:
    """A weight file of a row's network, to take its time with."""
    outcomes = [cell.outcome() for cell in cells_of(plan.study, [row], plan.folder)]
    return next((plan.folder / one.weights for one in outcomes if one is not None and one.error is None), None)


def _write(found: Results, folder: Path) -> list[Path]:
    """The table as files; returns them."""
    text = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
    written = [
        write_atomic(folder / "ablation.csv", comma_separated(found)),
        write_atomic(folder / _REPORT, text),
        write_atomic(folder / "ablation.md", markdown(found)),
    ]
    drawn = draw(found, folder / "ablation.png")
    return written if drawn is None else [*written, drawn]
