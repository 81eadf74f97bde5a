"""The check as a whole: all findings about a survey, gathered in a report."""

from __future__ import annotations

from dataclasses import dataclass

from finespot.data.check import copies
from finespot.data.check.inspection import Watch, inspect_all
from finespot.data.check.labels import check_labels
from finespot.data.check.names import check_frames, check_stems
from finespot.data.check.pictures import check_copies, check_files, check_groups, check_twins, first_split
from finespot.data.check.report import Report
from finespot.data.check.survey import Survey

# Pixels that are decoded without being asked for: on two cores a few minutes' work.
MOST_PIXELS = 20_000_000_000
FRAMES_APART = 5


@dataclass(frozen=True)
class Depth:
    """Whether pictures are decoded, and why."""

    decode: bool
    reason: str


def choose_depth(survey: Survey, decode: bool | None = None) -> Depth:
    """Decode where it is asked for, or where nothing is asked and there are no more than `MOST_PIXELS` to decode."""
    pixels = 0
    seen = [False] * len(survey.files)
    for split, index, number in survey.pictures():
        if not seen[number]:
            seen[number] = True
            height, width = split.dataset.size(index)
            pixels += height * width
    amount = f"{len(survey.files):,} pictures, {pixels / 1e9:.2g} gigapixels"
    if decode if decode is not None else pixels <= MOST_PIXELS:
        return Depth(True, f"pictures are decoded ({amount})")
    why = "as asked" if decode is False else f"more than {MOST_PIXELS / 1e9:.0f}; --decode does it"
    return Depth(False, f"pictures are not decoded ({amount}: {why}): no truncated or nearly equal ones are found")


def examine(
    survey: Survey,
    *,
    decode: bool | None = None,
    apart: int = FRAMES_APART,
    workers: int | None = None,
    watch: Watch | None = None,
) -> Report:
    """Find what is wrong in the splits of a survey.

    Parameters
    ----------
    decode:
        Decode all pictures: truncated ones, copies that were saved anew and nearly equal ones are found only so. By
        default where the set is not too large (`choose_depth`).
    apart:
        Frames of one video up to so many numbers apart are taken for neighbors; 0 looks for none.
    workers:
        Processes that look at picture files; by default as many as this one may use CPUs.
    watch:
        Wraps the picture files as they are looked at, to show progress.

    Raises
    ------
    FineSpotError
        A process that decodes was ended from outside.
    """
    depth = choose_depth(survey, decode)
    facts = inspect_all(survey.files, decode=depth.decode, workers=workers, watch=watch)
    first, home = copies.contents(survey.files, facts), first_split(survey)
    likeness = copies.Likeness(facts) if depth.decode else None
    _check_classes(survey)
    for split in survey.splits:
        check_labels(split)
    check_files(survey, facts)
    check_copies(survey, first)
    if likeness is not None:
        check_twins(survey, first, home, copies.near_twins(facts, first, home, likeness))
    check_groups(survey)
    check_stems(survey)
    notes = check_frames(survey, apart, likeness) if apart else []
    return Report(survey, depth.reason, notes)


def _check_classes(survey: Survey) -> None:
    """Class tables that differ from the first split's."""
    reference = survey.splits[0]
    for split in survey.splits[1:]:
        own, other = split.dataset.classes, reference.dataset.classes
        if (own.names, own.original_ids) != (other.names, other.original_ids):
            what = f"{_table(own.names, own.original_ids)} where {reference.name} has "
            split.findings.add("classes", what + _table(other.names, other.original_ids), survey.data)


def _table(names: tuple[str, ...], ids: tuple[int, ...]) -> str:
    return ", ".join(f"{number} {name}" for number, name in zip(ids, names))
