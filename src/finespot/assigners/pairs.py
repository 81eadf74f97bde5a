"""Lists of pairs of a target and a point: ranks within a target or a point, and one owner for each point."""

from __future__ import annotations

import torch
from torch import Tensor

# Values that differ by less, relatively, are ties.
_TIE = 1e-9


def distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows, ascending, and where each of `rows` stands among them."""
    seen = torch.zeros(int(rows.max()) + 1 if len(rows) else 0, dtype=torch.bool, device=rows.device)
    seen[rows] = True
    return seen.nonzero().squeeze(1), (seen.cumsum(0) - 1)[rows]


def lowest(group: Tensor, cost: Tensor, count: int | Tensor) -> Tensor:
    """Indices of the `count` pairs of least cost (K,) in each group (K,), by group, then by rising cost.

    Equal costs keep their order. `count` may be one number for each group (a tensor that `group` indexes). Costs are
    compared in float32, by one sort: their bits, mirrored where negative, order as integers do.
    """
    bits = (cost.float() + 0.0).contiguous().view(torch.int32).long()
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) + (1 << 31)
    order = torch.sort((group << 32) + rising, stable=True).indices
    within = _places(group[order])
    return order[within < (count if isinstance(count, int) else count[group[order]])]


def lowest_with_ties(group: Tensor, cost: Tensor, count: int) -> Tensor:
    """As `lowest`, with all pairs that cost the same as the last one kept, in their order; costs in float64."""
    order = cost.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    within = _places(group[order])
    most = cost.new_full((int(group.max()) + 1 if len(group) else 0,), -torch.inf)
    kept = order[within < count]
    most.scatter_reduce_(0, group[kept], cost[kept], "amax")
    bound = most[group]
    return (cost <= bound + bound.abs() * _TIE).nonzero().squeeze(1)


def settled(rows: Tensor, wanted: Tensor, cost: Tensor) -> Tensor:
    """Indices of the pairs that hold, one a row, by row: the `wanted` pair, or the cheapest of a contested row.

    A row that several targets want goes to the cheapest of all pairs of that row, wanted or not.
    """
    wishes = torch.zeros_like(rows)
    wishes.scatter_add_(0, wanted, torch.ones_like(wanted))
    of_row = torch.zeros(int(rows.max()) + 1 if len(rows) else 0, dtype=torch.int64, device=rows.device)
    of_row.scatter_add_(0, rows, wishes)
    contested = (of_row[rows] > 1).nonzero().squeeze(1)
    held = wishes > 0
    held[contested] = False
    held[contested[lowest(rows[contested], cost[contested], 1)]] = True
    chosen = held.nonzero().squeeze(1)
    return chosen[rows[chosen].argsort()]


def _places(group: Tensor) -> Tensor:
    """The place of each entry within its run of equal values."""
    place = torch.arange(len(group), device=group.device)
    if len(group) == 0:
        return place
    fresh = torch.ones_like(group, dtype=torch.bool)
    fresh[1:] = group[1:] != group[:-1]
    return place - torch.where(fresh, place, 0).cummax(0).values
