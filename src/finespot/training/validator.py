"""Validation in the loop: the same pipeline as `finespot val`, on the averaged weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch

from finespot import inference, metrics
from finespot.boxes import suppressor
from finespot.data import Dataset, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import Validation
from finespot.runtimes import Session
from finespot.structures import Classes
from finespot.training.log import Log
from finespot.training.recipe import Recipe
from finespot.weights import Card, MetricRecord

# The score that decides which weights are best; a protocol without it decides by its first score.
FITNESS = "AP"


class Validator:
    """Scores a detector on a data set as the recipe's `val` section says.

    The number of threads is the training's own, so that validating does not change what the next epoch computes.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, card: Card, batch: int, log: Log) -> None:
        self.recipe, self.dataset, self.card, self.batch, self.log = recipe, dataset, card, batch, log
        metrics.protocol(recipe.val.protocol)  # an unknown name is said before the first epoch
        self.records: list[MetricRecord] = []

    def __call__(self, model: Any) -> dict[str, float | None]:
        """Scores by name, and `fitness`: the AP, or None where the data set has nothing to find."""
        session = Session(model, card=self.card, threads=torch.get_num_threads())
        values = dict(self.run(session).report.values)
        self.records = [self.record(values)]
        return {**values, "fitness": fitness(values)}

    def run(self, session: Session) -> Validation:
        """Validate a session's network."""
        val = self.recipe.val
        with self.log.validation(len(self.dataset)) as progress:
            return inference.validate(
                session,
                self.dataset,
                protocol=val.protocol,
                imgsz=self.card.imgsz,
                batch=self.batch,
                conf=val.conf,
                iou=val.iou,
                nms=val.nms,
                max_det=val.max_det,
                progress=progress,
            )

    def record(self, values: dict[str, Any]) -> MetricRecord:
        """The scores as a weight file keeps them."""
        return MetricRecord(
            protocol=self.recipe.val.protocol,
            data=self.dataset.name,
            split=self.dataset.split,
            imgsz=self.card.imgsz,
            values=values,
        )


def fitness(values: dict[str, float | None]) -> float | None:
    """The score that decides which weights are best; None where there is none."""
    value = values.get(FITNESS)
    return value if value is not None else next((v for v in values.values() if v is not None), None)


def open_val(recipe: Recipe, classes: Classes, log: Log) -> Dataset | None:
    """The split to validate on; None where the recipe never validates."""
    metrics.protocol(recipe.val.protocol)
    if recipe.val.nms is not None:
        suppressor(recipe.val.nms)
    if recipe.val.every == 0:
        log.note("validation: never (val.every is 0); best is the last epoch")
        return None
    dataset = open_dataset(recipe.data, recipe.splits.val)
    where = f"{recipe.data}, split '{recipe.splits.val}'"
    if dataset.classes.names != classes.names:
        raise FineSpotError(
            f"expected the classes of '{recipe.splits.train}' but got {', '.join(dataset.classes.names)}", where=where
        )
    ids = Counter(dataset.image_id(index) for index in range(len(dataset)))
    shared = [one for one, count in ids.items() if count > 1]
    if shared:  # validation could not tell the pictures apart, and would say so after the first epoch
        raise FineSpotError(f"expected pictures of different ids but got '{shared[0]}' twice", where=where)
    for note in dataset.notes:
        log.note(f"{recipe.splits.val}: {note}")
    return dataset


def warn_of_shared(recipe: Recipe, train: Dataset, val: Dataset, log: Log) -> None:
    """Say where pictures that are validated on are trained on too."""
    learned = {train.path(index) for index in range(len(train))}
    both = sum(val.path(index) in learned for index in range(len(val)))
    if both:
        log.note(f"warning: {both} of {len(val)} pictures of {recipe.splits.val} are trained on: scores flatter")


def val_batch(recipe: Recipe, log: Log) -> int:
    """Windows that validation runs together."""
    if recipe.val.batch is not None:
        return recipe.val.batch
    log.note(f"val.batch: {2 * recipe.batch} (twice the training batch, as there are no gradients to hold)")
    return 2 * recipe.batch
