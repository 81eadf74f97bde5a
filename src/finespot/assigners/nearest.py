"""Which points lie nearest to which targets, group by group, as a list of pairs.

On a complete grid the `count` nearest cells lie in the `count` nearest columns and rows: a cell of a further column has
at least `count` cells of its row before it. So a window of that many cells a side is searched, one more for ties and
one for rounding, and not the grid. Points without order are compared with every target, a share at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from finespot.assigners.groups import groups_of
from finespot.structures import Candidates

# Squared distances that differ by less, relatively, are ties.
_TIE = 1e-6
_CHUNK = 1_000_000


def nearest_points(
    middles: Tensor, candidates: Candidates, count: int, scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Per target and group the `count` points nearest to the target's center, and all that lie as far as the last.

    Parameters
    ----------
    middles:
        Centers (T, 2) of the targets.
    scale:
        (T, 2): x and y distances are measured in units of these, such as the target's sides.

    Returns
    -------
    target, point:
        Two (K,) int64, by target, then by point.
    """
    units = torch.ones_like(middles) if scale is None else scale
    search = _on_grids if candidates.grids else _among_all
    target, point = search(middles, units, candidates, count)
    order = (target * len(candidates) + point).argsort()
    return target[order], point[order]


def center_distance(boxes: Tensor, centers: Tensor) -> Tensor:
    """Squared distance (K,) of points from the centers of boxes (K, 4)."""
    return ((boxes[:, :2] + boxes[:, 2:]) / 2 - centers).square().sum(1)


def _on_grids(middles: Tensor, units: Tensor, candidates: Candidates, count: int) -> tuple[Tensor, Tensor]:
    found, start = [], 0
    for stride, rows, columns in candidates.grids:
        cell = middles / stride - candidates.offset
        x, y = (_window(cell[:, axis], count + 2, most) for axis, most in ((0, columns), (1, rows)))
        points = (start + y[:, :, None] * columns + x[:, None, :]).flatten(1)
        target, place = _closest(candidates.centers[points], middles, units, count)
        found.append((target, points[target, place]))
        start += rows * columns
    return _joined(found, middles.device)


def _window(cell: Tensor, width: int, most: int) -> Tensor:
    """The `width` cell numbers (T, width) next to each fractional one, all inside 0 to `most` - 1."""
    width = min(width, most)
    first = ((cell - width / 2).floor().long() + 1).clamp(0, most - width)
    return first[:, None] + torch.arange(width, device=cell.device)


def _among_all(middles: Tensor, units: Tensor, candidates: Candidates, count: int) -> tuple[Tensor, Tensor]:
    groups, found = groups_of(candidates), []
    share = max(_CHUNK // max(len(candidates), 1), 1)
    for begin in range(0, len(middles), share):
        part = slice(begin, begin + share)
        for group in range(len(groups)):
            points = (groups.of_point == group).nonzero().squeeze(1)
            target, place = _closest(candidates.centers[points][None], middles[part], units[part], count)
            found.append((target + begin, points[place]))
    return _joined(found, middles.device)


def _closest(centers: Tensor, middles: Tensor, units: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(target, place) of the `count` smallest distances and their ties, of centers (T or 1, M, 2)."""
    away = ((centers - middles[:, None]) / units[:, None]).square().sum(2)
    count = min(count, away.shape[1])
    furthest = away.topk(count, largest=False).values[:, -1:] if count else away
    target, place = (away <= furthest * (1 + _TIE)).nonzero().unbind(1)
    return target, place


def _joined(found: list[tuple[Tensor, Tensor]], device: torch.device) -> tuple[Tensor, Tensor]:
    none = torch.zeros(0, dtype=torch.int64, device=device)
    return torch.cat([none, *(target for target, _ in found)]), torch.cat([none, *(point for _, point in found)])
