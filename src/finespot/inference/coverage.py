"""How well chosen windows cover the objects of labelled pictures, and how much of the pictures they take.

The measures of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025), of each picture
and then over all: the released code takes means over batches, leaves out pictures without a window, and counts padding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from finespot.inference.windows import WindowView
from finespot.structures import Annotations, Flags

# The share of an object that one window must show for it to count as covered.
SHARE = 0.5


@dataclass(frozen=True)
class Coverage:
    """Of a set of pictures; ignore regions left out.

    Attributes
    ----------
    pictures, objects:
        How many there were.
    by_box:
        Share of the objects of which one window shows half or more ("BPR"); NaN without objects.
    by_center:
        Share of the objects whose center lies in what a window answers for; NaN without objects.
    occupancy:
        Mean over the pictures of the windows' area over the picture's, halos and overlaps counted: what they cost.
    covered:
        Mean over the pictures of the share that lies in a window.
    windows, windows_95:
        Windows in a picture: mean, and what 95 % of the pictures do not exceed.
    """

    pictures: int
    objects: int
    by_box: float
    by_center: float
    occupancy: float
    covered: float
    windows: float
    windows_95: float

    @property
    def empty_rate(self) -> float:
        """The share of the pictures that no window takes."""
        return 1 - self.covered

    @property
    def missing_rate(self) -> float:
        """The share of the objects of which no window shows half."""
        return 1 - self.by_box


def coverage(pictures: Iterable[tuple[WindowView, Annotations]]) -> Coverage:
    """The measures over pictures with their truth, as `Outcome.view` gives them."""
    counts: list[int] = []
    occupied: list[float] = []
    covered: list[float] = []
    shown: list[Flags] = [np.zeros(0, bool)]
    held: list[Flags] = [np.zeros(0, bool)]
    for view, truth in pictures:
        boxes = truth.boxes[~truth.ignore].astype(np.float64)
        windows, cores = view.windows.astype(np.float64), view.cores.astype(np.float64)
        area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-9)
        low = np.maximum(boxes[:, None, :2], windows[:, :2])
        high = np.minimum(boxes[:, None, 2:], windows[:, 2:])
        inside = np.maximum(high - low, 0).prod(2) / area[:, None]
        shown.append(np.asarray((inside >= SHARE).any(1)))
        # Cores at the border of a picture reach beyond it, and so may centers.
        centers = ((boxes[:, :2] + boxes[:, 2:]) / 2).clip(0, np.array(view.size[::-1]) - 1e-3)
        here = np.asarray(((centers[:, None] >= cores[:, :2]) & (centers[:, None] < cores[:, 2:])).all(2))
        held.append(np.asarray(here.any(1)))
        counts.append(view.savings.windows)
        occupied.append(view.savings.occupancy)
        covered.append(view.savings.covered)
    found, centered = np.concatenate(shown), np.concatenate(held)
    none = float("nan")
    return Coverage(
        pictures=len(counts),
        objects=len(found),
        by_box=float(found.mean()) if len(found) else none,
        by_center=float(centered.mean()) if len(found) else none,
        occupancy=float(np.mean(occupied)) if counts else none,
        covered=float(np.mean(covered)) if counts else none,
        windows=float(np.mean(counts)) if counts else none,
        windows_95=float(np.quantile(counts, 0.95)) if counts else none,
    )
