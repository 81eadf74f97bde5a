"""One cell of a study: a row trained with a seed, and the record that it leaves.

`OUT/cells/<row>/seed-<n>/` holds the run folder (`run`, or `run2` ... where an older one is of another recipe), and
`cell.json`, written when the cell is done or has failed. A cell that was killed goes on after its last finished epoch;
one that failed is tried again by the next call.

What a cell scores is the averaged weights of the last epoch, as their file stands: the best epoch is chosen on the
same pictures that it is scored on, which favors rows that swing more. Its score is kept beside it.
"""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Struct

import finespot
from finespot import weights
from finespot.data import Dataset
from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.studies.study import Row, Study
from finespot.training.log import Log
from finespot.training.metrics_csv import read_metrics
from finespot.training.recipe import Recipe, differences, read_recipe
from finespot.training.run import train
from finespot.training.validator import Validator
from finespot.writers import write_atomic

# Where and how a row computes may differ between two calls; what it learns may not.
FREE = ("device", "workers", "cache", "cache_folder", "save_every")


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a cell.

    Attributes
    ----------
    recipe:
        What was trained, with the seed.
    error:
        Why it failed, in one line; None where it is done, and only then there are scores.
    values, per_class:
        Scores (0 to 1) of the last epoch's averaged weights, by the protocol's names and by class.
    best_epoch, best_values:
        The epoch of the best score among those validated while training, and what its weights score.
    epochs, seconds, memory_mb:
        Epochs trained, their time in all, the most memory that one of them took.
    weights:
        The file that was scored, from the study's folder.
    finespot, torch:
        Versions.
    """

    row: str
    seed: int
    recipe: Recipe
    error: str | None = None
    values: dict[str, float | None] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    best_epoch: int | None = None
    best_values: dict[str, float | None] = {}
    epochs: int = 0
    seconds: float = 0.0
    memory_mb: float = 0.0
    weights: str = ""
    finespot: str = finespot.__version__
    torch: str = str(torch.__version__)


@dataclass(frozen=True)
class Cell:
    """A row and a seed, with the folder of its own below the study's."""

    row: Row
    seed: int
    study: Path

    @property
    def folder(self) -> Path:
        """Where everything of this cell lies."""
        return self.study / "cells" / self.row.name / f"seed-{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """What the cell trains."""
        return msgspec.structs.replace(self.row.recipe, seed=self.seed)

    @property
    def title(self) -> str:
        """The cell in words."""
        return f"{self.row.name}, seed {self.seed}"

    def outcome(self) -> Outcome | None:
        """What became of it, where it is done or has failed.

        Raises
        ------
        FineSpotError
            The record is damaged.
        """
        path = self.folder / "cell.json"
        if not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Outcome)
        except (OSError, msgspec.DecodeError) as error:
            raise FineSpotError(
                f"cannot be read as the record of a cell ({error})", where=path, hint="remove it to score the cell anew"
            ) from error

    def differs(self, recipe: Recipe) -> list[str]:
        """The keys that decide what is learnt in which a recipe is another than the cell's."""
        return [key for key in differences(recipe, self.recipe) if key not in FREE]

    def run(self) -> Path | None:
        """The run folder to go on with: the newest of the cell's own recipe that has a checkpoint, if any."""
        begun = [path for path in self.folder.glob("run*") if (path / "weights" / "resume.pt").is_file()]
        newest = sorted(begun, key=lambda path: (len(path.name), path.name), reverse=True)
        return next((path for path in newest if not self.differs(read_recipe(path / "recipe.yaml"))), None)


def cells_of(study: Study, rows: list[Row], folder: Path) -> list[Cell]:
    """The cells in the order of training: all rows with the first seed, then all with the next, so that a study that
    is cut short has something to say of each row.
    """
    return [Cell(row, seed, folder) for seed in study.seeds for row in rows]


def refuse_touched(cells: list[Cell]) -> None:
    """Refuse a study that wants something else of a cell that is done.

    Raises
    ------
    FineSpotError
        Names the first such cell and the keys.
    """
    for cell in cells:
        outcome = cell.outcome()
        touched = cell.differs(outcome.recipe) if outcome is not None and outcome.error is None else []
        if touched:
            raise FineSpotError(
                f"the cell '{cell.title}' is done, and {', '.join(touched)} would change",
                where=cell.study,
                hint="give the changed study a folder of its own with --out",
            )


def train_cell(cell: Cell, dataset: Dataset, quiet: bool) -> Outcome:
    """Train a cell, or go on with it, and score it; what fails is recorded, not raised."""
    try:
        outcome = _score(cell, _trained(cell, quiet), dataset)
    except Exception as error:
        # A person wants the other rows of a study that runs for days, whatever is wrong with this one.
        said = str(error).strip().partition("\n")[0]
        line = said if isinstance(error, FineSpotError) else f"{type(error).__name__}: {said}"
        outcome = Outcome(row=cell.row.name, seed=cell.seed, recipe=cell.recipe, error=line)
        write_atomic(cell.folder / "error.txt", traceback.format_exc())
    else:
        (cell.folder / "error.txt").unlink(missing_ok=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    write_atomic(cell.folder / "cell.json", msgspec.json.format(msgspec.json.encode(outcome)))
    return outcome


def _trained(cell: Cell, quiet: bool) -> Path:
    """The run folder of the cell, its last epoch finished."""
    recipe, run = cell.recipe, cell.run()
    if run is None:
        return train(recipe=recipe, project=cell.folder, quiet=quiet).folder
    if _epochs_done(run) < recipe.epochs:
        where: dict[str, Any] = {key: getattr(recipe, key) for key in FREE}
        train(resume=run, quiet=quiet, **where)
    return run


def _epochs_done(run: Path) -> int:
    """Finished epochs; the file of a run that was interrupted says those before the interrupt."""
    last = run / "weights" / "last.safetensors"
    return int(weights.read_card(last).provenance["epoch"]) if last.is_file() else 0


def _score(cell: Cell, run: Path, dataset: Dataset) -> Outcome:
    """Validate the last epoch's weights, and say what the run took."""
    recipe, last = cell.recipe, run / "weights" / "last.safetensors"
    rows = read_metrics(run / "metrics.csv")
    log = Log(quiet=True)
    # The recipe named the parts, and they have run in this process already.
    session = Session(last, own_parts=True, threads=torch.get_num_threads(), device=recipe.device)
    batch = 2 * recipe.batch if recipe.val.batch is None else recipe.val.batch
    report = Validator(recipe, dataset, session.card, batch, log).run(session).report
    best = weights.read_card(run / "weights" / "best.safetensors")
    return Outcome(
        row=cell.row.name,
        seed=cell.seed,
        recipe=recipe,
        values=dict(report.values),
        per_class={name: dict(values) for name, values in report.per_class.items()},
        best_epoch=best.provenance.get("epoch"),
        best_values=best.metrics[0].values if best.metrics else {},
        epochs=_epochs_done(run),
        seconds=sum(float(row.get("seconds", 0)) for row in rows),
        memory_mb=max((float(row.get("memory_mb", 0)) for row in rows), default=0.0),
        weights=last.relative_to(cell.study).as_posix(),
    )
