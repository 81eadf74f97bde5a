"""What the weights of a run say of themselves."""

from __future__ import annotations

from typing import Any

import finespot
from finespot.data import Dataset
from finespot.training.recipe import Recipe
from finespot.training.stages import Stages
from finespot.training.tasks.seeker import Seek
from finespot.weights import Card, ObjectScale, SeekerCard


def make_card(
    recipe: Recipe, task: Any, dataset: Dataset, max_det: int, objects: ObjectScale | None = None
) -> Card | SeekerCard:
    """The card of the weights that a run makes; they come from the data of the weights they start from too."""
    licences = [part for text in (recipe.data_licence, task.source_licence) for part in text.split("; ") if part]
    provenance: dict[str, Any] = {
        "made_by": f"finespot {finespot.__version__} train",
        "data": dataset.name,
        "split": recipe.splits.train,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
    }
    if recipe.curriculum is not None:
        provenance["curriculum"] = Stages.of(recipe).curriculum
    if recipe.stage is not None:
        provenance["stage"] = recipe.stage
    if task.source:
        provenance["started_from"] = task.source
    licence = "; ".join(dict.fromkeys(licences))
    if isinstance(task, Seek):
        return SeekerCard(
            reduction=recipe.options["reduction"],
            stride=task.model.stride,
            width=task.model.width,
            data_licence=licence,
            provenance=provenance,
        )
    return Card(
        architecture=task.model.architecture,
        classes=dataset.classes,
        imgsz=recipe.imgsz,
        mean=task.normalization.mean,
        std=task.normalization.std,
        tiling=recipe.tile.tiling,
        objects=objects,
        resolution=recipe.gsd,
        max_det=max_det,
        data_licence=licence,
        provenance=provenance,
    )
