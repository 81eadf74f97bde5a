"""Some of the classes of a truth, and the detections that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from finespot.errors import FineSpotError
from finespot.metrics.tables import Results, Truth
from finespot.structures import Classes


def of_classes(truth: Truth, results: Results, names: Sequence[str]) -> tuple[Truth, Results]:
    """The tables as if the truth had these of its classes only, in its own order.

    Detections of the others get the label -1, because they take places under a limit that counts all classes.

    Raises
    ------
    FineSpotError
        A name is none of the truth's classes, or there is none.
    """
    labels = sorted(set(truth.classes.labels(list(names))))
    if not labels:
        raise FineSpotError("expected the name of a class but got none", where="classes")
    position = np.full(len(truth.classes) + 1, -1)  # the last entry is that of the label -1
    position[labels] = np.arange(len(labels))
    kept = truth.select(position[truth.label] >= 0)
    classes = Classes(
        tuple(truth.classes.names[label] for label in labels),
        tuple(truth.classes.original_ids[label] for label in labels),
    )
    return (
        replace(kept, classes=classes, label=position[kept.label]),
        replace(results, label=position[results.label]),
    )
