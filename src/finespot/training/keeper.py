"""What a run keeps in its folder: weights, checkpoint, figures, curves and pictures."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

from torch import nn

from finespot import weights
from finespot.structures import Batch, Classes
from finespot.training.checkpoint import save_checkpoint
from finespot.training.metrics_csv import MetricsCsv
from finespot.training.pictures import draw_batch
from finespot.training.plots import plot_run
from finespot.weights import Card, SeekerCard
from finespot.writers import make_folder, write_atomic

# Seconds between two drawings of the curves while the run goes on; drawing takes about one.
_REDRAW = 60.0


class RunFiles:
    """The files of a run folder.

    Every one of them is written to a temporary name and renamed. Weights and figures come before the checkpoint: a
    run killed in between repeats the epoch and writes the same again.
    """

    def __init__(self, folder: Path, card: Card | SeekerCard, classes: Classes, save_every: int) -> None:
        self.folder, self.card, self.classes, self.save_every = folder, card, classes, save_every
        self.weights, self.plots = folder / "weights", folder / "plots"
        make_folder(self.weights)
        make_folder(self.plots)
        self.csv = MetricsCsv(folder / "metrics.csv")
        self.records: list[Any] = []
        self._batches, self._drawn = 0, time.monotonic()

    @property
    def best(self) -> Path:
        """The averaged weights of the best score, or of the last epoch where nothing was ever scored."""
        return self.weights / "best.safetensors"

    def read_best(self) -> Card | SeekerCard:
        """The card of the best weights, an error where they are damaged or of another kind."""
        return (
            weights.read_seeker_card(self.best) if isinstance(self.card, SeekerCard) else weights.read_card(self.best)
        )

    @property
    def last(self) -> Path:
        """The averaged weights of the last finished epoch."""
        return self.weights / "last.safetensors"

    @property
    def checkpoint(self) -> Path:
        """What the run resumes from."""
        return self.weights / "resume.pt"

    def first_batches(self, batch: Batch) -> None:
        """Draw one of the first training batches."""
        draw_batch(batch, self.classes, self.plots / f"train_batch{self._batches}.jpg")
        self._batches += 1

    def epoch(self, row: dict[str, Any], model: nn.Module, best: bool, state: dict[str, Any]) -> None:
        """Keep a finished epoch; the checkpoint last. As long as no epoch was scored, the latest is the best."""
        # Scores belong to the epoch that was validated, not to those after it.
        records, self.records = self.records, []
        self.save(self.last, model, row["epoch"], records)
        if best or state["progress"]["best"] is None:
            write_atomic(self.best, self.last.read_bytes())
        if self.save_every and row["epoch"] % self.save_every == 0:
            write_atomic(self.weights / f"epoch{row['epoch']}.safetensors", self.last.read_bytes())
        self.csv.add(row)
        save_checkpoint(state, self.checkpoint)
        if time.monotonic() - self._drawn > _REDRAW:
            self.draw()

    def save(self, path: Path, model: nn.Module, epoch: int, records: list[Any]) -> None:
        """Write averaged weights with their card, and what was measured with them: `MetricRecord`s of a detector, the
        `SeekerCalibration` of a seeker.
        """
        card = copy.copy(self.card)
        card.provenance = {**self.card.provenance, "epoch": epoch}
        if isinstance(card, SeekerCard):
            card.calibration = records[0] if records else None
            weights.save_seeker(path, model, card)  # type: ignore[arg-type]
        else:
            card.metrics = list(records)
            weights.save(path, model, card)  # type: ignore[arg-type]

    def draw(self) -> None:
        """Draw the curves."""
        plot_run(self.csv.rows, self.plots)
        self._drawn = time.monotonic()
