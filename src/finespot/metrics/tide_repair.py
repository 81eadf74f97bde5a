"""What each kind of error costs: the average precision if it were mended, less that of the detections as they are.

After TIDE (see `tide_errors`). Values are in percent. A class counts in the mean while it has an object or a
detection: one with detections alone counts as 0, and one of which the repair leaves nothing leaves the mean.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.tide_errors import KINDS, MISS, RIGHT, Fates

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

# The program divides, so that some points differ from those of COCO in the last bit.
_POINTS = np.arange(101) / 100


def class_precision(label: Rows, right: Flags, objects: Rows) -> Floats:
    """Average precision (K,) of detections by falling score, NaN for classes with neither detection nor object."""
    order = np.argsort(label, kind="stable")
    hits = right[order]
    edges = np.searchsorted(label[order], np.arange(len(objects) + 1))
    values = np.full(len(objects), np.nan)
    for k, (start, end, count) in enumerate(zip(edges[:-1], edges[1:], objects)):
        if not count:
            values[k] = 0.0 if end > start else np.nan
            continue
        # Precision can only rise at a true positive, so its envelope needs no others.
        place = np.flatnonzero(hits[start:end])
        found = np.arange(1, len(place) + 1)
        envelope = np.maximum.accumulate((found / (place + 1))[::-1])[::-1]
        at = np.searchsorted(found / count, _POINTS, side="left")
        values[k] = 100 * envelope[at[at < len(place)]].sum() / len(_POINTS)
    return values


def mean_precision(values: Floats) -> float | None:
    """The mean over classes that are not NaN; None where all are."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


@dataclass(frozen=True)
class Repair:
    """The detections of `fates` among `classes` classes, and what they would be worth with errors mended.

    `only_present` leaves classes without an object out of every mean, as COCO does.
    """

    fates: Fates
    classes: int
    only_present: bool = False

    def objects(self) -> Rows:
        """(K,) objects of each class."""
        return np.bincount(self.fates.object_label, minlength=self.classes)

    def base(self) -> Floats:
        """(K,) average precision as it is."""
        fates, order = self.fates, np.argsort(-self.fates.scores, kind="stable")
        order = order[~fates.ignored[order]]
        return self._average(fates.label[order], fates.kind[order] == RIGHT, self.objects())

    def costs(self) -> dict[str, float | None]:
        """Percent gained by mending all errors of one kind; a loss counts as 0."""
        base = mean_precision(self.base())
        return {name: _gain(self._mended((), k), base) for k, name in enumerate(KINDS)}

    def progressive(self) -> dict[str, float | None]:
        """Percent gained by mending one kind after the other; each kind against the one before."""
        last, gains = mean_precision(self.base()), {}
        for k, name in enumerate(KINDS):
            mended = self._mended(range(k), k)
            gains[name] = _gain(mended, last)
            last = None if last is None else _or_perfect(mended)
        return gains

    def special(self) -> dict[str, float | None]:
        """Percent gained (or lost) without any false positive before a true one, and without missing objects."""
        fates, base = self.fates, mean_precision(self.base())
        if base is None:
            return {"FalsePos": None, "FalseNeg": None}
        right = fates.kind == RIGHT
        parted = np.argsort(~right, kind="stable")
        parted = parted[~fates.ignored[parted]]
        perfect = self._average(fates.label[parted], right[parted], self.objects())
        lost = np.bincount(fates.object_label[~fates.found], minlength=self.classes)
        complete = self._points((), (), self.objects() - lost)
        return {
            "FalsePos": _or_perfect(mean_precision(perfect)) - base,
            "FalseNeg": _or_perfect(mean_precision(complete)) - base,
        }

    def _mended(self, before: Collection[int], now: int) -> float | None:
        """The mean with the kinds `before` and `now` mended."""
        objects = self.objects()
        if now == MISS:
            objects = objects - np.bincount(self.fates.object_label[self.fates.missed], minlength=self.classes)
        return mean_precision(self._points(before, (now,), objects))

    def _points(self, before: Collection[int], now: Collection[int], objects: Rows) -> Floats:
        """Average precision by class with errors mended; at one score, what was wrong at first comes first.

        Detections that an earlier step made right stand behind, with those that were right from the beginning.
        """
        fates = self.fates
        early, mended = np.isin(fates.kind, list(before)), np.isin(fates.kind, [*before, *now])
        first = fates.kind == RIGHT
        right = first | (mended & fates.chosen)
        order = np.lexsort((first | (early & fates.chosen), -fates.scores))
        order = order[(right | ~(mended | fates.ignored))[order]]
        return self._average(np.where(right, fates.mended_label, fates.label)[order], right[order], objects)

    def _average(self, label: Rows, right: Flags, objects: Rows) -> Floats:
        values = class_precision(label, right, objects)
        return np.where(self.objects() > 0, values, np.nan) if self.only_present else values


def _gain(mended: float | None, base: float | None) -> float | None:
    return None if base is None else max(0.0, _or_perfect(mended) - base)


def _or_perfect(mended: float | None) -> float:
    """Where a repair leaves neither objects nor detections, nothing is wrong any more (the program divides by zero)."""
    return 100.0 if mended is None else mended
