"""The losses of a seeker's map, against values 0 to 1 and weights of `assigners.heatmap`.

The released code of ESOD and its paper (IEEE TIP 34, 2025) differ: cross entropy with weights for small objects there,
focal and dice loss, 20 to 1, here. Both are offered; what the paper leaves open is ours, and said below. The third is
for maps that choose windows of a picture far larger than their cells.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from finespot.assigners.heatmap import HeatMap
from finespot.errors import unknown
from finespot.losses import quality_focal

# Of the released code beside the detection losses; for the paper's own loss nothing is published.
GAIN = 0.2
# Of the paper: focal loss against dice loss.
FOCAL, DICE = 20.0, 1.0


def weighted_cross_entropy(logits: Tensor, truth: HeatMap) -> Tensor:
    """Weighted binary cross entropy, a mean over the cells that count (those of weight above 0)."""
    costs = F.binary_cross_entropy_with_logits(logits, truth.values, reduction="none")
    return (costs * truth.weights).sum() / _counting(truth).sum().clamp(min=1)


def focal_and_dice(logits: Tensor, truth: HeatMap) -> Tensor:
    """20 times the weighted focal loss (a mean over the cells that count) and the dice loss (over the pictures).

    Values between 0 and 1 are no classes, so the focal factor is |value - p|^2, which vanishes where the map is right.
    The dice loss takes sums over a picture, with 1 added above and below the line.
    """
    counting = _counting(truth)
    focal = (quality_focal(logits, truth.values) * truth.weights).sum() / counting.sum().clamp(min=1)
    found, wanted = logits.sigmoid() * counting, truth.values * counting
    both, all_of_them = (found * wanted).sum((1, 2, 3)), (found + wanted).sum((1, 2, 3))
    dice = (1 - (2 * both + 1) / (all_of_them + 1)).mean()
    return FOCAL * focal + DICE * dice


def peak_focal(logits: Tensor, truth: HeatMap) -> Tensor:
    """Focal loss where one cell by an object's center is enough, a sum over the cells by the number of objects.

    After "Objects as Points" (2019): the cell of a center is to be hot, or one of its eight neighbors; cells that no
    object touches, nor a neighbor of such a cell, are to be cold; what lies between does not count, nor do sizes. A
    window shows far more than a cell, so it does not matter which cell of an object is hot, and a map of points leaves
    more of a picture cold than one of ellipses.
    """
    center = (truth.values == 1).float()
    cold = (F.max_pool2d((truth.values > 0).float(), 3, 1, 1) == 0) & (truth.weights > 0)
    hottest = F.max_pool2d(logits, 3, 1, 1)
    hot_cost = (1 - hottest.sigmoid()).square() * F.softplus(-hottest) * center
    cold_cost = logits.sigmoid().square() * F.softplus(logits) * cold
    return (hot_cost.sum() + cold_cost.sum()) / center.sum().clamp(min=1)


def _counting(truth: HeatMap) -> Tensor:
    return (truth.weights > 0).float()


LOSSES: dict[str, Callable[[Tensor, HeatMap], Tensor]] = {
    "bce": weighted_cross_entropy,
    "focal_dice": focal_and_dice,
    "peak": peak_focal,
}


def loss_named(name: str) -> Callable[[Tensor, HeatMap], Tensor]:
    """One of `LOSSES`.

    Raises
    ------
    FineSpotError
        There is none of that name.
    """
    if name not in LOSSES:
        raise unknown("loss of the seeker", str(name), LOSSES)
    return LOSSES[name]
