"""What becomes of each detection: true positive, false positive or ignored, by size range and threshold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.arrangement import Arranged
from finespot.metrics.leftovers import covers
from finespot.metrics.matching import Matches, fitting, match, match_best, overlapping_pairs
from finespot.metrics.protocols import AreaRange, Protocol

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Partners = NDArray[np.int32]

# TinyPerson's miss rate ignores a detection left over where more than this share of it is covered.
_HALF = 0.5


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
    partner: Partners

    @cached_property
    def counted(self) -> Flags:
        """(A, C) entries that are right or wrong at some threshold."""
        return np.asarray((self.right | self.wrong).any(axis=1))

    def lane(self, a: int, t: int) -> tuple[Flags, Flags]:
        """Right and wrong of all detections in range a at threshold t."""
        right, wrong = np.zeros(len(self.place), bool), ~self.outside[a]
        listed = self.place >= 0
        right[listed] = self.right[a, t][self.place[listed]]
        wrong[listed] = self.wrong[a, t][self.place[listed]]
        return right, wrong


def judge(data: Arranged, rules: Protocol) -> Outcome:
    """Match detections with truth in all ranges and at all thresholds of a protocol."""
    size, truth_size = _measured(data.results.area, rules), _measured(data.truth.area, rules)
    ignored = data.ignored[:, None] | np.stack([_outside(truth_size, one) for one in rules.areas], axis=1)
    outside = np.stack([_outside(size, one, rules.detection_slack) for one in rules.areas])
    if rules.iod != "ignored" and rules.detection_slack is None:
        matches = _match(data, ignored, rules)
    else:
        # Overlaps, or the detections at all, differ from range to range.
        parts = []
        for a in range(len(rules.areas)):
            seen = np.ones(len(size), bool) if rules.detection_slack is None else ~outside[a]
            found = _match(data.only(seen), ignored[:, a : a + 1], rules)
            parts.append(Matches(np.flatnonzero(seen)[found.rows], found.partner))
        matches = _side_by_side(parts)
    return _settle(data, matches, ignored, outside, rules)


def _measured(area: Floats, rules: Protocol) -> Floats:
    return np.sqrt(area) if rules.measure == "side" else area


def _outside(size: Floats, bounds: AreaRange, slack: float | None = None) -> Flags:
    if slack is None:
        return np.asarray((size < bounds.low) | (size > bounds.high))
    return np.asarray((size < bounds.low / slack) | (size >= bounds.high * slack))


def _match(data: Arranged, ignored: Flags, rules: Protocol) -> Matches:
    """Partners in some ranges (of `ignored`, (G, A)) at all thresholds."""
    shared = _shared(data, ignored, rules)
    boxes = (data.results.boxes, data.truth.boxes)
    if rules.pixel:
        added = np.array([0, 0, rules.pixel, rules.pixel])
        boxes = (boxes[0] + added, boxes[1] + added)
    lowest = min(*rules.lanes, 1 - 1e-10)
    pairs = overlapping_pairs((data.group, data.truth_group), boxes, shared, lowest)
    if rules.candidate == "any":
        matches = match_best(pairs, data.group, ignored, rules.lanes, strict=rules.strict)
    else:
        matches = match(pairs, data.group, shared, ignored, rules.lanes, strict=rules.strict)
    return matches if rules.leftovers == "none" else _with_leftovers(matches, data, shared, ignored, rules)


def _shared(data: Arranged, ignored: Flags, rules: Protocol) -> Flags:
    """(G,) ignored truths whose overlap is a share of the detection and which serve any number of detections."""
    if rules.iod == "crowds":
        return data.truth.crowd & data.ignored
    if rules.iod == "flagged":
        return data.ignored
    return np.asarray(ignored.any(axis=1)) if rules.iod == "ignored" else np.zeros(len(data.truth), bool)


def _with_leftovers(matches: Matches, data: Arranged, shared: Flags, ignored: Flags, rules: Protocol) -> Matches:
    """Give detections that took nothing the ignored truth that covers them enough."""
    rows, truth, cover = covers(data, shared, ignored, true_iod=rules.true_iod)
    if rules.leftovers == "threshold":
        enough = fitting(cover, rules.lanes)
    else:
        enough = np.repeat((cover > _HALF)[:, :, None], len(rules.lanes), axis=2)
    together = _joined([matches.rows, rows], matches.partner.shape[1:])
    together.partner[np.searchsorted(together.rows, matches.rows)] = matches.partner
    place = np.searchsorted(together.rows, rows)
    lanes = together.partner[place]
    together.partner[place] = np.where((lanes < 0) & enough, truth[:, :, None], lanes)
    return together


def _side_by_side(parts: list[Matches]) -> Matches:
    """Matches of one range each as matches in all ranges."""
    together = _joined([part.rows for part in parts], (len(parts), parts[0].partner.shape[2]))
    for a, part in enumerate(parts):
        together.partner[np.searchsorted(together.rows, part.rows), a] = part.partner[:, 0]
    return together


def _joined(rows: list[Rows], lanes: tuple[int, ...]) -> Matches:
    """Rows that are in any of the lists, with no partner yet."""
    union = np.unique(np.concatenate(rows))
    return Matches(union, np.full((len(union), *lanes), -1, np.int32))


def _settle(data: Arranged, matches: Matches, ignored: Flags, outside: Flags, rules: Protocol) -> Outcome:
    place = np.full(len(data.group), -1, np.int64)
    place[matches.rows] = np.arange(len(matches.rows))
    partner = np.ascontiguousarray(matches.partner.transpose(1, 2, 0))
    if not len(matches.rows):
        nothing = np.zeros(partner.shape, bool)
        return Outcome(place, nothing, nothing, outside, ignored, partner)
    taken = partner >= 0
    spared = taken & np.stack([ignored[partner[a], a] for a in range(len(outside))])
    seen = taken
    if rules.id_zero_lost:
        # The tools test the id of the matched truth, so a match with id 0 is none.
        lost = data.truth.ids == 0
        seen = taken & ~lost[partner] if lost.any() else taken
    wrong = ~seen & ~spared & ~outside[:, None, matches.rows]
    return Outcome(place, seen & ~spared, wrong, outside, ignored, partner)
