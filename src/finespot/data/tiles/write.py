"""Cut a data set into tiles and write them as a data set of their own, with `tiles.json` for the way back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from finespot.data.convert import Conversion, Handling, open_target, write_dataset
from finespot.data.convert.classes import unify
from finespot.data.convert.pool import Pool
from finespot.data.convert.tally import tally
from finespot.data.convert.write import Watch, refuse_overlap
from finespot.data.dataset import Dataset, find_format
from finespot.data.formats.layout import Part
from finespot.data.tiles.back import SplitTiles, TileIndex
from finespot.data.tiles.cut import Border
from finespot.data.tiles.tile import Cutting, tile_dataset

# Splits whose name starts so are thinned out. Others are measured on, and lose their false alarms with their tiles.
LEARNED_FROM = "train"


def write_tiles(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    cutting: Cutting,
    *,
    splits: Sequence[str] = (),
    border: Border | None = None,
    keep_empty: float = 1.0,
    seed: int = 0,
    handling: Handling | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    watch: Watch | None = None,
    how: str | None = None,
) -> Conversion:
    """Write the tiles of the data set `source` as `target` (`FORMAT:FOLDER`).

    Parameters
    ----------
    cutting, border, seed:
        See `tile_dataset`.
    splits:
        Which to cut; by default all.
    keep_empty:
        The share of the tiles without objects that stays in splits to learn from (`train...`); others keep all.
    handling:
        What happens to pictures; those that are one tile as a whole are linked by default.
    overwrite, workers, watch, how:
        See `finespot.data.convert.convert`.

    Raises
    ------
    FineSpotError
        Something is wrong with the source, a setting is out of range, or the target cannot be written.
    """
    goal = open_target(target, overwrite)
    layout, place = find_format(source)
    opened = [layout.open(place, split) for split in dict.fromkeys(splits or layout.splits(place))]
    refuse_overlap(goal, place, opened)
    pools, notes = unify([Pool.of(data) for data in opened])
    sources = [pool.dataset(data.name, data.split) for pool, data in zip(pools, opened)]
    made = {
        data.split: tile_dataset(
            data,
            cutting,
            border=border,
            keep_empty=keep_empty if data.split.startswith(LEARNED_FROM) else 1.0,
            seed=seed,
        )
        for data in sources
    }
    for before, (split, tiled) in zip(opened, made.items()):
        notes += [f"{split}: {note}" for note in [*before.notes, *tiled.dataset.notes]]

    def index(root: Path, parts: Sequence[Part]) -> None:
        by_split = {part.split: part for part in parts}
        splits_of = {data.split: SplitTiles.of(data, made[data.split], by_split[data.split]) for data in sources}
        TileIndex(os.fspath(source), splits_of).write(root)

    tiles: list[Dataset] = [tiled.dataset for tiled in made.values()]
    written = write_dataset(
        goal,
        tiles,
        handling,
        how=how or f"data tile {os.fspath(source)} {os.fspath(target)}",
        found=notes,
        workers=workers,
        watch=watch,
        also=index,
    )
    counts = {tile.split: tally(Pool.of(tile)) for tile in tiles}
    return Conversion(goal.folder, counts, written.splits, {}, written.notes)
