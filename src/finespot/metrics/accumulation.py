"""The fate of detections to precision, recall and scores per class, size range, threshold and limit.

Precision is its running maximum from the right, read at 101 recall points (and at 11, or at each object found, where a
protocol integrates so). It can only rise at a true positive, so the arrays hold just the detections that overlap some
truth; the false positives between them are counted beforehand. Values of a class without truth are NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.arrangement import Arranged
from finespot.metrics.lrp import optimal_lrp
from finespot.metrics.matching import overlap
from finespot.metrics.miss_rate import FPPI, miss_rates
from finespot.metrics.outcome import Outcome
from finespot.metrics.protocols import RECALL_POINTS, VOC_POINTS, Protocol

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Slice = tuple[int, int | None]

_EPS = float(np.spacing(1.0))


@dataclass(frozen=True)
class Accumulated:
    """Averages by class k, size range a (position in the protocol) and limit m of detections.

    `average[a, m]` (K, T) is the average precision, `precision[a, m]` and `scores[a, m]` (K, T, R) the curve,
    `recall[a, m]` (K, T), `missed[a, m]` (K, T, 9) miss rates, where T are all thresholds that are matched. `lrp[a, m]`
    (K, 5) holds the LRP error at the first threshold, its localization, false and missed parts, and the best score.
    `objects` (K, A) are the truths that recall is a share of, `holding` (K,) the pictures that hold truths of a class.
    Precision exists for the (a, m) that rows of the protocol need and for the first range at the largest limit, miss
    rates and LRP errors where rows need them.
    """

    average: dict[Slice, Floats]
    precision: dict[Slice, Floats]
    scores: dict[Slice, Floats]
    recall: dict[Slice, Floats]
    missed: dict[Slice, Floats]
    lrp: dict[Slice, Floats]
    objects: Rows
    holding: Rows


def accumulate(
    passes: Iterable[tuple[tuple[int | None, ...], Arranged, Outcome]],
    rules: Protocol,
    points: Floats = RECALL_POINTS,
) -> Accumulated:
    """Average outcomes by class, with curves at these recalls (rising).

    Each pass is (limits, detections, outcome), all of the same truth.
    """
    result: Accumulated | None = None
    for limits, data, outcome in passes:
        if result is None:
            result = _empty(data, outcome, rules, len(points))
        starts = np.searchsorted(data.group, np.arange(data.classes + 1) * data.pictures)
        for k in range(data.classes):
            rows = np.arange(starts[k], starts[k + 1])
            rows = rows[np.argsort(-data.results.scores[rows], kind="stable")]
            for limit in limits:
                part = rows if limit is None or limit == limits[-1] else rows[data.rank[rows] < limit]
                _accumulate_class(result, data, outcome, k, part, limit, rules, points)
    assert result is not None
    return result


def _empty(data: Arranged, outcome: Outcome, rules: Protocol, points: int) -> Accumulated:
    def wanted(*kinds: str) -> set[Slice]:
        rows = [row for row in rules.rows if row.kind in kinds and rules.covers(row)]
        return {(rules.position(row), rules.limit(row)) for row in rows}

    def blank(slices: Iterable[Slice], *shape: int) -> dict[Slice, Floats]:
        return {key: np.full((data.classes, *shape), np.nan) for key in slices}

    curves = {(0, rules.largest)} | wanted("AP")
    lanes = len(rules.lanes)
    return Accumulated(
        average=blank(curves, lanes),
        precision=blank(curves, lanes, points),
        scores=blank(curves, lanes, points),
        recall=blank(((a, limit) for a in range(len(rules.areas)) for limit in rules.limits), lanes),
        missed=blank(wanted("MR"), lanes, len(FPPI)),
        lrp=blank(wanted("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_threshold"), 5),
        objects=_count_objects(data, outcome, rules),
        holding=np.bincount(np.unique(data.truth_group) // max(data.pictures, 1), minlength=data.classes),
    )


def _count_objects(data: Arranged, outcome: Outcome, rules: Protocol) -> Rows:
    label, ignored = data.truth_group // max(data.pictures, 1), outcome.ignored
    if rules.recall_of == "kept":
        ignored = ignored & ~data.ignored[:, None]
    columns = [np.bincount(label[~ignored[:, a]], minlength=data.classes) for a in range(ignored.shape[1])]
    return np.stack(columns, axis=1).astype(np.int64)


def _accumulate_class(
    result: Accumulated,
    data: Arranged,
    outcome: Outcome,
    k: int,
    rows: Rows,
    limit: int | None,
    rules: Protocol,
    points: Floats,
) -> None:
    """Fill in class k at one limit; `rows` are its detections within the limit, by falling score."""
    place = outcome.place[rows]
    overlapping = np.flatnonzero(place >= 0)
    for a in range(len(outcome.outside)):
        objects = int(result.objects[k, a])
        if not objects:
            continue
        # Those that are ignored at all thresholds are no part of a curve.
        entries = overlapping[outcome.counted[a, place[overlapping]]]
        right = outcome.right[a][:, place[entries]]
        result.recall[a, limit][k] = np.count_nonzero(right, axis=1) / objects
        if (a, limit) in result.missed:
            result.missed[a, limit][k] = _missed(data, outcome, a, rows, objects, rules)
        if (a, limit) in result.lrp:
            result.lrp[a, limit][k] = _lrp(data, outcome, a, rows, objects, rules)
        if (a, limit) not in result.precision:
            continue
        elsewhere = np.cumsum(~outcome.outside[a, rows] & (place < 0))[entries]
        false = np.cumsum(outcome.wrong[a][:, place[entries]], axis=1, dtype=np.int32) + elsewhere
        needed, sorted_scores = _needed(objects, points), data.results.scores[rows]
        for t in range(len(right)):
            hits = np.flatnonzero(right[t])
            envelope = _envelope(false[t, hits])
            line, at = _read(envelope, needed), _read(sorted_scores[entries[hits]], needed)
            if len(rows):
                # The first detection stands for recall 0, whatever it is.
                at[needed == 0] = sorted_scores[0]
            result.precision[a, limit][k, t], result.scores[a, limit][k, t] = line, at
            if rules.integral == "101 points":
                average = line.mean()
            elif rules.integral == "11 points":
                average = _read(envelope, _needed(objects, VOC_POINTS)).mean()
            else:
                # Recall rises by one object at each true positive, and precision is 0 beyond the last.
                average = envelope.sum() / objects
            result.average[a, limit][k, t] = average


def _needed(objects: int, points: Floats) -> Rows:
    """How many objects must be found for each recall."""
    return np.searchsorted(np.arange(objects + 1) / objects, points, side="left").astype(np.int64)


def _envelope(false: Rows) -> Floats:
    """The running maximum, from the right, of the precision at each true positive; `false` positives come before it.

    Only true positives can hold the maximum.
    """
    found = np.arange(1, len(false) + 1)
    return np.maximum.accumulate((found / (false + found + _EPS))[::-1])[::-1]


def _read(values: Floats, needed: Rows) -> Floats:
    """What stands at the true positive that makes `needed` of them, 0 where there are never so many."""
    line, reached = np.zeros(len(needed)), needed <= len(values)
    if len(values):
        line[reached] = values[np.maximum(needed[reached], 1) - 1]
    return line


def _missed(data: Arranged, outcome: Outcome, a: int, rows: Rows, objects: int, rules: Protocol) -> Floats:
    lanes = []
    for t in range(len(rules.lanes)):
        right, wrong = outcome.lane(a, t)
        # Detections that are not looked at are no entries of the curve.
        seen = rows if rules.detection_slack is None else rows[~outcome.outside[a, rows]]
        lanes.append(miss_rates(right[seen], wrong[seen], objects, data.pictures, wrap=rules.wrap_index))
    return np.stack(lanes)


def _lrp(data: Arranged, outcome: Outcome, a: int, rows: Rows, objects: int, rules: Protocol) -> list[float]:
    right, wrong = outcome.lane(a, 0)
    hits = rows[right[rows]]
    truth = outcome.partner[a, 0][outcome.place[hits]]
    iou = np.zeros(len(right))
    iou[hits] = overlap(data.results.boxes[hits], data.truth.boxes[truth], np.zeros(len(hits), bool))
    one = optimal_lrp(right[rows], wrong[rows], iou[rows], data.results.scores[rows], objects, rules.thresholds[0])
    return [one.error, one.loc, one.false, one.missed, one.threshold]
