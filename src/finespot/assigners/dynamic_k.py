"""What assigners with a dynamic number of points share: how many a target takes, and the tables of one picture.

The number comes from a target's overlaps with the predictions of all points in question, its own or not. The tables
(targets x points) are made for one picture and a share of its targets at a time, of at most a million entries.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from finespot.assigners.assignment import Predictions
from finespot.structures import Targets

_TABLE = 1_000_000
_SHARE = 8192
# Logarithms of probabilities are kept above this, as in binary cross entropy.
LEAST_LOG = -100.0


def by_picture(targets: Targets, real: Tensor, rows: Tensor, points: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each picture with targets: numbers of its targets among `real`, and those of `rows` (ascending) that it has.

    `points` is the number of points of a picture.
    """
    edges = torch.arange(targets.batch + 1, device=rows.device)
    bounds = torch.searchsorted(targets.image[real].contiguous(), edges).tolist()
    cuts = torch.searchsorted(rows, edges * points).tolist()
    for image in range(targets.batch):
        if bounds[image] < bounds[image + 1]:
            mine = torch.arange(bounds[image], bounds[image + 1], device=rows.device)
            yield mine, rows[cuts[image] : cuts[image + 1]]


def shares(targets: Tensor, points: int) -> Iterator[Tensor]:
    """Parts of `targets` so small that a table with `points` columns keeps its bound."""
    yield from targets.split(max(_TABLE // max(points, 1), 1))


def dynamic_count(overlap: Tensor, top: int) -> Tensor:
    """How many points each target (T,) takes: the sum of its `top` largest overlaps (T, V), cut to a whole, least 1."""
    best = overlap.topk(min(top, overlap.shape[1]), dim=1).values
    return best.sum(1).long().clamp(min=1)


def probabilities(predictions: Predictions, rows: Tensor) -> Iterator[Tensor]:
    """The class probabilities (K, classes) of one part of the rows after the other."""
    for part in rows.split(_SHARE):
        yield predictions.class_scores(part)
