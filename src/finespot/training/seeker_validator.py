"""Validation of a seeker: how much of the pictures is hot where it reaches nearly all objects.

For the threshold that reaches 99 % of the objects (see `inference.reach`), `hot` is the mean share of a picture's area
that is hot: what a detector would have to look at, so the smaller the better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch

from finespot import inference, weights
from finespot.data import Dataset
from finespot.inference import Seeker
from finespot.training.log import Log
from finespot.weights import SeekerCalibration, SeekerCard

RECALL = 0.99


class SeekerValidator:
    """Calibrates a seeker on a data set, with the number of threads of the training."""

    def __init__(self, dataset: Dataset, card: SeekerCard, log: Log) -> None:
        self.dataset, self.card, self.log = dataset, card, log
        self.records: list[SeekerCalibration] = []

    def __call__(self, model: Any) -> dict[str, float | None]:
        """The share that is hot, the threshold, and `fitness`: the share that is not hot."""
        found = self.run(Seeker(model, self.card, threads=torch.get_num_threads(), device=_device(model)))
        self.records = [found]
        return {"hot": found.hot, "threshold": found.threshold, "fitness": 1 - found.hot}

    def run(self, seeker: Seeker) -> SeekerCalibration:
        """Calibrate a seeker."""
        with self.log.validation(len(self.dataset)) as progress:
            return inference.calibrate_seeker(seeker, self.dataset, RECALL, progress=progress)

    def finish(self, best: Path) -> SeekerCalibration:
        """Calibrate the best file as it stands on the disk, and write the threshold into it."""
        network, card = weights.read_seeker(best)
        found = self.run(Seeker(network, card, threads=torch.get_num_threads()))
        weights.save_seeker(best, network, msgspec.structs.replace(card, calibration=found))
        for line in inference.reach_lines(found):
            self.log.note(line)
        return found


def _device(model: Any) -> str:
    return str(next(model.parameters()).device)
