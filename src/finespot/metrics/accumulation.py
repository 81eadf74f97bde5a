"""Matches to precision, recall and scores per class, size range, threshold and limit, as pycocotools averages them.

Precision is its running maximum from the right, read at 101 recall points. It can only rise at a true positive, so
the arrays hold just the detections that overlap some truth; the false positives between them are counted beforehand.
Values of a class without truth are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.matching import match, overlapping_pairs, rank_in_group
from finespot.metrics.protocols import RECALL_POINTS, AreaRange, Protocol
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
_EPS = float(np.spacing(1.0))


@dataclass(frozen=True)
class Arranged:
    """Truth and kept detections sorted by (class, picture), truths in file order, detections by falling score.

    `group` is class * pictures + picture; `rank` the place of a detection in its group; `row` its row
    in the results, `truth_row` that of a truth.
    """

    truth: Truth
    results: Results
    truth_group: Rows
    group: Rows
    rank: Rows
    row: Rows
    truth_row: Rows
    pictures: int
    classes: int


def arrange(truth: Truth, results: Results, max_det: int | None, *, pooled: bool = False) -> Arranged:
    """Sort both tables and keep the best `max_det` detections of each picture and class."""
    pictures, classes = len(truth.image_ids), 1 if pooled else len(truth.classes)
    turn = np.empty(pictures, np.int64)
    turn[sorted(range(pictures), key=lambda k: _sort_key(truth.image_ids[k]))] = np.arange(pictures)
    truth_group, group = turn[truth.image], turn[results.image]
    if pooled:
        # The classes come one after the other, before the scores are looked at.
        truth_order, order = np.argsort(truth.label, kind="stable"), np.argsort(results.label, kind="stable")
    else:
        truth_group = truth_group + truth.label * pictures
        group = group + results.label * pictures
        truth_order, order = np.arange(len(truth)), np.arange(len(results))
    truth_order = truth_order[np.argsort(truth_group[truth_order], kind="stable")]
    order = order[np.argsort(-results.scores[order], kind="stable")]
    order = order[np.argsort(group[order], kind="stable")]
    rank = rank_in_group(group[order])
    if max_det is not None:
        order, rank = order[rank < max_det], rank[rank < max_det]
    return Arranged(
        truth=truth.select(truth_order),
        results=results.select(order),
        truth_group=truth_group[truth_order],
        group=group[order],
        rank=rank,
        row=order,
        truth_row=truth_order,
        pictures=pictures,
        classes=classes,
    )


def _sort_key(image_id: int | str) -> tuple[int, int, str]:
    return (0, image_id, "") if isinstance(image_id, int) else (1, 0, image_id)


@dataclass(frozen=True)
class Accumulated:
    """Averages by class k, size range a (position in the protocol) and limit m of detections.

    `precision[a, m]` and `scores[a, m]` are (K, T, 101), `recall[a, m]` (K, T), `objects` (K, A) counts of truths
    that count. Precision exists for the (a, m) that rows of the protocol need, and for the first range at the
    largest limit.
    """

    precision: dict[tuple[int, int], Floats]
    scores: dict[tuple[int, int], Floats]
    recall: dict[tuple[int, int], Floats]
    objects: Rows


@dataclass(frozen=True)
class Outcome:
    """What became of each detection, in each size range a and at each threshold t.

    `place[d]` is the entry c of detection d in `right` and `wrong`, or -1 where it overlaps no truth. `right` and
    `wrong` (A, T, C): true and false positive (neither: ignored). `outside` (A, D): of a size that does not count, so
    no false positive where it matched nothing. `ignored` (G, A): truths that do not count. `partner` (A, T, C): the row
    of the truth that each entry took, or -1.
    """

    place: Rows
    right: Flags
    wrong: Flags
    outside: Flags
    ignored: Flags
    partner: NDArray[np.int32]

    def lane(self, a: int, t: int) -> tuple[Flags, Flags]:
        """Right and wrong of all detections in range a at threshold t."""
        right, wrong = np.zeros(len(self.place), bool), ~self.outside[a]
        listed = self.place >= 0
        right[listed] = self.right[a, t][self.place[listed]]
        wrong[listed] = self.wrong[a, t][self.place[listed]]
        return right, wrong


def judge(data: Arranged, protocol: Protocol) -> Outcome:
    """Match detections with truth in all ranges and at all thresholds of a protocol."""
    truth, area = data.truth, data.results.area
    ignored = truth.crowd[:, None] | np.stack([_outside(truth.area, one) for one in protocol.areas], axis=1)
    lowest = min(*protocol.thresholds, 1 - 1e-10)
    pairs = overlapping_pairs((data.group, data.truth_group), (data.results.boxes, truth.boxes), truth.crowd, lowest)
    matches = match(pairs, data.group, truth.crowd, ignored, protocol.thresholds)
    outside = np.stack([_outside(area, one) for one in protocol.areas])
    place = np.full(len(area), -1, np.int64)
    place[matches.rows] = np.arange(len(matches.rows))
    partner = np.ascontiguousarray(matches.partner.transpose(1, 2, 0))
    if not len(matches.rows):
        nothing = np.zeros(partner.shape, bool)
        return Outcome(place, nothing, nothing, outside, ignored, partner)
    taken = partner >= 0
    spared = taken & np.stack([ignored[partner[a], a] for a in range(len(outside))])
    # The official tools test the id of the matched truth, so a match with id 0 is none.
    seen = taken & (truth.ids != 0)[partner]
    wrong = ~seen & ~spared & ~outside[:, None, matches.rows]
    return Outcome(place, seen & ~spared, wrong, outside, ignored, partner)


def _outside(area: Floats, bounds: AreaRange) -> Flags:
    return np.asarray((area < bounds.low) | (area > bounds.high))


def accumulate(data: Arranged, outcome: Outcome, protocol: Protocol) -> Accumulated:
    """Average the outcome by class."""
    shape = (data.classes, len(protocol.thresholds))
    want_recall = {(a, limit) for a in range(len(protocol.areas)) for limit in protocol.max_dets}
    want = {(0, protocol.max_dets[-1])} | {
        (protocol.position(row), limit)
        for row in protocol.rows
        if row.kind == "AP" and (limit := protocol.limit(row)) is not None
    }
    result = Accumulated(
        precision={key: np.full((*shape, len(RECALL_POINTS)), np.nan) for key in want},
        scores={key: np.full((*shape, len(RECALL_POINTS)), np.nan) for key in want},
        recall={key: np.full(shape, np.nan) for key in want_recall},
        objects=_count_objects(data, outcome.ignored),
    )
    starts = np.searchsorted(data.group, np.arange(data.classes + 1) * data.pictures)
    for k in range(data.classes):
        rows = np.arange(starts[k], starts[k + 1])
        rows = rows[np.argsort(-data.results.scores[rows], kind="stable")]
        for limit in protocol.max_dets:
            part = rows if limit == protocol.max_dets[-1] else rows[data.rank[rows] < limit]
            _accumulate_class(result, outcome, data.results.scores, k, part, limit)
    return result


def _count_objects(data: Arranged, ignored: Flags) -> Rows:
    label = data.truth_group // max(data.pictures, 1)
    columns = [np.bincount(label[~ignored[:, a]], minlength=data.classes) for a in range(ignored.shape[1])]
    return np.stack(columns, axis=1).astype(np.int64)


def _accumulate_class(result: Accumulated, outcome: Outcome, scores: Floats, k: int, rows: Rows, limit: int) -> None:
    """Fill in class k at one limit; `rows` are its detections within the limit, by falling score."""
    place = outcome.place[rows]
    overlapping = np.flatnonzero(place >= 0)
    columns = place[overlapping]
    for a in range(len(outcome.outside)):
        objects = result.objects[k, a]
        if not objects:
            continue
        right = outcome.right[a][:, columns]
        result.recall[a, limit][k] = right.sum(axis=1) / objects
        if (a, limit) not in result.precision:
            continue
        found = np.cumsum(right, axis=1, dtype=np.int32)
        elsewhere = np.cumsum(~outcome.outside[a, rows] & (place < 0))[overlapping]
        false = np.cumsum(outcome.wrong[a][:, columns], axis=1, dtype=np.int32) + elsewhere
        precision = found / (false + found + _EPS)
        # Only true positives can hold the maximum. The first detection stands for recall 0, whatever it is.
        precision = np.where(right, precision, 0.0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        needed = np.searchsorted(np.arange(objects + 1) / objects, RECALL_POINTS, side="left")
        sorted_scores = scores[rows]
        for t in range(len(found)):
            line, at = _read_curve(found[t], envelope[t], sorted_scores[overlapping], needed)
            if len(rows):
                at[needed == 0] = sorted_scores[0]
            result.precision[a, limit][k, t], result.scores[a, limit][k, t] = line, at


def _read_curve(found: Rows, envelope: Floats, scores: Floats, needed: Rows) -> tuple[Floats, Floats]:
    """Precision and score where the count of true positives first reaches each of `needed` (0 where it never does)."""
    needed = np.maximum(needed, 1)
    reached = needed <= (found[-1] if len(found) else 0)
    index = np.searchsorted(found, needed[reached], side="left")
    line, at = np.zeros(len(needed)), np.zeros(len(needed))
    line[reached], at[reached] = envelope[index], scores[index]
    return line, at
