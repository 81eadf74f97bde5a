"""What assigners are given and what they answer.

Points are counted over the batch: row = picture * N + point, for a head with N points a picture. Predictions are read
row by row, so that a head need not decode the points that no target could take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from finespot.assigners.inside import points_inside
from finespot.assigners.pairs import distinct
from finespot.structures import Candidates, Targets


class Predictions(Protocol):
    """A head's outputs at chosen rows, without gradient, float32."""

    def boxes(self, rows: Tensor) -> Tensor:
        """Decoded boxes (K, 4), xyxy in input pixels."""

    def scores(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Class probabilities (K,) of the given labels."""

    def class_scores(self, rows: Tensor) -> Tensor:
        """Probabilities (K, classes) of all classes."""


@dataclass(frozen=True)
class DensePredictions:
    """Predictions that exist already: `all_boxes` (B, N, 4) and `all_scores` (B, N, classes) as probabilities."""

    all_boxes: Tensor
    all_scores: Tensor

    def boxes(self, rows: Tensor) -> Tensor:
        """Boxes (K, 4) at the rows."""
        return self.all_boxes.detach().reshape(-1, 4)[rows].float()

    def scores(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Probabilities (K,) of the labels at the rows."""
        return self.all_scores.detach().flatten(0, 1)[rows, labels].float()

    def class_scores(self, rows: Tensor) -> Tensor:
        """Probabilities (K, classes) at the rows."""
        return self.all_scores.detach().flatten(0, 1)[rows].float()


@dataclass(frozen=True)
class Assignment:
    """Which points answer for which targets.

    rows (P,): positive points, each once (an assigner whose points may answer for several targets says so); targets
    (P,): the row of `Targets` that each answers for; weights (P,): its soft class target, 0 to 1 (a point of weight 0
    is a negative one in all but name). positives (T,): how many points of weight above 0 each target got (0 for
    ignore regions). ignored_rows, ignored_labels (Q,): negative points inside ignore regions, or neither near nor far
    enough from a target, and the class for which they bear no class loss (-1: all classes).
    """

    rows: Tensor
    targets: Tensor
    weights: Tensor
    positives: Tensor
    ignored_rows: Tensor
    ignored_labels: Tensor


def assignment_of(
    targets: Targets,
    candidates: Candidates,
    rows: Tensor,
    chosen: Tensor,
    weights: Tensor | None = None,
    between: Tensor | None = None,
) -> Assignment:
    """The `Assignment` of `rows` (P,) to the targets `chosen` (P,).

    `weights` None means 1 for all; `between` are rows of points that are to count neither as positive nor as negative.
    """
    if weights is None:
        weights = torch.ones(len(rows), device=rows.device)
    above = weights > 0
    ignored_rows, ignored_labels = ignored_points(targets, candidates, rows[above])
    if between is not None:
        ignored_rows = torch.cat((ignored_rows, between))
        ignored_labels = torch.cat((ignored_labels, torch.full_like(between, -1)))
    positives = torch.bincount(chosen[above], minlength=len(targets.boxes))
    return Assignment(rows, chosen, weights, positives, ignored_rows, ignored_labels)


def real_targets(targets: Targets) -> Tensor:
    """Rows of the targets that are no ignore regions."""
    return (~targets.ignore).nonzero().squeeze(1)


def boxes_at(predictions: Predictions, rows: Tensor) -> Tensor:
    """Boxes (K, 4) at rows that occur several times, each decoded once."""
    if len(rows) == 0:
        return predictions.boxes(rows)
    once, place = distinct(rows)
    return predictions.boxes(once)[place]


class Assigner(Protocol):
    """Pure function from predictions, truth and points to an `Assignment`."""

    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment: ...


def ignored_points(targets: Targets, candidates: Candidates, positive_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and labels of the negative points whose center lies in an ignore region."""
    regions = targets.ignore.nonzero().squeeze(1)
    if len(regions) == 0:
        return regions, regions
    region, point = points_inside(targets.boxes[regions], candidates)
    rows = targets.image[regions][region] * len(candidates) + point
    positive = torch.zeros(targets.batch * len(candidates), dtype=torch.bool, device=rows.device)
    positive[positive_rows] = True
    negative = ~positive[rows]
    return rows[negative], targets.labels[regions][region][negative]
