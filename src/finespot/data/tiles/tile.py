"""A data set cut into tiles: one split in, one split out, and where each tile lies in its picture.

Tiles without objects are thinned out (`keep_empty`), because in large pictures they are most of all; which ones stay
is drawn with the seed. Tiles keep the group of their picture, so that what divides the result into splits does not
tear a picture, or the frames of one video, apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finespot.data.builder import counted
from finespot.data.dataset import Dataset
from finespot.data.tiles.cut import Border, Piece, Windows, cut_dataset, pieces, rows_of, survey
from finespot.data.tiles.grid import regular_windows
from finespot.errors import FineSpotError
from finespot.structures import Size, Tiling, Window

Cutting = Tiling | Callable[[Size], Sequence[Window]]


@dataclass(frozen=True)
class Origin:
    """Where a tile comes from: its picture, by index in the data set that was cut, and its window there."""

    picture: int
    window: Window


@dataclass(frozen=True)
class Tiled:
    """The tiles as a data set; `origins[i]` says where picture i of it comes from."""

    dataset: Dataset
    origins: list[Origin]


def tile_dataset(
    dataset: Dataset,
    cutting: Cutting,
    *,
    border: Border | None = None,
    keep_empty: float = 1.0,
    seed: int = 0,
) -> Tiled:
    """Cut all pictures of a data set into tiles, in their order, row by row; ids are `<picture's id>__<x>_<y>`.

    Parameters
    ----------
    cutting:
        A tiling, or a function that gives the windows of a picture of some (height, width).
    border:
        What becomes of objects that a tile shows in part.
    keep_empty:
        The share of the tiles without objects that stays, 0 to 1.
    seed:
        Decides which.

    Raises
    ------
    FineSpotError
        A setting is out of range.
    """
    if not 0 <= keep_empty <= 1:
        raise FineSpotError(f"expected a share from 0 to 1 but got {keep_empty}", where="keep_empty")
    border = border or Border()
    windows = survey(dataset, _windows_of(dataset, cutting), border.min_visible)
    empty = np.flatnonzero(~windows.full)
    stay = np.random.default_rng(seed).permutation(empty)[: round(keep_empty * len(empty))]
    chosen = windows.select(np.sort(np.concatenate([np.flatnonzero(windows.full), stay])))
    parts = list(pieces(dataset, chosen, border))
    origins = [Origin(part.picture, part.window) for part in parts]
    tiled = cut_dataset(
        dataset,
        parts,
        ["{}__{}_{}".format(dataset.image_id(one.picture), *one.window[:2]) for one in origins],
        notes=_notes(dataset, windows, len(stay), parts, border),
    )
    return Tiled(tiled, origins)


def _windows_of(dataset: Dataset, cutting: Cutting) -> Callable[[int], Sequence[Window]]:
    if isinstance(cutting, Tiling):
        return lambda index: regular_windows(dataset.size(index), cutting)
    return lambda index: cutting(dataset.size(index))


def _notes(dataset: Dataset, windows: Windows, stay: int, parts: Sequence[Piece], border: Border) -> list[str]:
    full = int(np.count_nonzero(windows.full))
    notes = [
        f"{counted(len(dataset), '1 picture', 'pictures') or 'no picture'} cut into {len(windows)} tiles: {full} with "
        f"objects, and {stay} of the {len(windows) - full} without kept"
    ]
    lost = sum(part.lost for part in parts)
    what = "1 object shows" if lost == 1 else f"{lost} times an object shows"
    fate = "an ignore region there" if border.cut == "ignore" else "left out there"
    if lost:
        notes.append(f"{what} less than {border.min_visible:.4g} of itself in a tile: {fate}")
    never = _never_whole(dataset, parts)
    if never:
        who = "1 object shows so much of itself" if never == 1 else f"{never} objects show so much of themselves"
        notes.append(f"{who} in no tile: too large for these tiles, or for their overlap")
    return notes


def _never_whole(dataset: Dataset, parts: Sequence[Piece]) -> int:
    """How many objects no tile shows as objects."""
    unseen = ~dataset.rows.ignore
    if parts:
        unseen[rows_of(dataset, parts)[~np.concatenate([part.ignore for part in parts])]] = False
    return int(np.count_nonzero(unseen))
