"""Which cores are computed: a score each, a threshold and a budget, without loops and without a guess.

A core fires where the seeker's map does somewhere in it. Of equal scores the core that comes first is the better one.
The budget holds for each picture, so that what is computed of a picture does not depend on the others of its batch.
Where the number of windows follows from the rule alone (all, or a budget without threshold) nothing is read back from
the device, else one number is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.nn.windows.grid import Grid
from finespot.structures import Targets

# Cores without objects that a training step computes at least.
BACKGROUND = 2


def choose(scores: Tensor, threshold: float, budget: int | None = None) -> Tensor:
    """The cores (B, N) bool that fire, by logits (B, N), and of them the `budget` best of each picture.

    A core fires at a probability of `threshold` or more; all do at 0.
    """
    scores = scores.float()
    fires = torch.sigmoid(scores) >= threshold if threshold > 0 else torch.ones_like(scores, dtype=torch.bool)
    if budget is None or budget >= scores.shape[1]:
        return fires
    order = scores.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(scores.shape[1], device=order.device).expand_as(order)
    )
    return fires & (rank < budget)


def indices(picked: Tensor, each: int | None = None) -> Tensor:
    """The places (K,) of what is set in (B, N), in order: picture * N + core.

    `each` is how many are set in every picture, where that is known: then nothing is read back.
    """
    if each is None:
        return picked.flatten().nonzero().squeeze(1)
    # A stable sort: what is set first, by rising number.
    order = picked.int().argsort(dim=1, descending=True, stable=True)[:, :each]
    return (order + torch.arange(len(picked), device=picked.device)[:, None] * picked.shape[1]).flatten()


def for_training(objects: Tensor, scores: Tensor, threshold: float, least: int, draw: Tensor) -> Tensor:
    """The places (K,) of the cores to learn from: all that hold an object, then such that fire, then others.

    K is `least`, so that steps are alike, or as many as hold an object and `BACKGROUND` more; `objects` and logits
    `scores` are (B, N), `draw` (B, N) numbers from 0 to below 1 that decide among equals.
    """
    count = max(int(objects.sum()) + BACKGROUND, least)
    rank = draw + choose(scores, threshold) + 2 * objects
    order = rank.flatten().argsort(dim=0, descending=True, stable=True)[:count]
    return order.sort().values


def object_cores(targets: Targets, grid: Grid, stride: int) -> Tensor:
    """The cores (B, N) bool that hold the center of an object, on a map of `stride`; ignore regions do not count."""
    real = ~targets.ignore
    boxes = targets.boxes[real]
    place = targets.image[real] * grid.cores + grid.core_of((boxes[:, :2] + boxes[:, 2:]) / (2 * stride))
    held = torch.zeros(targets.batch * grid.cores, dtype=torch.bool, device=place.device)
    held[place] = True
    return held.view(targets.batch, grid.cores)


def peaks(values: Tensor) -> Tensor:
    """A map (B, 1, rows, columns) with all but its local maxima (3 x 3, plateaus too) at minus infinity."""
    return torch.where(values == F.max_pool2d(values, 3, 1, 1), values, -math.inf)
