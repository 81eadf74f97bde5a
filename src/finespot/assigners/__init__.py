"""Assigners: which points of a dense head answer for which targets."""

from finespot.assigners.assignment import Assigner, Assignment, DensePredictions, Predictions, ignored_points
from finespot.assigners.inside import points_inside
from finespot.assigners.task_aligned import TaskAligned

__all__ = [
    "Assigner",
    "Assignment",
    "DensePredictions",
    "Predictions",
    "TaskAligned",
    "ignored_points",
    "points_inside",
]
