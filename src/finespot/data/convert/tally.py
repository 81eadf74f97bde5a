"""How many objects of each class a split has, and what a layout cannot hold of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finespot.data.builder import counted
from finespot.data.convert.placing import Handling
from finespot.data.convert.pool import Pool
from finespot.data.formats.layout import Keeps
from finespot.data.painting import whole_pixels

# Areas that differ from their box's by less than this share are the box's, rounded.
_AREA_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Tally:
    """The counts of one split: objects by class name, ignored objects of all classes, regions without a class."""

    pictures: int
    objects: Mapping[str, int]
    ignored: int
    regions: int
    attributes: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The counts under plain names."""
        return {
            "pictures": self.pictures,
            "objects": dict(self.objects),
            "ignored objects": self.ignored,
            "ignore regions": self.regions,
        }


def tally(pool: Pool) -> Tally:
    """Count a split; attributes are counted where they are not 0."""
    labels, ignore = pool.rows.labels, pool.rows.ignore
    counts = np.bincount(labels[~ignore], minlength=len(pool.classes))
    return Tally(
        len(pool),
        {name: int(count) for name, count in zip(pool.classes, counts)},
        int((ignore & (labels >= 0)).sum()),
        int((labels < 0).sum()),
        {name: int((column != 0).sum()) for name, column in pool.rows.attributes.items()},
    )


def what_remains(pool: Pool, keeps: Keeps, handling: Handling, layout: str) -> tuple[Pool, Pool, list[str]]:
    """The pictures that a layout holds with all their truth, the same with the truth it holds, and what to say.

    What is lost is said with what to do about it; what is painted over is not lost.
    """
    rows = pool.rows
    regions, ignored = rows.labels < 0, rows.ignore & (rows.labels >= 0)
    lost = (regions & (not keeps.regions)) | (ignored & (not keeps.ignored))
    painted = handling.paints(rows.labels, rows.ignore)
    notes = _painted(pool, painted)
    for kind, part, cure in (
        ("ignore regions", regions, "--paint-ignore gray paints them"),
        ("ignored objects", ignored, "--paint-ignore gray --paint-objects paints them"),
    ):
        if count := int((lost & part & ~painted).sum()):
            notes.append(f"{layout} holds no {kind}: {count} dropped; {cure}")
    left = pool.keep(~lost)
    if not keeps.area and (count := _other_areas(left)):
        notes.append(f"{layout} holds no areas: {counted(count, '1 object gets', 'objects get')} that of the box")
    if not keeps.empty:
        full = np.flatnonzero(np.diff(left.rows.starts)).tolist()
        if len(full) < len(left):
            notes.append(f"{layout} holds no pictures without annotations: {len(left) - len(full)} left out")
            pool, left = pool.select(full), left.select(full)
    return pool, left, notes


def _painted(pool: Pool, painted: Any) -> list[str]:
    """What is said of painting: how many places, and how many objects reach into them and stay visible."""
    if not painted.any():
        return []
    pictures = pool.picture_of_rows()
    places = counted(int(painted.sum()), "1 place", "places")
    anew = counted(len(np.unique(pictures[painted])), "1 picture", "pictures")
    notes = [f"{places} painted, {anew} encoded anew"]
    objects = 0
    for picture in np.unique(pictures[painted]):
        rows = slice(int(pool.rows.starts[picture]), int(pool.rows.starts[picture + 1]))
        boxes = np.array(whole_pixels(pool.rows.boxes[rows], pool.sizes[picture])).reshape(-1, 4)
        filled, shown = boxes[painted[rows]], boxes[~pool.rows.ignore[rows]]
        low = np.maximum(filled[:, None, :2], shown[None, :, :2])
        high = np.minimum(filled[:, None, 2:], shown[None, :, 2:])
        objects += int((high > low).all(axis=2).any(axis=0).sum())
    if objects:
        said = counted(
            objects, "1 object reaches into painted places and stays", "objects reach into painted places and stay"
        )
        notes.append(f"{said} visible")
    return notes


def _other_areas(pool: Pool) -> int:
    sides = (pool.rows.boxes[:, 2:] - pool.rows.boxes[:, :2]).astype(np.float64)
    own = sides.prod(axis=1)
    return int((np.abs(pool.rows.area - own) > _AREA_TOLERANCE * own + 0.01).sum())
