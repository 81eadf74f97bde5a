"""Is B better than A, and where: two result sets on the same truth.

Both are counted on the same resamples of pictures (`bootstrap`), so that what makes a picture hard for both cancels
out: the interval of the difference is narrower than two intervals side by side. Found objects are compared by the
exact test of McNemar 1947 too; it takes the objects for independent, which those of one picture are not, so of the two
the interval over pictures is the one to trust.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, some
from finespot.metrics.bootstrap import Interval, check_draws, draws, over_classes, tallied
from finespot.metrics.curves import reaches_best_f1
from finespot.metrics.judged import ANY_SIZE, Judged, judged
from finespot.metrics.protocols import Protocol, protocol
from finespot.metrics.tables import ImageId, Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Difference:
    """A number of A and of B, B minus A with its interval, and the share of resamples in which B is higher.

    None where there was nothing to average.
    """

    a: float | None
    b: float | None
    value: float | None
    low: float | None
    high: float | None
    better: float | None

    @classmethod
    def of(cls, values: tuple[float | None, float | None], samples: tuple[Floats, Floats], level: float) -> Difference:
        """From the numbers of the whole set and those of the same resamples."""
        a, b = values
        change = samples[1] - samples[0]
        # Sums of the same numbers in another order are no difference.
        change = np.where(np.abs(change) < _ROUNDING, 0.0, change)
        one = Interval.of(None if a is None or b is None else b - a, change, level)
        seen = change[~np.isnan(change)]
        return cls(a, b, one.value, one.low, one.high, float((seen > 0).mean()) if one.low is not None else None)

    @property
    def winner(self) -> int | None:
        """0 where A is shown to be better, 1 where B is, None where the interval holds 0."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return int(self.low > 0)


@dataclass(frozen=True)
class FoundObjects:
    """How many objects both sets find, A or B alone, and none; `recall` is the difference of the shares found."""

    both: int
    only_a: int
    only_b: int
    none: int
    recall: Difference

    @property
    def p(self) -> float:
        """The p value of McNemar's exact test, two-sided, as if objects were independent."""
        return mcnemar(self.only_a, self.only_b)


@dataclass(frozen=True)
class PictureChange:
    """What A and B make of a picture: objects found and false positives. `gain` is by how many errors B makes fewer."""

    image_id: ImageId
    objects: int
    found: tuple[int, int]
    false: tuple[int, int]

    @property
    def gain(self) -> int:
        """Errors (missed objects and false positives) of A minus those of B."""
        return (self.found[1] - self.found[0]) - (self.false[1] - self.false[0])


@dataclass(frozen=True)
class Comparison:
    """Differences of B from A by the protocol's rows, by class, on found objects by size range, and by picture.

    The rows come from all detections. Found objects and pictures are at overlap `iou`, with each set's own thresholds
    of the best F1 by class, since two detectors may mean different things by the same confidence. `pictures` are those
    with a gain or loss, the largest gain first.
    """

    protocol: Protocol
    names: tuple[str, str]
    iou: float
    values: dict[str, Difference]
    per_class: dict[str, dict[str, Difference]]
    found: dict[str, FoundObjects]
    pictures: tuple[PictureChange, ...]
    images: int
    resamples: int
    seed: int
    level: float

    @property
    def headline(self) -> str:
        """The label of the number that the verdict is about: the protocol's first that has an interval."""
        return next(iter(self.values))

    @property
    def verdict(self) -> str:
        """Whether B is better, in words, in points of 100."""
        one, label = self.values[self.headline], self.headline
        if one.value is None or one.low is None or one.high is None:
            return f"no difference can be shown: {label} has no value"
        winner, level = one.winner, f"{100 * self.level:g} %"
        if winner is None:
            first, second = self.names
            bounds = f"{level}: {_signed(one.low)} to {_signed(one.high)}"
            return f"no difference shown: {second} minus {first} is {_signed(one.value)} {label} ({bounds})"
        low, high = sorted((100 * abs(one.low), 100 * abs(one.high)))
        # A bound that is not 0 shall not read as 0.
        digits = 1 if low >= 0.05 else 3
        bounds = f"{level}: {low:.{digits}f} to {high:.{digits}f}"
        return f"{self.names[winner]} is better by {100 * abs(one.value):.{digits}f} {label} ({bounds})"

    def where(self, winner: int) -> list[str]:
        """Rows, then classes (by the headline's number), that A (0) or B (1) is shown to be better in, with points."""
        parts = [(label, one) for label, one in self.values.items() if label != self.headline]
        if len(self.per_class) > 1:
            parts += [(name, values[self.headline]) for name, values in self.per_class.items()]
        return [f"{name} {_signed(one.value)}" for name, one in parts if one.winner == winner]

    def gains(self, count: int = 5) -> tuple[PictureChange, ...]:
        """The pictures in which B makes the most errors fewer, best first."""
        return tuple(one for one in self.pictures if one.gain > 0)[:count]

    def losses(self, count: int = 5) -> tuple[PictureChange, ...]:
        """The pictures in which B makes the most errors more, worst first."""
        return tuple(one for one in reversed(self.pictures) if one.gain < 0)[:count]

    def to_json(self) -> dict[str, Any]:
        """Plain values; differences are shares, B minus A."""
        return {
            "protocol": self.protocol.name,
            "names": list(self.names),
            "verdict": self.verdict,
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
            "values": {label: asdict(one) for label, one in self.values.items()},
            "per_class": {
                name: {label: asdict(one) for label, one in rows.items()} for name, rows in self.per_class.items()
            },
            "found": {label: {**asdict(one), "p": one.p} for label, one in self.found.items()},
            "pictures": [{**asdict(one), "gain": one.gain} for one in self.pictures],
        }

    def table(self) -> Any:
        """For the terminal: the verdict in words, then differences by row and class, found objects, and pictures."""
        from rich.console import Group
        from rich.text import Text

        words = [self.verdict]
        for winner, name in enumerate(self.names):
            if places := self.where(winner):
                words.append(f"{name} is better in: {some(places, 12)}")
        parts: list[Any] = [*(Text(line) for line in words), Text(), self._differences()]
        note = (
            f"{self.protocol.name}: {100 * self.level:g} % intervals from {self.resamples} resamples of {self.images} "
            f"images (seed {self.seed}); {100 * (1 - self.level):.3g} % of rows without a difference show one by chance"
        )
        parts += [Text(note), Text(), self._objects()]
        parts.append(Text(f"found at IoU {self.iou:g} with each set's own thresholds of the best F1 by class"))
        for title, changes in (("gains", self.gains()), ("loses", self.losses())):
            if changes:
                parts += [Text(), self._changes(f"{self.names[1]} {title} most in", changes)]
        return Group(*parts)

    def _differences(self) -> Any:
        from finespot.writers.table import ResultTable

        first, second = self.names
        titles = (first, second, f"{second} - {first}", "from", "to", f"{second} better")
        table = ResultTable(("",), titles, box=None, pad_edge=False)
        rows = list(self.values.items())
        if len(self.per_class) > 1:
            rows += [(f"{self.headline} {name}", values[self.headline]) for name, values in self.per_class.items()]
        for label, one in rows:
            cells = [_points(one.a), _points(one.b), *(_signed(number) for number in (one.value, one.low, one.high))]
            share = "-" if one.better is None else f"{100 * one.better:.0f} %"
            table.row(label, *cells, share, style="bold" if one.winner is not None else None)
        return table

    def _objects(self) -> Any:
        from finespot.writers.table import ResultTable

        first, second = self.names
        titles = ("both", f"only {first}", f"only {second}", "none", "recall", "from", "to", "McNemar p")
        table = ResultTable(("found",), titles, box=None, pad_edge=False)
        for label, one in self.found.items():
            counts = [str(number) for number in (one.both, one.only_a, one.only_b, one.none)]
            change = [_signed(number) for number in (one.recall.value, one.recall.low, one.recall.high)]
            table.row(label, *counts, *change, f"{one.p:.2g}", style="bold" if one.recall.winner is not None else None)
        return table

    def _changes(self, title: str, changes: tuple[PictureChange, ...]) -> Any:
        from finespot.writers.table import ResultTable

        first, second = self.names
        titles = ("objects", *(f"{name} {what}" for name in (first, second) for what in ("found", "false")), "errors")
        table = ResultTable((title,), titles, box=None, pad_edge=False)
        for one in changes:
            cells = [one.objects, one.found[0], one.false[0], one.found[1], one.false[1]]
            table.row(str(one.image_id), *map(str, cells), f"{-one.gain:+d}")
        return table


def compare(
    truth: Truth,
    a: Results,
    b: Results,
    protocol_or_name: Protocol | str = "coco",
    *,
    iou: float = 0.5,
    names: tuple[str, str] = ("A", "B"),
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two result sets of the same pictures.

    Parameters
    ----------
    iou:
        The overlap at which an object counts as found, and for errors by picture.
    names:
        What the words call A and B.

    Raises
    ------
    FineSpotError
        The protocol's name is unknown or it has no AP or AR row, an argument is out of its range, both names are the
        same, or there are no two pictures.
    """
    check_draws(truth, resamples, seed, level)
    if names[0] == names[1]:
        raise FineSpotError(f"expected two different names but got '{names[0]}' twice", where="names")
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    # Shares here, whatever unit the protocol prints: differences and curves are of one kind.
    rules = replace(rules, percent=False)
    reports, tallies = zip(*(tallied(truth, results, rules) for results in (a, b)))
    labels = [rules.label(row) for row in tallies[0].rows]
    chunk = min(tally.chunk for tally in tallies)
    parts, drawn = [], []
    for weights in draws(len(truth.image_ids), resamples, seed, chunk):
        parts.append([tally.weigh(weights) for tally in tallies])
        drawn.append(weights)
    samples = [np.concatenate(one) for one in zip(*parts)]
    overall = [over_classes(one) for one in samples]
    shown = [results.select(reaches_best_f1(truth, results, rules, iou=iou)) for results in (a, b)]
    fates = [judged(truth, results, rules, iou=iou) for results in shown]
    return Comparison(
        protocol=rules,
        names=names,
        iou=iou,
        values={
            label: Difference.of(
                (reports[0].values[label], reports[1].values[label]), (overall[0][:, r], overall[1][:, r]), level
            )
            for r, label in enumerate(labels)
        },
        per_class={
            name: {
                label: Difference.of(
                    (reports[0].per_class[name][label], reports[1].per_class[name][label]),
                    (samples[0][:, k, r], samples[1][:, k, r]),
                    level,
                )
                for r, label in enumerate(labels)
            }
            for k, name in enumerate(reports[0].classes)
        },
        found=_found(truth, fates, rules, np.concatenate(drawn), level),
        pictures=_pictures(truth, shown, fates),
        images=len(truth.image_ids),
        resamples=resamples,
        seed=seed,
        level=level,
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The p value of the exact two-sided test that A alone finds as many as B alone, 1 where neither finds any."""
    if only_a < 0 or only_b < 0:
        raise FineSpotError(f"expected counts of 0 or more but got {only_a} and {only_b}")
    total, least = only_a + only_b, min(only_a, only_b)
    # Logarithms of factorials: the binomial coefficients of many thousands leave the range of a float.
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    k = np.arange(least + 1)
    tail = np.exp(logs[total] - logs[k] - logs[total - k] - total * np.log(2)).sum()
    return float(min(1.0, 2 * tail))


def _found(
    truth: Truth, fates: list[Judged], rules: Protocol, weights: NDArray[np.int32], level: float
) -> dict[str, FoundObjects]:
    """Found objects of all sizes, then of the protocol's size ranges."""
    first, second = fates
    areas = (ANY_SIZE, *(area for area in rules.areas if area.label != ANY_SIZE.label))
    found = {}
    for area in areas:
        inside = first.counts & (truth.area >= area.low) & (truth.area <= area.high)
        a, b = first.found & inside, second.found & inside
        objects = weights @ _by_picture(truth, inside)
        samples = [
            np.divide(weights @ _by_picture(truth, one), objects, out=np.full(len(weights), np.nan), where=objects > 0)
            for one in (a, b)
        ]
        total = int(inside.sum())
        shares = (int(a.sum()) / total, int(b.sum()) / total) if total else (None, None)
        found[area.label] = FoundObjects(
            both=int((a & b).sum()),
            only_a=int((a & ~b).sum()),
            only_b=int((b & ~a).sum()),
            none=int((inside & ~a & ~b).sum()),
            recall=Difference.of(shares, (samples[0], samples[1]), level),
        )
    return found


def _pictures(truth: Truth, shown: list[Results], fates: list[Judged]) -> tuple[PictureChange, ...]:
    count = len(truth.image_ids)
    objects = _by_picture(truth, fates[0].counts)
    found = [np.bincount(one.image[fate.right], minlength=count) for one, fate in zip(shown, fates)]
    false = [np.bincount(one.image[fate.wrong], minlength=count) for one, fate in zip(shown, fates)]
    changes = [
        PictureChange(
            image_id=truth.image_ids[k],
            objects=int(objects[k]),
            found=(int(found[0][k]), int(found[1][k])),
            false=(int(false[0][k]), int(false[1][k])),
        )
        for k in range(count)
    ]
    return tuple(sorted((one for one in changes if one.gain), key=lambda one: -one.gain))


def _by_picture(truth: Truth, rows: Flags) -> Rows:
    return np.bincount(truth.image[rows], minlength=len(truth.image_ids))


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    """Points of 100 with their sign; 0.0 has none."""
    text = "-" if value is None else f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text
