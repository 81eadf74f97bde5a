"""Points in groups that share a stride and a prior box: a level of a head, or one anchor of a level.

Assigners that rank by geometry compare targets with a box at each point, its prior: the head's anchor box, or, for
heads without, a square about the point. Within a group all priors have one size, so that nearer is always more alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.structures import Candidates


@dataclass(frozen=True)
class Groups:
    """`of_point` (N,) is the group of each point, `first` (G,) one point of each group."""

    of_point: Tensor
    first: Tensor

    def __len__(self) -> int:
        return len(self.first)


def groups_of(candidates: Candidates) -> Groups:
    """The grids of the candidates; of loose points, those of one stride and one anchor size."""
    device = candidates.strides.device
    if candidates.grids:
        counts = torch.tensor([rows * columns for _, rows, columns in candidates.grids], device=device)
        group = torch.arange(len(counts), device=device).repeat_interleave(counts, output_size=len(candidates))
        return Groups(group, counts.cumsum(0) - counts)
    key = candidates.strides[:, None]
    if candidates.sizes is not None:
        key = torch.cat((key, candidates.sizes), 1)
    kinds, group = torch.unique(key, dim=0, return_inverse=True)
    places = torch.arange(len(group), device=device)
    first = torch.full((len(kinds),), len(group), device=device).scatter_reduce_(0, group, places, "amin")
    return Groups(group, first)


def prior_sizes(candidates: Candidates, groups: Groups, scale: float) -> Tensor:
    """Width and height (G, 2) of each group's priors: the anchors, or squares of `scale` strides."""
    if candidates.sizes is not None:
        return candidates.sizes[groups.first]
    return (candidates.strides[groups.first] * scale)[:, None].expand(-1, 2)


def centered(centers: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (..., 4) of `sizes` (..., 2) about `centers` (..., 2)."""
    return torch.cat((centers - sizes / 2, centers + sizes / 2), -1)
