"""Some of the classes of a truth, or all of it as a protocol takes it, and the detections that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from finespot.errors import FineSpotError
from finespot.metrics.arrangement import ALL_CLASSES, ignored_rows
from finespot.metrics.protocols import Protocol
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


def by_rules(truth: Truth, results: Results, rules: Protocol) -> tuple[Truth, Results]:
    """The tables as a protocol takes them, for what knows crowds and classes but no protocols (TIDE, confusions).

    What the protocol ignores becomes a crowd, and nothing else is one; classes that it leaves out go; where it takes
    all classes for one, there is one.
    """
    truth = replace(truth, crowd=ignored_rows(truth, rules))
    left = [name for name in truth.classes if name not in rules.unevaluated]
    if len(left) < len(truth.classes):
        truth, results = of_classes(truth, results, left)
    if rules.pooled:
        results = results.select(results.label >= 0)
        truth = replace(truth, classes=Classes((ALL_CLASSES,)), label=np.zeros(len(truth), np.int64))
        results = replace(results, label=np.zeros(len(results), np.int64))
    return truth, results
