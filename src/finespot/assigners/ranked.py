"""Assignment by rank of geometric similarity, shared by `rfla` and `nwd_ranked`: every target gets its best priors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, assignment_of
from finespot.assigners.inside import pairs_inside
from finespot.assigners.pairs import lowest
from finespot.structures import Candidates, Targets


def last_of_each(rows: Tensor, target: Tensor) -> Tensor:
    """Indices of the pairs that hold, one a row, by row: of several targets the last one has it."""
    return lowest(rows, -target, 1)


def ranked_assignment(
    targets: Targets,
    candidates: Candidates,
    real: Tensor,
    near: Tensor,
    rows: Tensor,
    windows: Tensor,
    alike: Callable[[Tensor, Tensor], Tensor],
) -> Assignment:
    """`rows` are positive for the targets `near` (numbers among `real`); other points alike enough count for nothing.

    `windows` (T or T, G, 4) are boxes of the real targets in which such points lie; `alike` says of (target, point)
    pairs which are.
    """
    spared = torch.zeros(targets.batch * len(candidates), dtype=torch.bool, device=rows.device)
    for target, point in pairs_inside(windows, candidates):
        kept = alike(target, point)
        spared[targets.image[real][target[kept]] * len(candidates) + point[kept]] = True
    spared[rows] = False
    return assignment_of(targets, candidates, rows, real[near], between=spared.nonzero().squeeze(1))
