"""Repeat factor sampling (LVIS: Gupta et al. 2019, section 4): pictures of rare classes come several times an epoch.

A class that the share f of the pictures shows has the factor max(1, sqrt(t / f)), t being the threshold, and a picture
the largest factor of its classes. What is joined to a picture (mosaic, mixup, copy-paste) is drawn by the same factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset

_REPEATS = 5  # A stream of random numbers beside those of the loader and the tiles.


class Repeats:
    """How often each picture comes in an epoch. All epochs have the same length.

    Parameters
    ----------
    dataset, seed:
        What to draw from, and with the epoch's number what decides the draw.
    threshold:
        t, from 0 to 1: classes that a larger share of the pictures shows are not repeated.

    Attributes
    ----------
    factors:
        How often each picture comes, on average.
    """

    def __init__(self, dataset: Dataset, threshold: float, seed: int) -> None:
        self.threshold, self.seed = threshold, seed
        self._names = dataset.classes.names
        shown = _shown(dataset)
        shares = shown.mean(axis=0)
        self._by_class = np.maximum(1.0, np.sqrt(threshold / np.maximum(shares, 1 / len(dataset))))
        self.factors = np.where(shown, self._by_class, 1.0).max(axis=1, initial=1.0)
        self._reached = np.cumsum(self.factors) / self.factors.sum()
        self._reached[-1] = 1.0  # not a rounding error below it, or a draw could go past the last picture
        self._pictures = len(dataset)
        self._drawn: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return round(float(self.factors.sum()))

    def notes(self) -> list[str]:
        """What is repeated, in words."""
        often = [f"{name} {factor:.1f}x" for name, factor in zip(self._names, self._by_class) if factor > 1]
        what = ", ".join(often) if often else f"no class is in less than the share {self.threshold:g} of them"
        return [f"repeat_rare: {len(self)} pictures an epoch from {self._pictures} ({what})"]

    def picture(self, epoch: int, number: int) -> int:
        """The picture, by index in the data set, that comes as the epoch's number so-and-so; they are sorted."""
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._draw(epoch)
        return int(self._drawn[1][number])

    def partners(self, rng: np.random.Generator, count: int) -> list[int]:
        """Pictures to be joined to another one."""
        return [int(one) for one in np.searchsorted(self._reached, rng.random(count), side="right")]

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        """Evenly spaced marks on the line of factors laid end to end: a picture comes as often as marks hit it, its
        factor rounded down or up.
        """
        offset = np.random.default_rng((self.seed, epoch, _REPEATS)).random()
        marks = (np.arange(len(self)) + offset) / len(self)
        return np.searchsorted(self._reached, marks, side="right")


def _shown(dataset: Dataset) -> NDArray[np.bool_]:
    """Whether a picture has an object of a class, (pictures, classes); ignore regions do not count."""
    rows = dataset.rows
    shown = np.zeros((len(dataset), len(dataset.classes)), bool)
    pictures = np.repeat(np.arange(len(dataset)), np.diff(rows.starts))
    shown[pictures[~rows.ignore], rows.labels[~rows.ignore]] = True
    return shown
