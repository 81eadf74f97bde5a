"""What all suppressions have in common, and the text that names one: `greedy`, `soft(sigma=0.3)`.

Each is registered as kind `nms`. Boxes affect each other by falling score, of equal scores the lower row first; only
those of one class do, unless the choice is `agnostic`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot import registry
from finespot.boxes.suppression import Ranked, Rows
from finespot.errors import FineSpotError


class Kept(NamedTuple):
    """What a suppression leaves, by falling score: boxes (K, 4) xyxy float32, scores (K,) and labels (K,)."""

    boxes: NDArray[np.float32]
    scores: NDArray[Any]
    labels: NDArray[Any]

    @classmethod
    def of(cls, ranked: Ranked, labels: ArrayLike, kept: Rows) -> Kept:
        """The boxes of these ranks, unchanged."""
        return cls(ranked.boxes[kept], ranked.scores[kept], np.asarray(labels).reshape(-1)[ranked.rows[kept]])


class Suppressor(Protocol):
    """A way to leave one box of each object.

    `thresholded` says whether it looks at `threshold`; one of your own that lacks the attribute counts as if it does.
    """

    @property
    def thresholded(self) -> bool: ...

    def __call__(
        self, boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike, *, threshold: float, max_det: int | None = None
    ) -> Kept:
        """Boxes xyxy (N, 4), scores (N,) and labels (N,) without doubles, at most `max_det`.

        Raises
        ------
        FineSpotError
            A coordinate or score is NaN or infinite, the lengths differ, `threshold` lies outside 0 to 1 or `max_det`
            is negative.
        """
        ...


def suppressor(text: str, metric: str | None = None) -> Suppressor:
    """The suppression that a text names: `name`, `name(option=value, ...)`, or a dotted path with such options.

    `metric` (iou or ios) is what it compares boxes by, where the text leaves that open; None: its own.

    Raises
    ------
    FineSpotError
        The text is malformed, the name or an option unknown, or a value out of range; the operator takes no metric.
    """
    if metric is None:
        return cast(Suppressor, registry.make("nms", text))
    if not registry.takes("nms", text, "metric"):
        raise FineSpotError(f"has no effect on '{text}'", where="merge-metric")
    return cast(Suppressor, registry.make("nms", text, metric=metric))


def check_number(owner: str, name: str, value: object, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse an option's value that is no number above `low`, up to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value <= high or math.isinf(value):
        limits = f"above {low:g}" + ("" if math.isinf(high) else f" up to {high:g}")
        raise FineSpotError(f"expected a number {limits} for {name} of '{owner}' but got {value}", where="nms")


def check_word(owner: str, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse an option's value that is none of these words."""
    if value not in choices:
        raise FineSpotError(f"expected {' or '.join(choices)} for {name} of '{owner}' but got {value}", where="nms")
