"""Read a data set back and compare it with what it was written from.

Boxes are compared picture by picture and class by class, each coordinate sorted, so that a layout may order them as
it likes; classes are compared by name, because some layouts have no class table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import counted
from finespot.data.convert.pool import Pool
from finespot.data.convert.tally import Tally, tally
from finespot.data.formats.layout import Format, Keeps
from finespot.errors import FineSpotError
from finespot.structures import ANY_CLASS, Boxes, Labels

# How far an edge may move through the decimals of a label file: in pixels, or as a share of the picture's side.
TOLERANCE_PX, TOLERANCE_SHARE = 0.02, 2e-6

_AREA_TOLERANCE = 1e-3


def read_back(
    layout: Format, root: Path, split: str, written: Pool, targets: Sequence[str], keeps: Keeps
) -> tuple[Tally, list[str]]:
    """Read a split that was written below `root`; its counts, and what was lost on the way.

    Raises
    ------
    FineSpotError
        It does not say what it was written from.
    """
    again = Pool.of(layout.open(root, split))
    order = _positions([str(root / target) for target in targets], again.paths)
    if min(order) < 0 or len(again) != len(written):
        raise FineSpotError(
            f"expected the {len(written)} pictures that were written but read {len(again)}", where=f"{root}: {split}"
        )
    names = written.classes.names
    table = [names.index(name) if name in names else ANY_CLASS for name in again.classes]
    again = again.select(order).relabel(table, written.classes)
    lost = sum(_compare(written, again, index, targets[index]) for index in range(len(written)))
    if lost:
        notes = [f"{counted(lost, '1 box was', 'boxes were')} too thin for the decimals of the layout and lost"]
    else:
        notes = _compare_rest(written, again, keeps, f"{root}: {split}")
    return tally(again), notes


def _compare(written: Pool, again: Pool, index: int, target: str) -> int:
    """Refuse a picture that differs; returns how many boxes thinner than the tolerance have vanished."""
    size = written.sizes[index]
    tolerance = max(TOLERANCE_PX, TOLERANCE_SHARE * max(size))
    kinds, boxes = _of(written, index)
    other_kinds, other_boxes = _of(again, index)
    if again.sizes[index] != size:
        raise FineSpotError(f"expected {size} as (height, width) but read {again.sizes[index]}", where=target)
    lost = 0
    if not np.array_equal(np.sort(kinds), np.sort(other_kinds)):
        solid = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) > tolerance
        other_solid = (other_boxes[:, 2:] - other_boxes[:, :2]).min(axis=1) > tolerance
        lost = len(kinds) - len(other_kinds)
        kinds, boxes = kinds[solid], boxes[solid]
        other_kinds, other_boxes = other_kinds[other_solid], other_boxes[other_solid]
    if lost < 0 or not np.array_equal(np.sort(kinds), np.sort(other_kinds)):
        raise FineSpotError(
            f"expected {len(kinds)} annotations as they were written but read {len(other_kinds)}", where=target
        )
    for kind in np.unique(kinds):
        moved = np.abs(np.sort(boxes[kinds == kind], axis=0) - np.sort(other_boxes[other_kinds == kind], axis=0)).max()
        if moved > tolerance:
            raise FineSpotError(f"expected boxes as they were written but one moved by {moved:.3g} px", where=target)
    return lost


def _compare_rest(written: Pool, again: Pool, keeps: Keeps, where: str) -> list[str]:
    """Refuse a split whose areas or attributes are not those that the layout promises; say which are lost.

    Attributes are compared by the number of annotations that have them.
    """
    had, has = tally(written).attributes, tally(again).attributes
    lost = []
    for name, count in sorted(had.items()):
        if count != has.get(name, 0):
            if name in keeps.attributes:
                raise FineSpotError(
                    f"expected {count} annotations with '{name}' but read {has.get(name, 0)}", where=where
                )
            if has.get(name, 0) < count:  # a layout may also say more, such as `difficult` of what is ignored
                lost.append(f"{name} ({count})")
    area, read = written.rows.area.sum(), again.rows.area.sum()
    if keeps.area and abs(area - read) > _AREA_TOLERANCE * area:
        raise FineSpotError(f"expected areas of {area:.6g} px in all but read {read:.6g}", where=where)
    return [f"the layout does not hold these attributes (of so many annotations): {', '.join(lost)}"] if lost else []


def _positions(wanted: Sequence[str], paths: Sequence[str]) -> list[int]:
    """Where each wanted path is among the paths, whatever links lead to their folders; -1 where it is not."""
    real: dict[str, str] = {}

    def key(path: str) -> tuple[str, str]:
        folder, name = os.path.split(path)
        if folder not in real:
            real[folder] = os.path.realpath(folder)
        return real[folder], name

    place = {key(path): index for index, path in enumerate(paths)}
    return [place.get(key(path), -1) for path in wanted]


def _of(pool: Pool, index: int) -> tuple[Labels, Boxes]:
    """Per annotation of a picture its label and ignore flag as one number, and its box."""
    rows = slice(int(pool.rows.starts[index]), int(pool.rows.starts[index + 1]))
    kinds: NDArray[np.int64] = 2 * pool.rows.labels[rows] + pool.rows.ignore[rows]
    return kinds, pool.rows.boxes[rows]
