"""Whether a network's anchors fit the objects of a data set, and better ones where they do not.

The check that YOLOv5 makes when training starts: an object that differs from every anchor by a factor of 4 or more is
never learned, so the share of objects that match one, the best possible recall, should be above 0.98. Otherwise
anchors are searched: k-means, then small random changes, kept where they help. What differs: k-means runs on
logarithms of the sizes (see `anchors`), a change has to raise the recall or, at the same recall, the closeness of the
matches, and everything is drawn from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.data.stats.anchors import RATIO, k_means, recall
from finespot.data.stats.columns import Floats
from finespot.errors import FineSpotError

Pairs = list[list[tuple[float, float]]]

ENOUGH = 0.98
# Training changes sizes, so they are tried up to this share larger and smaller.
JITTER = 0.1
# Sides below this are none.
_NOTHING = 1e-6
# Objects smaller than this on both sides are too few pixels to have a size.
LEAST = 2.0
GENERATIONS, CHANGED, SPREAD = 1000, 0.9, 0.1
# Most objects that the search looks at.
SAMPLE = 10_000


@dataclass(frozen=True)
class AnchorCheck:
    """Anchors for a data set.

    Attributes
    ----------
    recall:
        Best possible recall of the anchors that were given, 0 to 1.
    recall_after:
        That of `anchors`: the same, or more.
    anchors:
        (width, height) pairs in pixels of each level: those given, or better ones by rising area, to 0.1 px.
    """

    recall: float
    recall_after: float
    anchors: Pairs

    @property
    def changed(self) -> bool:
        """Whether the anchors are not those that were given."""
        return self.recall_after > self.recall


def check_anchors(
    sizes: ArrayLike,
    anchors: Sequence[Sequence[tuple[float, float]]],
    *,
    enough: float = ENOUGH,
    generations: int = GENERATIONS,
    seed: int = 0,
) -> AnchorCheck:
    """Check `anchors` against objects, and search better ones where their best possible recall is not above `enough`.

    Parameters
    ----------
    sizes:
        (N, 2) width and height of the objects in pixels of the network input. Those without area are left out.
    anchors:
        (width, height) pairs in pixels of the network input for each level, fine to coarse, as many on each.
    generations:
        How many random changes the search tries after k-means.

    Raises
    ------
    FineSpotError
        The sizes or the anchors have another shape.
    """
    wh = np.asarray(sizes, np.float64)
    try:
        given = np.asarray(anchors, np.float64)
    except ValueError:
        given = np.zeros(0)
    if wh.ndim != 2 or wh.shape[1] != 2 or not np.isfinite(wh).all():
        raise FineSpotError(f"expected finite sizes of shape (n, 2) but got {wh.shape}", where="anchors")
    if given.ndim != 3 or given.shape[2] != 2 or 0 in given.shape or not (given > 0).all():
        raise FineSpotError("expected as many (width, height) pairs above 0 for each level", where="anchors")
    rng = np.random.default_rng(seed)
    wh = wh[(wh > _NOTHING).all(axis=1)]
    wh = wh * rng.uniform(1 - JITTER, 1 + JITTER, (len(wh), 1))
    start = given.reshape(-1, 2)
    before = recall(wh, start) if len(wh) else 1.0
    kept = AnchorCheck(before, before, _pairs(given))
    large = wh[(wh >= LEAST).any(axis=1)]
    if before > enough or not len(large):
        return kept
    if len(large) > SAMPLE:
        large = large[rng.choice(len(large), SAMPLE, replace=False)]
    found = np.maximum(_search(large, start, generations, rng).round(1), 0.1)
    found = found[np.argsort(found.prod(axis=1), kind="stable")]
    after = recall(wh, found)
    return AnchorCheck(before, after, _pairs(found.reshape(given.shape))) if after > before else kept


def _search(wh: Floats, given: Floats, generations: int, rng: np.random.Generator) -> Floats:
    """As many anchors as given, for sizes (N, 2): k-means, then random changes."""
    best = k_means(wh, len(given), seed=int(rng.integers(2**31)))
    # Where fewer sizes differ than there are anchors, the largest of the given ones fill up.
    by_area = given[np.argsort(given.prod(axis=1), kind="stable")]
    best = np.concatenate([best, by_area[len(best) :]])
    width, height = np.log(wh).T.astype(np.float32).copy()
    score = _score(width, height, best)
    for _ in range(generations):
        changes = np.where(rng.random(best.shape) < CHANGED, 1 + SPREAD * rng.standard_normal(best.shape), 1.0)
        tried = best * np.maximum(changes, SPREAD)
        reached = _score(width, height, tried)
        if reached > score:
            best, score = tried, reached
    return best


def _score(width: NDArray[np.float32], height: NDArray[np.float32], anchors: Floats) -> tuple[float, float]:
    """Recall for logarithms of sides, then how close sizes are to their nearest anchor: the mean of 1 / factor."""
    distance = np.full(len(width), np.inf, np.float32)
    for anchor_width, anchor_height in np.log(anchors).astype(np.float32):
        across, along = np.abs(width - anchor_width), np.abs(height - anchor_height)
        np.minimum(distance, np.maximum(across, along), out=distance)
    return float((distance < np.log(RATIO)).mean()), float(np.exp(-distance).mean(dtype=np.float64))


def _pairs(anchors: Floats) -> Pairs:
    return [[(float(w), float(h)) for w, h in level] for level in anchors]
