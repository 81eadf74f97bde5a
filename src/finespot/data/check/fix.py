"""A corrected copy of a data set: what can be repaired without guessing is, everything else stays and is said.

What the reader refused, clipped or left out is gone from the opened splits already. Here repeated boxes and copies of
pictures go. Of a picture that two splits have the later split keeps its own, so that a score on it stays comparable.
"""

from __future__ import annotations

import numpy as np

from finespot.data.check.kinds import LEAKS
from finespot.data.check.report import Report
from finespot.data.check.survey import Split
from finespot.data.convert import Handling, Target, Written, write_dataset
from finespot.data.convert.classes import unify
from finespot.data.convert.pool import Pool
from finespot.data.convert.write import Watch, refuse_overlap
from finespot.data.dataset import find_format
from finespot.errors import FineSpotError
from finespot.structures import Flags


def write_fixed(
    report: Report,
    target: Target,
    *,
    drop_leaks: bool = False,
    handling: Handling | None = None,
    watch: Watch | None = None,
) -> Written:
    """Write the corrected splits to a new folder; its notes say what was done and what was not.

    Parameters
    ----------
    drop_leaks:
        Leave pictures out of a later split that nearly equal, or are frames next to, one of an earlier split.
    handling, watch:
        See `finespot.data.convert.write_dataset`.

    Raises
    ------
    FineSpotError
        A split would lose all its pictures, or the folder cannot be written.
    """
    survey = report.survey
    refuse_overlap(target, find_format(survey.data)[1], [split.dataset for split in survey.splits])
    said = [f"{name} was not opened and is not in the copy" for name in survey.unreadable]
    pools, copies_stay = [], []
    for split in survey.splits:
        pool, stay = _corrected(split, drop_leaks)
        pools.append(pool)
        copies_stay += stay
    unified, notes = unify(pools)
    made = [pool.dataset(target.folder.name, split.name) for pool, split in zip(unified, survey.splits)]
    said += notes + _repairs(report, drop_leaks) + copies_stay
    how = f"data check {survey.data} --fix {target.spec}" + (" --drop-leaks" if drop_leaks else "")
    return write_dataset(target, made, handling, how=how, found=said, watch=watch)


def _corrected(split: Split, drop_leaks: bool) -> tuple[Pool, list[str]]:
    """The pictures and boxes of a split that stay, and what to say of those that had to."""
    listed = split.pictures
    gone = set(listed.get("truncated", ())) | (set(listed.get("copy", ())) - set(listed.get("contradiction", ())))
    said = []
    if drop_leaks:
        gone |= {index for kind in LEAKS for index in listed.get(kind, ())}
    copied = set(split.copied)
    if len(gone | copied) < len(split.dataset):
        gone |= copied
    elif copied:
        said.append(
            f"{split.name}: all its pictures are in a later split, too, and stay; `finespot data split` divides them"
        )
    kept = [index for index in range(len(split.dataset)) if index not in gone]
    if not kept:
        raise FineSpotError(
            f"every picture of '{split.name}' would be left out",
            where=split.dataset.name,
            hint="divide the pictures anew with `finespot data split`",
        )
    pool = Pool.of(split.dataset).select(kept)
    return pool.keep(_first_of_equal(pool)), said


def _first_of_equal(pool: Pool) -> Flags:
    """All annotations but those that repeat an earlier one of their picture."""
    rows = np.column_stack([pool.picture_of_rows(), pool.rows.labels, pool.rows.boxes])
    keep = np.zeros(len(rows), bool)
    if len(rows):
        keep[np.unique(rows, axis=0, return_index=True)[1]] = True
    return keep


def _repairs(report: Report, drop_leaks: bool) -> list[str]:
    """What was done about each kind of finding."""
    said = []
    for row in report.rows():
        done = row.kind.repair and (row.name not in LEAKS or drop_leaks)
        said.append(f"{row.name} ({row.count:,}): {row.kind.repair if done else 'left as it is'}")
    return said
