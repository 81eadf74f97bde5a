"""Several models on the same pictures, picture by picture: nothing is kept but the picture that is at hand.

Classes are one where their names are equal, whatever their labels are in each model: `common_classes` is the list that
gives a class one color everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, unknown
from finespot.inference.model import Model
from finespot.inference.sources import Source, open_source
from finespot.structures import ANY_CLASS, Annotations, Classes, Detections, Labels, Tiling


@dataclass(frozen=True, eq=False)
class Comparison:
    """One picture: its name, its pixels (uint8 RGB (H, W, 3)), and what each model found, by the model's name."""

    source: str
    pixels: NDArray[np.uint8]
    found: Mapping[str, Detections]


def compare(
    models: Mapping[str, Model],
    source: Any,
    *,
    classes: Sequence[str] | None = None,
    tiling: Tiling | Mapping[str, Tiling | None] | None = None,
    **options: Any,
) -> Iterator[Comparison]:
    """Detect with every model in all pictures of a source, one picture after the other.

    Parameters
    ----------
    models:
        By the name that each is to have in the results.
    source:
        See `open_source`; no video.
    classes:
        Names of what is looked for; each model looks for those that it knows.
    tiling:
        As in `Model.predict`: one for all models, or by the model's name; what is left out is each model's own.
    options:
        The others of `Model.predict`, for all models; what is left out is each model's own.

    Raises
    ------
    FineSpotError
        As `Model.predict`, before the first picture is asked for where the cause is no picture; a model knows none of
        the classes, or no model knows one of them; a tiling is for none of the models. A picture that one of the models
        could not read is left out: see `skipped` of the models.
    """
    opened = open_source(source)
    if opened.fps is not None:
        raise FineSpotError(
            "compares pictures, not a video", where="source", hint="give some of its frames as pictures"
        )
    wanted = {name: _known(model, name, classes) for name, model in models.items()}
    if classes is not None:
        everything = common_classes([model.classes for model in models.values()])
        for one in classes:
            everything.index(one)
    cut = tiling if isinstance(tiling, Mapping) else dict.fromkeys(models, tiling)
    for name in cut:
        if name not in models:
            raise unknown("model", name, models, where="tiling")
    # The pixels of the first one's run are those of all.
    runs = {
        name: model.predict(opened, classes=wanted[name], tiling=cut.get(name), pixels=place == 0, **options).outcomes
        for place, (name, model) in enumerate(models.items())
    }

    def walk() -> Iterator[Comparison]:
        try:
            for outcomes in zip(*runs.values(), strict=True):
                pixels = outcomes[0].pixels
                if pixels is not None and all(one.error is None for one in outcomes):
                    found = {name: one.detections for name, one in zip(runs, outcomes)}
                    yield Comparison(outcomes[0].detections.source, pixels, found)
        finally:
            for run in runs.values():
                run.close()

    return walk()


def open_pictures(source: Any) -> Source:
    """`open_source`, but for videos, which are read once and in order.

    Raises
    ------
    FineSpotError
        See `open_source`; or the source is a video.
    """
    opened = open_source(source)
    if opened.fps is not None:
        raise FineSpotError(
            "expected pictures but got a video", where="source", hint="give some of its frames as pictures"
        )
    return opened


def common_classes(lists: Sequence[Classes]) -> Classes:
    """The names of all lists, each once, in the order in which they come."""
    return Classes(tuple(dict.fromkeys(name for classes in lists for name in classes)))


def relabelled(found: Detections, classes: Classes) -> Detections:
    """Detections with labels of `classes`, which hold all names of their own."""
    return replace(found, labels=_labels(found.labels, found.classes, classes), classes=classes)


def relabelled_truth(truth: Annotations, own: Classes, classes: Classes) -> Annotations:
    """The truth of a data set of classes `own` with labels of `classes`, which hold all names of them."""
    return replace(truth, labels=_labels(truth.labels, own, classes))


def _labels(labels: Labels, own: Classes, classes: Classes) -> Labels:
    table = np.array([*(classes.index(name) for name in own), ANY_CLASS], np.int64)
    return table[labels]


def _known(model: Model, name: str, classes: Sequence[str] | None) -> list[str | int] | None:
    if classes is None:
        return None
    known: list[str | int] = [one for one in classes if one in model.classes.names]
    if not known:
        raise unknown("class", classes[0], model.classes, where=name)
    return known
