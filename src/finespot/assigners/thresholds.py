"""Assignment by two thresholds on the similarity of priors and targets, shared by `max_iou` and `simd`.

Pairs are looked at for one picture and about half a million at a time; what remains of them is the best target of each
point, and of each target the best points.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, assignment_of, real_targets
from finespot.assigners.dynamic_k import by_picture
from finespot.assigners.inside import pairs_inside
from finespot.assigners.pairs import lowest
from finespot.structures import Candidates, Targets

Similarity = Callable[[Tensor, Tensor], Tensor]
# Similarities that differ by less, relatively, are ties.
_TIE = 1e-9


def by_thresholds(
    targets: Targets,
    candidates: Candidates,
    windows: Callable[[Tensor], Tensor],
    similarity: Similarity,
    *,
    positive: float,
    negative: float,
    least: float,
    own: bool,
) -> Assignment:
    """Points of similarity `positive` or more answer for the target they are most like; below `negative`: negative.

    Parameters
    ----------
    windows:
        From boxes (T, 4) to the boxes (T, G, 4) in which points of each group can have a similarity that counts; that
        of other pairs is 0.
    similarity:
        From boxes and points, pair by pair, to similarities (K,) in float64.
    least:
        The best points of a target (all ties) are positive at this similarity already, if it is above 0.
    own:
        Such a point answers for that target, rather than for the one that it is most like.
    """
    real = real_targets(targets)
    size, none = len(candidates), real[:0]
    rows, chosen, between = [none], [none], [none]
    for mine, _ in by_picture(targets, real, none, size):
        best, owner, low = _compared(targets.boxes, real[mine], candidates, windows, similarity, least)
        taken = best >= positive
        taken[low[0]] = True
        if own:
            point, target, value = low
            first = lowest(point, -value, 1)
            owner[point[first]] = target[first]
        start = targets.image[real[mine[0]]] * size
        rows.append(taken.nonzero().squeeze(1) + start)
        chosen.append(owner[taken])
        between.append(((best >= negative) & ~taken).nonzero().squeeze(1) + start)
    return assignment_of(targets, candidates, torch.cat(rows), torch.cat(chosen), between=torch.cat(between))


def _compared(
    boxes: Tensor,
    targets: Tensor,
    candidates: Candidates,
    windows: Callable[[Tensor], Tensor],
    similarity: Similarity,
    least: float,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Of one picture: each point's best similarity (N,) and target, and (point, target, similarity) of targets' best.

    Of equal targets the first is a point's best.
    """
    size = len(candidates)
    best = torch.zeros(size, dtype=torch.float64, device=boxes.device)
    owner = torch.zeros(size, dtype=torch.int64, device=boxes.device)
    low = []
    for near, point in pairs_inside(windows(boxes[targets]), candidates):
        value = similarity(boxes[targets[near]], point)
        before = best[point]
        best.scatter_reduce_(0, point, value, "amax")
        winner = ((value == best[point]) & (value > before)).nonzero().squeeze(1)
        owner.scatter_reduce_(0, point[winner], targets[near[winner]], "amin", include_self=False)
        top = value.new_zeros(len(targets)).scatter_reduce_(0, near, value, "amax")[near]
        kept = (value >= top * (1 - _TIE)) & (value >= least) & (value > 0)
        low.append((point[kept], targets[near[kept]], value[kept]))
    point, target, value = (torch.cat(column) for column in zip(*low))
    return best, owner, (point, target, value)
