"""Write splits into a new folder: label files, pictures, and a record of how it was made; then read it back.

What other verbs use, too: they make data sets in memory (of windows, of other splits), and this writes them.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finespot.data.builder import counted
from finespot.data.convert.naming import file_names
from finespot.data.convert.placing import Handling, Job, fingerprint, jobs, place, place_all
from finespot.data.convert.pool import Pool
from finespot.data.convert.staging import RECORD, refuse_target, staging, sweep
from finespot.data.convert.tally import Tally, what_remains
from finespot.data.convert.verify import read_back
from finespot.data.dataset import Dataset, find_format
from finespot.data.formats.layout import Part, Writable
from finespot.errors import FineSpotError
from finespot.registry import lookup, names
from finespot.writers import write_atomic

# Wraps the pictures as they are placed, of which there are so many; shows progress.
Watch = Callable[[Iterable[bool], int], Iterable[bool]]


@dataclass(frozen=True)
class Target:
    """Where to write and in which layout."""

    spec: str
    layout: Any
    folder: Path
    overwrite: bool = False

    @property
    def name(self) -> str:
        """The layout's name as it was typed, without options."""
        return self.spec.partition(":")[0].partition(",")[0]


@dataclass(frozen=True)
class Written:
    """What was written: the folder, the counts of each split as read back from it, and what is to be said."""

    folder: Path
    splits: Mapping[str, Tally]
    notes: list[str] = field(default_factory=list)


def open_target(spec: str | os.PathLike[str], overwrite: bool = False) -> Target:
    """The target that `FORMAT:FOLDER` means.

    Raises
    ------
    FineSpotError
        The format is unknown or only reads, or the folder may not be written.
    """
    text = os.fspath(spec)
    layout, place = find_format(text)
    if not isinstance(layout, Writable):
        name = text.partition(":")[0].partition(",")[0]
        raise FineSpotError(
            f"the format '{name}' is read only", where=text, hint=f"FineSpot writes {', '.join(writable_formats())}"
        )
    if place.suffix.lower() in (".yaml", ".yml", ".json", ".xml", ".csv"):
        raise FineSpotError("expected a folder to write to but got a file name", where=text)
    folder = Path(os.path.abspath(place))
    refuse_target(folder, overwrite)
    return Target(text, layout, folder, overwrite)


def writable_formats() -> list[str]:
    """The names of the registered formats that write."""
    return [name for name in names("format") if hasattr(lookup("format", name), "write")]


def refuse_overlap(target: Target, source: Path, datasets: Sequence[Dataset]) -> None:
    """Refuse a target in the folders that a data set is read from, or above them: either would spoil the source.

    Raises
    ------
    FineSpotError
        It is.
    """
    goal, place = Path(os.path.realpath(target.folder)), Path(os.path.realpath(source))
    paths = [data.path(index) for data in datasets for index in range(len(data))]
    if not paths:
        return
    folders = {Path(os.path.realpath(folder)) for folder in {os.path.dirname(path) for path in paths}}
    common = Path(os.path.commonpath(list(folders)))
    if place.is_dir():
        folders.add(place)
    elif place.parent in common.parents:  # a YAML file may lie beside the new folder, its pictures' folder may not
        folders.add(common)
    originals = {Path(os.path.realpath(path)) for path in paths if os.path.islink(path)}
    for folder in sorted(folders):
        if goal == folder or folder in goal.parents:
            raise FineSpotError(
                f"expected a folder outside the data set that is read, but {folder} is part of it", where=target.folder
            )
    for file in sorted({place, *folders, *originals}):
        if goal in file.parents:
            raise FineSpotError(
                f"expected a folder that holds nothing that is read, but {file} is", where=target.folder
            )


def write_dataset(
    target: Target,
    datasets: Sequence[Dataset],
    handling: Handling | None = None,
    *,
    how: str,
    found: Sequence[str] = (),
    workers: int | None = None,
    watch: Watch | None = None,
    tell: Callable[[str], None] = lambda text: None,
    also: Callable[[Path, Sequence[Part]], None] | None = None,
) -> Written:
    """Write splits, which differ in name and share their classes, and read them back.

    Parameters
    ----------
    handling:
        What happens to the pictures; by default they are linked. Windows of files are cut out.
    how, found:
        The command that does this and what it has to say, for the record in the folder.
    workers:
        Threads that place pictures.
    watch:
        Wraps the placing of pictures to show progress.
    tell:
        Is told what is done now, where it may take long.
    also:
        Writes further files below the folder, which it is given with the splits and their pictures' names.

    Raises
    ------
    FineSpotError
        A split is empty, a picture cannot be read or placed, or what was written does not read back the same. What
        was done so far stays in a hidden folder beside the target, and the same call goes on from there.
    """
    handling = handling or Handling()
    layout: Writable = target.layout
    full, left, lost = _held(target, datasets, handling)
    notes = [*found, *lost]
    sources = [pool.dataset(target.folder.name, data.split) for pool, data in zip(full, datasets)]
    listed, renamed = file_names(layout, sources, [_reencoded(pool, handling) for pool in full])
    parts = [
        Part(data.split, pool.dataset(target.folder.name, data.split), names_of)
        for pool, data, names_of in zip(left, datasets, listed)
    ]
    targets = [[layout.picture(part.split, name) for name in part.names] for part in parts]
    notes += _twice(sources)

    def work() -> Iterator[Job]:
        return (job for data, paths in zip(sources, targets) for job in jobs(data, paths, handling))

    with staging(target.folder, fingerprint(work()), target.overwrite) as root:
        kept = sweep(root, {path for paths in targets for path in paths})
        first = {part.split: next(jobs(one, paths, handling)) for part, one, paths in zip(parts, sources, targets)}
        try:
            tell("writing labels")
            layout.write(root, parts)
            if also is not None:
                also(root, parts)
            _refuse_lost_splits(target, root, first)
        except FineSpotError:
            if not kept:  # then there is nothing to go on with
                shutil.rmtree(root, ignore_errors=True)
            raise
        placed = place_all(work(), root, workers)
        turned = sum(watch(placed, sum(map(len, targets))) if watch else placed)
        counts = {}
        for part, pool, paths in zip(parts, left, targets):
            tell(f"reading {part.split} back")
            counts[part.split], more = read_back(target.layout, root, part.split, pool, paths, layout.keeps)
            notes += [f"{part.split}: {note}" for note in more]
        notes += _turned(turned) + _renamed(renamed)
        write_atomic(root / RECORD, record(how, counts, notes, renamed))
    return Written(target.folder, counts, notes)


def record(how: str, counts: Mapping[str, Tally], notes: Sequence[str], renamed: Mapping[str, str]) -> str:
    """The text of the file that says how a data set was made."""
    from finespot import __version__

    classes = list(dict.fromkeys(name for one in counts.values() for name in one.objects))
    lines = ["# How this data set was made", "", f"FineSpot {__version__}: `{how}`", ""]
    lines += ["| | " + " | ".join(counts) + " |", "| --- |" + " ---: |" * len(counts)]
    rows: list[tuple[str, list[int]]] = [("pictures", [one.pictures for one in counts.values()])]
    rows += [(name, [one.objects.get(name, 0) for one in counts.values()]) for name in classes]
    rows += [("ignored objects", [one.ignored for one in counts.values()])]
    rows += [("ignore regions", [one.regions for one in counts.values()])]
    lines += [f"| {name} | " + " | ".join(map(str, values)) + " |" for name, values in rows]
    lines += ["", *(f"* {note}" for note in notes)]
    if renamed:
        lines += ["", "## New names", "", *(f"* `{new}`: {old}" for new, old in renamed.items())]
    return "\n".join(lines) + "\n"


def _held(target: Target, datasets: Sequence[Dataset], handling: Handling) -> tuple[list[Pool], list[Pool], list[str]]:
    """Per split all its truth, and what of it the layout holds; and what is lost, in words."""
    full, left, notes = [], [], []
    for data in datasets:
        pool, held, more = what_remains(Pool.of(data), target.layout.keeps, handling, target.name)
        if not len(pool):
            raise FineSpotError(f"expected pictures in the split '{data.split}' but got none", where=target.spec)
        full.append(pool)
        left.append(held)
        notes += [f"{data.split}: {note}" for note in more]
    return full, left, notes


def _refuse_lost_splits(target: Target, root: Path, splits: Mapping[str, Job]) -> None:
    """Refuse split names that a layout cannot hold, before all pictures are placed: one of each split is enough.

    Raises
    ------
    FineSpotError
        There is one.
    """
    for job in splits.values():
        place(job, root)
    try:
        there = target.layout.splits(root)
    except FineSpotError:
        there = []
    lost = [split for split in splits if split not in there]
    if lost:
        raise FineSpotError(
            f"the format '{target.name}' has no place for a split called '{lost[0]}'",
            where=target.spec,
            hint=f"give it another name, such as --splits train={lost[0]}",
        )


def _reencoded(pool: Pool, handling: Handling) -> list[bool]:
    """Which pictures get new pixels: windows of files, and those that are painted."""
    painted = pool.picture_of_rows()[handling.paints(pool.rows.labels, pool.rows.ignore)]
    return [
        window is not None or count > 0
        for window, count in zip(pool.windows, np.bincount(painted, minlength=len(pool)))
    ]


def _twice(datasets: Sequence[Dataset]) -> list[str]:
    """What to say of pictures that several splits have."""
    seen = Counter(
        (os.path.realpath(data.path(index)), data.window(index)) for data in datasets for index in range(len(data))
    )
    count = sum(times > 1 for times in seen.values())
    return [f"{counted(count, '1 picture stands', 'pictures stand')} in more than one split"] if count else []


def _turned(count: int) -> list[str]:
    if not count:
        return []
    pictures = counted(count, "1 picture has", "pictures have")
    return [f"{pictures} an EXIF orientation; labels refer to the upright picture, other programs may show it turned"]


def _renamed(names_of: Mapping[str, str]) -> list[str]:
    if not names_of:
        return []
    new, old = next(iter(names_of.items()))
    pictures = counted(len(names_of), "1 picture has a new name", "pictures have new names")
    return [f"{pictures}, as two would have been equal ({old} is {new}); {RECORD} lists them"]
