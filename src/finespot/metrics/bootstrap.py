"""How sure a number is: confidence intervals by drawing the pictures anew (the bootstrap of Efron 1979).

A resample draws as many pictures as there are, with replacement; a number's interval lies between two quantiles of its
values over the resamples. Pictures are drawn, not objects, because the objects of one picture share its light, height
and scene. What differs from drawing the tables: detections are judged once, and a picture that was drawn n times counts
n times in the sums behind precision and recall. Both give the same numbers, except among detections of one score in
the same picture and class: copies of such a picture would stand one behind the other, here equal scores are counted
together one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.accumulation import Slice
from finespot.metrics.arrangement import Arranged, arrange
from finespot.metrics.evaluation import evaluate
from finespot.metrics.outcome import Outcome, judge
from finespot.metrics.protocols import RECALL_POINTS, VOC_POINTS, Protocol, Row, protocol
from finespot.metrics.report import Report
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Weights = NDArray[np.int32]

_EPS = float(np.spacing(1.0))
_POINTS = {"101 points": RECALL_POINTS, "11 points": VOC_POINTS}
# Numbers of one array while resamples are worked on together.
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A number of the whole set and the bounds of its interval; None where there was nothing to average."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float | None, samples: Floats, level: float) -> Interval:
        """Bounds from the values over resamples (NaN: nothing to average in that one)."""
        seen = samples[~np.isnan(samples)]
        if value is None or not len(seen):
            return cls(value, None, None)
        low, high = np.quantile(seen, [(1 - level) / 2, (1 + level) / 2])
        return cls(value, float(low), float(high))


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of the protocol's rows, over all classes and per class; `level` is the share that they should cover.

    `samples` holds the values over resamples by row, all classes, (B,).
    """

    protocol: Protocol
    values: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]
    samples: dict[str, Floats] = field(repr=False)
    images: int
    resamples: int
    seed: int
    level: float

    def to_json(self) -> dict[str, Any]:
        """Plain values: [value, low, high] by row, over all classes and per class."""

        def plain(values: dict[str, Interval]) -> dict[str, list[float | None]]:
            return {label: [one.value, one.low, one.high] for label, one in values.items()}

        return {
            "protocol": self.protocol.name,
            "unit": self.protocol.unit,
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "values": plain(self.values),
            "per_class": {name: plain(values) for name, values in self.per_class.items()},
        }

    def table(self) -> Any:
        """A `rich` table of each row's value and interval, with what was drawn below it."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        table = ResultTable(("",), ("value", "from", "to"), box=None, pad_edge=False)
        for label, one in self.values.items():
            table.row(label, *("-" if number is None else f"{number:.3f}" for number in (one.value, one.low, one.high)))
        line = (
            f"{self.protocol.name}: {100 * self.level:g} % intervals from {self.resamples} resamples of "
            f"{self.images} images (seed {self.seed})"
        )
        return Group(table, Text(line))


def bootstrap(
    truth: Truth,
    results: Results,
    protocol_or_name: Protocol | str = "coco",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Intervals of the AP and AR rows of a protocol.

    The mean over classes leaves out, in each resample, the classes that have no object in it, as the protocol does.

    Raises
    ------
    FineSpotError
        The number of resamples, the seed or the level is impossible, there are no two pictures, or the protocol
        averages in a way that pictures cannot be drawn for.
    """
    check_draws(truth, resamples, seed, level)
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    report, tally = tallied(truth, results, rules)
    labels = [rules.label(row) for row in tally.rows]
    parts = [tally.weigh(weights) for weights in draws(len(truth.image_ids), resamples, seed, tally.chunk)]
    samples = np.concatenate(parts)
    overall = over_classes(samples)
    return Bootstrap(
        protocol=rules,
        values={label: Interval.of(report.values[label], overall[:, r], level) for r, label in enumerate(labels)},
        per_class={
            name: {
                label: Interval.of(report.per_class[name][label], samples[:, k, r], level)
                for r, label in enumerate(labels)
            }
            for k, name in enumerate(report.classes)
        },
        samples={label: overall[:, r] for r, label in enumerate(labels)},
        images=len(truth.image_ids),
        resamples=resamples,
        seed=seed,
        level=level,
    )


def check_draws(truth: Truth, resamples: int, seed: int, level: float) -> None:
    """Refuse what no resample can be drawn from."""
    if resamples < 1:
        raise FineSpotError(f"expected 1 resample or more but got {resamples}", where="resamples")
    if seed < 0:
        raise FineSpotError(f"expected a seed of 0 or more but got {seed}", where="seed")
    if not 0 < level < 1:
        raise FineSpotError(f"expected a level above 0 and below 1 but got {level}", where="level")
    if len(truth.image_ids) < 2:
        raise FineSpotError(f"expected two pictures or more to draw from but got {len(truth.image_ids)}")


def draws(pictures: int, resamples: int, seed: int, chunk: int) -> Iterator[Weights]:
    """How many times each picture was drawn, (up to `chunk`, pictures) at a time; chunks do not change the draws."""
    random = np.random.default_rng(seed)
    share = np.full(pictures, 1 / pictures)
    for start in range(0, resamples, chunk):
        yield random.multinomial(pictures, share, size=min(chunk, resamples - start)).astype(np.int32)


def over_classes(samples: Floats) -> Floats:
    """The mean over classes that have objects: (B, K, R) to (B, R), NaN where none has."""
    there = ~np.isnan(samples)
    count = there.sum(axis=1)
    total = np.where(there, samples, 0.0).sum(axis=1)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def tallied(truth: Truth, results: Results, rules: Protocol) -> tuple[Report, Tally]:
    """The report and what its AP and AR rows are counted from.

    Raises
    ------
    FineSpotError
        Each picture counted once gives other numbers: intervals would be of something else.
    """
    if not any(row.kind in ("AP", "AR") and rules.covers(row) for row in rules.rows):
        raise FineSpotError(f"'{rules.name}' has no AP or AR that pictures could be drawn for")
    report, tally = evaluate(truth, results, rules), Tally(truth, results, rules)
    whole = over_classes(tally.weigh(np.ones((1, tally.pictures), np.int32)))[0]
    for row, number in zip(tally.rows, whole.tolist()):
        value = report.values[rules.label(row)]
        if np.isnan(number) != (value is None) or (value is not None and abs(number - value) > 1e-6):
            raise FineSpotError(f"pictures cannot be drawn for {rules.label(row)} as '{rules.name}' averages it")
    return report, tally


@dataclass(frozen=True)
class _Lane:
    """Detections of one class, limit, size range and threshold that took a truth, by falling score.

    `right` are the pictures of the true positives and `at` how many detections of a size that counts come up to each;
    `spared` the pictures of detections of such a size that are no false positives, `before` how many of them come up
    to each true positive.
    """

    right: Rows
    at: Rows
    spared: Rows
    before: Rows


@dataclass(frozen=True)
class _Cell:
    """One class, limit and size range: `inside` are the pictures of detections of a size that counts; lanes by t."""

    inside: Rows
    lanes: dict[int, _Lane]


class Tally:
    """Detections judged once by a protocol, to be counted with any weights of the pictures.

    `rows` are those of the protocol that have intervals: AP and AR that its thresholds and limits cover.
    """

    def __init__(self, truth: Truth, results: Results, rules: Protocol) -> None:
        data = arrange(truth, results, rules)
        outcome = judge(data, rules)
        self.protocol = rules
        self.pictures, self.classes = data.pictures, data.classes
        self.rows = tuple(row for row in rules.rows if row.kind in ("AP", "AR") and rules.covers(row))
        self._objects = _count_objects(data, outcome)
        self._cells: dict[Slice, list[_Cell]] = {}
        self._hits: dict[int, Floats] = {}
        for r, row in enumerate(self.rows):
            if row.kind == "AR":
                self._hits[r] = _count_hits(data, outcome, rules, row)
        for key, thresholds in self._wanted().items():
            self._cells[key] = _cells(data, outcome, key, thresholds)
        longest = max((len(cell.inside) for cells in self._cells.values() for cell in cells), default=0)
        self.chunk = max(1, _CHUNK // max(longest, self.pictures, 1))

    def weigh(self, weights: Weights) -> Floats:
        """Values by resample, class and row, (B, K, R), NaN without objects, for weights (B, pictures)."""
        values = np.full((len(weights), self.classes, len(self.rows)), np.nan)
        objects = np.einsum("bp,akp->bka", weights, self._objects)
        curves = {
            key: [_averages(cell, weights, objects[:, k, key[0]], self.protocol) for k, cell in enumerate(cells)]
            for key, cells in self._cells.items()
        }
        for r, row in enumerate(self.rows):
            a = self.protocol.position(row)
            seen = objects[:, :, a] > 0
            if row.kind == "AR":
                share = np.divide(weights @ self._hits[r].T, objects[:, :, a], where=seen, out=np.zeros(seen.shape))
            else:
                key = (a, self.protocol.limit(row))
                chosen = _thresholds(self.protocol, row)
                share = np.stack([np.mean([one[t] for t in chosen], axis=0) for one in curves[key]], axis=1)
            values[:, :, r] = np.where(seen, share, np.nan)
        return values * [100 if self.protocol.percent and not row.fraction else 1 for row in self.rows]

    def _wanted(self) -> dict[Slice, list[int]]:
        """The thresholds that AP rows need by size range and limit."""
        wanted: dict[Slice, set[int]] = {}
        for row in self.rows:
            if row.kind == "AP":
                key = (self.protocol.position(row), self.protocol.limit(row))
                wanted.setdefault(key, set()).update(_thresholds(self.protocol, row))
        return {key: sorted(chosen) for key, chosen in wanted.items()}


def _thresholds(rules: Protocol, row: Row) -> list[int]:
    """The lanes that a row averages over: without an overlap of its own, those that enter means."""
    if row.iou is None:
        return list(range(len(rules.thresholds)))
    return [t for t, value in enumerate(rules.lanes) if value == row.iou]


def _count_objects(data: Arranged, outcome: Outcome) -> Weights:
    """Objects by size range, class and picture, (A, K, P)."""
    place = data.truth_group // data.pictures * data.pictures + data.truth.image
    size = data.classes * data.pictures
    counts = [np.bincount(place[~ignored], minlength=size) for ignored in outcome.ignored.T]
    return np.stack(counts).reshape(-1, data.classes, data.pictures).astype(np.int32)


def _count_hits(data: Arranged, outcome: Outcome, rules: Protocol, row: Row) -> Floats:
    """True positives of a row by class and picture, (K, P), on average over its thresholds."""
    limit = rules.limit(row)
    listed = np.flatnonzero((outcome.place >= 0) & (True if limit is None else data.rank < limit))
    entries = outcome.place[listed]
    hits = outcome.right[rules.position(row)][_thresholds(rules, row)][:, entries].mean(axis=0)
    place = data.group[listed] // data.pictures * data.pictures + data.results.image[listed]
    table = np.bincount(place, hits, minlength=data.classes * data.pictures)
    return table.reshape(data.classes, data.pictures).astype(np.float64)


def _cells(data: Arranged, outcome: Outcome, key: Slice, thresholds: list[int]) -> list[_Cell]:
    """The cells of all classes for one size range and limit."""
    a, limit = key
    starts = np.searchsorted(data.group, np.arange(data.classes + 1) * data.pictures)
    cells = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist()):
        rows = np.arange(begin, end)
        rows = rows[np.argsort(-data.results.scores[rows], kind="stable")]
        rows = rows if limit is None else rows[data.rank[rows] < limit]
        inside = ~outcome.outside[a, rows]
        count = np.cumsum(inside)
        listed = np.flatnonzero(outcome.place[rows] >= 0)
        entries, image = outcome.place[rows[listed]], data.results.image[rows]
        lanes = {}
        for t in thresholds:
            right = listed[outcome.right[a, t][entries]]
            spared = listed[inside[listed] & ~outcome.wrong[a, t][entries]]
            before = np.searchsorted(spared, right, side="right")
            lanes[t] = _Lane(image[right], count[right], image[spared], before)
        cells.append(_Cell(image[inside], lanes))
    return cells


def _averages(cell: _Cell, weights: Weights, objects: Weights, rules: Protocol) -> dict[int, Floats]:
    """AP by threshold, (B,) each; without meaning where there are no objects."""
    passed, total = _running(weights, cell.inside), np.maximum(objects, 1)
    needed = None if rules.integral == "area" else _needed(total, _POINTS[rules.integral])
    return {t: _average(lane, passed, weights, total, needed) for t, lane in cell.lanes.items()}


def _needed(total: Weights, points: Floats) -> Rows:
    """The least count of true positives, 1 or more, whose recall of `total` reaches each recall point, (B, R)."""
    count = np.ceil(points * total[:, None]).astype(np.int64)
    # The product may round past the quotient that the protocol compares.
    count -= (count - 1) / total[:, None] >= points
    count += count / total[:, None] < points
    return np.maximum(count, 1)


def _average(lane: _Lane, passed: Weights, weights: Weights, total: Weights, needed: Rows | None) -> Floats:
    """Mean of the precision's running maximum from the right, read where the counts first reach `needed`.

    Without `needed`, the area below it: each true positive of a picture raises the recall by its weight of `total`.
    Only true positives can hold the maximum. Those of a picture that was drawn n times raise the recall n times; the
    last of them has the highest precision, so all of them read the same.
    """
    if not len(lane.right):
        return np.zeros(len(weights))
    found = _running(weights, lane.right)[:, 1:]
    false = passed.take(lane.at, axis=1) - _running(weights, lane.spared).take(lane.before, axis=1)
    precision = found / (false + found + _EPS)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if needed is None:
        area: Floats = (envelope * np.diff(found, axis=1, prepend=0)).sum(axis=1) / total
        return area
    # One search for all resamples: each has its own stretch of numbers.
    stretch = np.arange(len(weights))[:, None] * (max(found[:, -1].max(), needed.max()) + 1)
    index = np.searchsorted((found + stretch).reshape(-1), needed + stretch)
    reached = needed <= found[:, -1:]
    line = np.zeros(needed.shape)
    line[reached] = envelope.reshape(-1)[index[reached]]
    mean: Floats = line.mean(axis=1)
    return mean


def _running(weights: Weights, pictures: Rows) -> Weights:
    """Sums of the weights of the first 0, 1, 2, ... of `pictures`, (B, n + 1)."""
    sums = np.zeros((len(weights), len(pictures) + 1), np.int32)
    np.cumsum(weights.take(pictures, axis=1), axis=1, out=sums[:, 1:])
    return sums
