"""How small an object can be: AP and recall against the side of the objects.

Each bin of sides is a size range as in the size rows of COCO: objects outside it are ignored, and so are detections
outside it that matched nothing. What differs: bins are half open, so that an object on an edge counts once, and each
has an interval over pictures (`bootstrap`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.bootstrap import Interval, bootstrap, check_draws, draws
from finespot.metrics.curves import reaches_best_f1
from finespot.metrics.judged import judged
from finespot.metrics.protocols import AreaRange, Protocol, Row, protocol
from finespot.metrics.tables import Results, Truth

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SizeCurve:
    """AP and recall by bins of the objects' side, the root of the area in pixels.

    Bin b holds sides above `edges[b]` up to `edges[b + 1]`, the first also its lowest. `ap[b]` is the mean over classes
    and over the protocol's thresholds (or at `iou`). `recall[b]` is the share of objects found at overlap `recall_iou`
    by the detections that a user sees who sets each class to its threshold of the best F1. `objects` counts by bin.
    """

    protocol: Protocol
    edges: Floats
    objects: Rows
    ap: tuple[Interval, ...]
    recall: tuple[Interval, ...]
    iou: float | None
    recall_iou: float
    images: int
    resamples: int
    level: float

    @property
    def middles(self) -> Floats:
        """Where a bin is drawn, on a scale of logarithms: the geometric middle of its edges, (B,)."""
        return np.asarray(np.sqrt(np.maximum(self.edges[:-1], self.edges[1] / 2) * self.edges[1:]))


def size_curve(
    truth: Truth,
    results: Results,
    protocol_or_name: Protocol | str = "coco",
    *,
    bins: int = 8,
    edges: Sequence[float] | None = None,
    iou: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> SizeCurve:
    """AP and recall against the side of objects, with intervals over pictures.

    Parameters
    ----------
    bins:
        How many bins of about equally many objects (fewer where many have the same side).
    edges:
        Rising sides in pixels between the bins, instead; objects outside take no part.
    iou:
        One overlap, instead of the mean over the protocol's thresholds.

    Raises
    ------
    FineSpotError
        An argument is out of its range, or there is no object.
    """
    check_draws(truth, resamples, seed, level)
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    # Shares here, whatever unit the protocol prints: differences and curves are of one kind.
    rules = replace(rules, percent=False)
    recall_iou = 0.5 if iou is None else iou
    shown = results.select(reaches_best_f1(truth, results, rules, iou=recall_iou))
    fate = judged(truth, shown, rules, iou=recall_iou)
    if edges is None:
        limits = _quantiles(np.sqrt(truth.area[fate.counts]), bins)
        ranges = _ranges(np.concatenate([[0.0], limits[1:-1], [np.inf]]))
    else:
        limits = _checked(edges)
        ranges = _ranges(limits)
    by_size = replace(
        rules,
        thresholds=rules.thresholds if iou is None else (iou,),
        areas=ranges,
        measure="area",
        rows=tuple(Row(area.label, "AP", area=area.label) for area in ranges),
    )
    drawn = bootstrap(truth, results, by_size, resamples=resamples, seed=seed, level=level)
    inside = fate.counts & np.stack([(truth.area >= one.low) & (truth.area <= one.high) for one in ranges])
    objects, found = (_by_picture(truth, rows) for rows in (inside, inside & fate.found))
    weights = np.concatenate(list(draws(len(truth.image_ids), resamples, seed, resamples)))
    return SizeCurve(
        protocol=rules,
        edges=limits,
        objects=inside.sum(axis=1),
        ap=tuple(drawn.values[area.label] for area in ranges),
        recall=tuple(
            Interval.of(
                float(found[b].sum() / objects[b].sum()) if objects[b].any() else None,
                _share(weights @ found[b], weights @ objects[b]),
                level,
            )
            for b in range(len(ranges))
        ),
        iou=iou,
        recall_iou=recall_iou,
        images=len(truth.image_ids),
        resamples=resamples,
        level=level,
    )


def _quantiles(side: Floats, bins: int) -> Floats:
    if bins < 1:
        raise FineSpotError(f"expected 1 bin or more but got {bins}", where="bins")
    if not len(side):
        raise FineSpotError("expected one object or more to part by size but got none")
    edges = np.unique(np.quantile(side, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    return edges if len(edges) > 1 else np.repeat(edges, 2)


def _checked(edges: Sequence[float]) -> Floats:
    limits = np.asarray(edges, np.float64)
    if limits.ndim != 1 or len(limits) < 2 or not np.isfinite(limits).all() or limits[0] < 0:
        raise FineSpotError(f"expected two sides or more, of 0 or more, but got {list(edges)}", where="edges")
    if not (np.diff(limits) > 0).all():
        raise FineSpotError(f"expected rising sides but got {list(edges)}", where="edges")
    return limits


def _ranges(limits: Floats) -> tuple[AreaRange, ...]:
    """Size ranges that share no area: both ends of an `AreaRange` count."""
    areas = limits**2
    low = np.append(areas[:1], np.nextafter(areas[1:-1], np.inf))
    return tuple(AreaRange(f"bin {b}", *pair) for b, pair in enumerate(zip(low.tolist(), areas[1:].tolist())))


def _by_picture(truth: Truth, rows: NDArray[np.bool_]) -> Rows:
    """Counts of flagged rows (bins, G) by bin and picture."""
    return np.stack([np.bincount(truth.image[one], minlength=len(truth.image_ids)) for one in rows])


def _share(part: Rows, whole: Rows) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
