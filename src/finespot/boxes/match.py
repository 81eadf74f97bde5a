"""What two boxes have in common: their IoU, or their IoS, the share of the smaller box that is covered.

IoS is not bound to the sizes of the boxes: a small one in a large one has 1. Near pairs are therefore searched from the
larger box of each, in which (from a threshold of a half on) the center of the smaller one lies; so one large box does
not widen the search of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from finespot.boxes.suppression import BoxTable, CenterSearch, Near, Pairs, Ranked, Rows


def match_table(ranked: Ranked, threshold: float, metric: str = "iou") -> BoxTable:
    """The table whose pairs overlap where their `metric` is greater than the threshold."""
    table = BoxTable.build(ranked.boxes, ranked.labels, threshold if metric == "iou" else 0.0)
    return table if metric == "iou" else IosTable.of(table, threshold)


@dataclass(frozen=True)
class Float64Table(BoxTable):
    """A table whose pairs are compared with `limit` in float64."""

    limit: float = 0.0

    def shared(self, first: Rows, second: Rows) -> NDArray[np.float64]:
        """The area that the boxes of each pair share."""
        x1, y1, x2, y2 = self.corners
        wide = np.subtract(np.minimum(x2[first], x2[second]), np.maximum(x1[first], x1[second]), dtype=np.float64)
        high = np.subtract(np.minimum(y2[first], y2[second]), np.maximum(y1[first], y1[second]), dtype=np.float64)
        return np.maximum(wide, 0) * np.maximum(high, 0)

    def sides(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Widths and heights."""
        x1, y1, x2, y2 = self.corners
        return (
            np.subtract(x2[rows], x1[rows], dtype=np.float64),
            np.subtract(y2[rows], y1[rows], dtype=np.float64),
        )


class IosTable(Float64Table):
    """A table whose pairs overlap where their IoS is greater than the limit; near pairs are seen from the larger."""

    @classmethod
    def of(cls, table: BoxTable, threshold: float) -> IosTable:
        """The same boxes, from a table of the bound 0."""
        bound = threshold * (1 - 1e-9)
        if bound > 0:
            x1, y1, x2, y2 = (column.astype(np.float64) for column in table.corners)
            # With s the smaller area, an overlap above t * s is above t of the smaller box on each axis; so the centers
            # are at most half of the larger box's side apart, below t = 0.5 at most (1 - t) / (2 t) of it.
            factor = max(0.5, (1 - bound) / (2 * bound)) * (1 + 1e-6)
            reach_x, reach_y = (
                np.minimum(table.reach_x, factor * (x2 - x1)),
                np.minimum(table.reach_y, factor * (y2 - y1)),
            )
            table = replace(table, reach_x=reach_x, reach_y=reach_y)
        return cls(**vars(table), limit=threshold)

    def within(self, search: CenterSearch) -> Near:
        """Near pairs among the rows of a search, from both boxes of each: `close` leaves the larger one's."""
        return search.around(search.rows)

    def close(self, row: Rows, other: Rows) -> NDArray[np.bool_]:
        """Which near pairs are to be looked at: those seen from the larger box, of equal ones from the better."""
        own, partner = self.area[row], self.area[other]
        return np.asarray(super().close(row, other) & ((own > partner) | ((own == partner) & (row < other))))

    def across(self, first: Rows, second: Rows) -> Iterator[Pairs]:
        """The pairs (row of `first`, row of `second`) that overlap by more than the limit; few at once."""
        yield from super().across(first, second)
        search = CenterSearch.build(self, first)
        for other, row in self.hits(search, search.around(second)):
            yield row, other

    def overlapping(self, first: Rows, second: Rows) -> NDArray[np.bool_]:
        """Whether the share of the smaller box that each pair has in common is greater than the limit."""
        (w1, h1), (w2, h2) = self.sides(first), self.sides(second)
        return np.asarray(share(self.shared(first, second), np.minimum(w1 * h1, w2 * h2)) > self.limit)


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole; 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
