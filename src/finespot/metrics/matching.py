"""Which detection finds which truth: greedy matching by score, for all thresholds and size ranges at once.

The rule is that of pycocotools: within one picture and class the detections come by falling score; each takes the
free truth of the highest overlap that reaches the threshold (the last of equals), and an ignored truth only where no
other fits. Crowds can be taken any number of times and their overlap is intersection over detection; which ignored
truths are treated like crowds is a protocol's business. `match_best` is the other rule in use (VOC, DOTA): a detection
asks for its best truth only, and comes to nothing where that is taken.

What differs is the order of the work. Only pairs whose overlap reaches the lowest threshold are kept; then the first
detections with such a pair of all pictures and classes are settled together, then the second ones, and so on, each
step for all size ranges and thresholds in one array.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.boxes.ranges import range_pairs

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_CHUNK = 200_000


@dataclass(frozen=True)
class Pairs:
    """Detection and truth rows of the same group that overlap enough, with their overlap."""

    detection: Rows
    truth: Rows
    overlap: Floats


@dataclass(frozen=True)
class Matches:
    """The outcome: `partner[k, a, t]` is the truth row that detection `rows[k]` took in range a at threshold t.

    -1 where it took none. `rows` ascend; detections that are not listed took none anywhere.
    """

    rows: Rows
    partner: NDArray[np.int32]


def overlapping_pairs(groups: tuple[Rows, Rows], boxes: tuple[Floats, Floats], iod: Flags, lowest: float) -> Pairs:
    """All pairs of a detection and a truth in one group whose overlap is `lowest` or more (above 0).

    Parameters
    ----------
    groups:
        Group numbers of detections (D,) and truths (G,): one per picture and class.
    boxes:
        (x, y, w, h) of detections (D, 4) and truths (G, 4).
    iod:
        (G,) truths whose overlap is intersection over detection, not over union.
    """
    (d_group, t_group), (d_box, t_box) = groups, boxes
    if not len(d_group) or not len(t_group):
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    d_center, t_center = d_box[:, 0] + d_box[:, 2] / 2, t_box[:, 0] + t_box[:, 2] / 2
    # An IoU of t bounds the distance of centers by (1 - t) / (2 t) of the smaller side; any overlap by half the sum.
    reach = (t_box[:, 2] + d_box[:, 2].max()) / 2
    bound = t_box[:, 2] * ((1 - lowest) / (2 * lowest) + 1e-9)
    reach = np.where(iod, reach, np.minimum(reach, bound))
    low = min(d_center.min(), t_center.min())
    span = max(d_center.max(), t_center.max()) - low + 2.001 * reach.max() + 1
    key = d_group * span + (d_center - low)
    order = np.argsort(key)
    key = key[order]
    middle = t_group * span + (t_center - low)
    slack = 4 * np.spacing(max(np.abs(key).max(), np.abs(middle).max()) + span)
    start = np.searchsorted(key, middle - reach - slack, side="left")
    end = np.searchsorted(key, middle + reach + slack, side="right")
    parts = []
    for truth, position in range_pairs(start, end, _CHUNK):
        detection = order[position]
        value = overlap(d_box[detection], t_box[truth], iod[truth])
        enough = value >= lowest
        parts.append((detection[enough], truth[enough], value[enough]))
    if not parts:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    detections, truths, values = (np.concatenate(column) for column in zip(*parts))
    return Pairs(detections, truths, values)


def match(
    pairs: Pairs, group: Rows, shared: Flags, ignored: Flags, thresholds: tuple[float, ...], *, strict: bool = False
) -> Matches:
    """Settle all groups: each detection takes the best truth that is free.

    Parameters
    ----------
    pairs:
        Overlapping pairs; rows of detections ascend by group and, inside, by rank; rows of truths by file order.
    group:
        (D,) group number of each detection.
    shared:
        (G,) ignored truths that can be taken again and again.
    ignored:
        (G, A) truths that do not count in a size range (shared ones in none).
    thresholds:
        T overlaps; a pair fits when its overlap is the threshold or more.
    strict:
        The overlap must exceed the threshold.
    """
    rows, first = _settle(pairs, group, shared, ignored[:, 0], thresholds, strict=strict)
    partner = np.repeat(first[None], ignored.shape[1], axis=0)
    order = np.argsort(pairs.detection, kind="stable")
    pairs = Pairs(pairs.detection[order], pairs.truth[order], pairs.overlap[order])
    for a in range(1, ignored.shape[1]):
        again = _changed(pairs, ignored[:, 0], ignored[:, a], len(group))
        if again.any():
            part = Pairs(pairs.detection[again], pairs.truth[again], pairs.overlap[again])
            some, settled = _settle(part, group, shared, ignored[:, a], thresholds, strict=strict)
            partner[a][:, np.searchsorted(rows, some)] = settled
    return Matches(rows, partner.transpose(2, 0, 1))


def _changed(pairs: Pairs, before: Flags, after: Flags, detections: int) -> Flags:
    """Which pairs (by detection) may come out otherwise where `after` are ignored instead of `before`."""
    start = np.diff(pairs.detection, prepend=-1) != 0
    # Truths of which all or none are ignored are chosen by their overlap alone, so only a mixture can make a choice.
    several = np.flatnonzero(~start | ~np.append(start[1:], True))
    if not len(several):
        return np.zeros(len(start), bool)
    own, truth = pairs.detection[several], pairs.truth[several]
    old, new, first = before[truth], after[truth], np.flatnonzero(start[several])
    mixed = np.zeros(len(first), bool)
    for flags in (old, new):
        mixed |= np.logical_or.reduceat(flags, first) & ~np.logical_and.reduceat(flags, first)
    mixed &= np.logical_or.reduceat(old != new, first)
    found, count = np.zeros(detections, bool), -1
    met = np.zeros(len(before), bool)
    found[own[first[mixed]]] = True
    # What a detection leaves to the others is spread along the pairs.
    while (reached := int(np.count_nonzero(found))) > max(count, 0):
        count = reached
        met[pairs.truth[found[pairs.detection]]] = True
        found[pairs.detection[met[pairs.truth]]] = True
    return found[pairs.detection]


def _settle(
    pairs: Pairs, group: Rows, shared: Flags, ignored: Flags, thresholds: tuple[float, ...], *, strict: bool
) -> tuple[Rows, NDArray[np.int32]]:
    """Rows of detections with a pair, and their partners (T, C) where the truths `ignored` (G,) do not count."""
    rows, place, partner = _blank(pairs, len(group), (len(thresholds),))
    if not len(rows):
        return rows, partner.T
    step = rank_in_group(group[rows])
    # Inside a detection, pairs stand by rising overlap and then file order, those that are ignored before the others:
    # the last that fits is the one to take.
    order = np.lexsort((pairs.truth, pairs.overlap, ~ignored[pairs.truth], place, step[place]))
    place, truth = place[order], pairs.truth[order].astype(np.int32)
    steps = np.append(np.searchsorted(step[place], np.arange(step.max() + 1)), len(place))
    fits = fitting(pairs.overlap[order], thresholds, strict=strict)
    number = np.arange(len(truth), dtype=np.int32)[:, None]
    free = np.ones((len(shared), len(thresholds)), bool)
    taken, lanes = free.reshape(-1), np.arange(len(thresholds))
    for begin, end in zip(steps[:-1].tolist(), steps[1:].tolist()):
        part = slice(begin, end)
        value = np.where(free[truth[part]] & fits[part], number[part], np.int32(-1))
        owner = place[part]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        best = np.maximum.reduceat(value, first, axis=0) if len(first) < len(owner) else value
        found, hit = truth[best], best >= 0
        partner[owner[first]] = np.where(hit, found, -1)
        hit &= ~shared[found]
        taken[(found.astype(np.int64) * len(thresholds) + lanes)[hit]] = False
    return rows, np.ascontiguousarray(partner.T)


def match_best(
    pairs: Pairs, group: Rows, ignored: Flags, thresholds: tuple[float, ...], *, strict: bool = False
) -> Matches:
    """Settle all groups: each detection asks for its best truth (the first of equals), and the first that asks has it.

    An ignored truth serves all who ask. Parameters as in `match`.
    """
    rows, place, partner = _blank(pairs, len(group), (ignored.shape[1], len(thresholds)))
    if not len(rows):
        return Matches(rows, partner)
    order = np.lexsort((-pairs.truth, pairs.overlap, place))
    last = order[np.append(np.diff(place[order]) != 0, True)]
    best, fits = pairs.truth[last], fitting(pairs.overlap[last], thresholds, strict=strict)
    for t in range(len(thresholds)):
        asking = np.flatnonzero(fits[:, t])
        wanted, first = np.unique(best[asking], return_index=True)
        partner[asking, :, t] = np.where(ignored[best[asking]], best[asking, None], -1)
        partner[asking[first], :, t] = wanted[:, None]
    return Matches(rows, partner)


def fitting(overlap: Floats, thresholds: tuple[float, ...], *, strict: bool = False) -> Flags:
    """(..., T) whether each overlap reaches (or exceeds) each threshold; what is within 1e-10 of 1 reaches 1."""
    limits = np.minimum(thresholds, 1 - 1e-10)
    return np.asarray(overlap[..., None] > limits if strict else overlap[..., None] >= limits)


def _blank(pairs: Pairs, detections: int, lanes: tuple[int, ...]) -> tuple[Rows, Rows, NDArray[np.int32]]:
    """Rows of detections that have a pair, for each pair its place among them, and partners that none took yet."""
    listed = np.zeros(detections, bool)
    listed[pairs.detection] = True
    rows = np.flatnonzero(listed)
    return rows, (np.cumsum(listed) - 1)[pairs.detection], np.full((len(rows), *lanes), -1, np.int32)


def overlap(detection: Floats, truth: Floats, iod: Flags) -> Floats:
    """Intersection over union, or over the detection, in the order of operations of the official tool."""
    width = np.minimum(detection[:, 0] + detection[:, 2], truth[:, 0] + truth[:, 2]) - np.maximum(
        detection[:, 0], truth[:, 0]
    )
    height = np.minimum(detection[:, 1] + detection[:, 3], truth[:, 1] + truth[:, 3]) - np.maximum(
        detection[:, 1], truth[:, 1]
    )
    inter = np.maximum(width, 0) * np.maximum(height, 0)
    area = detection[:, 2] * detection[:, 3]
    union = np.where(iod, area, area + truth[:, 2] * truth[:, 3] - inter)
    share: Floats = np.divide(inter, union, out=np.zeros_like(inter), where=inter > 0)
    return share


def rank_in_group(group: Rows) -> Rows:
    """0, 1, 2, ... inside each run of equal numbers."""
    position = np.arange(len(group))
    new = np.diff(group, prepend=group[:1] - 1) != 0
    return position - np.maximum.accumulate(np.where(new, position, 0))
