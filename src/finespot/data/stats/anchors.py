"""Anchors for networks that need them: what the usual ones miss, and what k-means finds.

In YOLOv5 an object and an anchor match where neither side differs by a factor of 4 or more:
max(w / aw, aw / w, h / ah, ah / h) < 4. An object that matches no anchor is never learned; the share that matches one
is the best possible recall. The smallest of the usual anchors is 10 x 13 px, so at 3.25 px of height or 2.5 px of
width everything is lost.

Differs from YOLOv5's own search (k-means on sizes divided by their deviation, then 1000 random changes): because the
criterion is a ratio, k-means runs on logarithms, where a factor is a distance; it starts from k-means++ with a fixed
seed and needs no random search. Anchors are rounded to 0.1 px, and the recall is that of the rounded ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finespot.data.stats.columns import Floats

# Width and height at the network, three a level from P3 to P5.
YOLOV5 = np.array(
    [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]], np.float64
)
PER_LEVEL = 3
RATIO = 4.0
SAMPLE = 200_000
_ROUNDS = 300
# Centers that move less than this share of their size have settled.
_SETTLED = 1e-4


@dataclass(frozen=True)
class Anchors:
    """Anchors for the objects of a data set.

    Attributes
    ----------
    sizes:
        (k, 2) width and height at the network by rising area; fewer than asked where fewer sizes occur.
    finest:
        Stride of the level that the first three belong to.
    recall, usual_recall:
        Share of objects that match one of these anchors, and one of YOLOv5's.
    too_small:
        Share of objects that are too narrow or too low for each of YOLOv5's.
    sample:
        How many objects k-means saw.
    """

    sizes: Floats
    finest: int
    recall: float
    usual_recall: float
    too_small: float
    sample: int


def study(wh: Floats, finest: int) -> Anchors | None:
    """Anchors for objects of (width, height) `wh` at the network, for levels of stride `finest` to 32."""
    if not len(wh):
        return None
    levels = int(np.log2(32 // finest)) + 1
    sample = wh
    if len(wh) > SAMPLE:
        sample = wh[np.random.default_rng(0).choice(len(wh), SAMPLE, replace=False)]
    sizes = np.maximum(k_means(sample, PER_LEVEL * levels).round(1), 0.1)
    sizes = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
    return Anchors(
        sizes=sizes,
        finest=finest,
        recall=recall(wh, sizes),
        usual_recall=recall(wh, YOLOV5),
        too_small=float((wh <= YOLOV5.min(axis=0) / RATIO).any(axis=1).mean()),
        sample=len(sample),
    )


def recall(wh: Floats, anchors: Floats) -> float:
    """The share of sizes that match an anchor."""
    matched = np.zeros(len(wh), np.bool_)
    for anchor in anchors:  # one at a time: the memory stays that of the sizes
        ratio = wh / anchor
        matched |= np.maximum(ratio, 1 / ratio).max(axis=1) < RATIO
    return float(matched.mean())


def k_means(wh: Floats, count: int, seed: int = 0) -> Floats:
    """`count` sizes that stand for all of `wh` (N, 2), or as many as differ; the same for the same input."""
    points = np.log(wh)
    centers = _spread_out(points, count, np.random.default_rng(seed))
    for _ in range(_ROUNDS):
        own = _distances(points, centers).argmin(axis=1)
        number = np.bincount(own, minlength=len(centers))
        sums = np.stack([np.bincount(own, axis, minlength=len(centers)) for axis in points.T], axis=1)
        # A center that no size is nearest to stays where it is.
        moved: Floats = np.where(number[:, None] > 0, sums / np.maximum(number, 1)[:, None], centers)
        shift = np.abs(moved - centers).max()
        centers = moved
        if shift < _SETTLED:
            break
    return np.asarray(np.exp(centers))


def _spread_out(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Starting centers of k-means++: each drawn with a chance that grows with the squared distance to those before."""
    centers: Floats = points[rng.integers(len(points))][None]
    nearest = _distances(points, centers)[:, 0]
    while len(centers) < count:
        chances = np.cumsum(nearest)
        if chances[-1] <= 0:
            break
        pick = min(int(np.searchsorted(chances, rng.uniform(0, chances[-1]), side="right")), len(points) - 1)
        centers = np.concatenate([centers, points[pick][None]])
        nearest = np.minimum(nearest, _distances(points, centers[-1:])[:, 0])
    return centers


def _distances(points: Floats, centers: Floats) -> Floats:
    """Squared distances (points, centers), exactly 0 for equal ones."""
    across = points[:, None, 0] - centers[None, :, 0]
    along = points[:, None, 1] - centers[None, :, 1]
    return across**2 + along**2
