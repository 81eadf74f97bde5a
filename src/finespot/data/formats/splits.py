"""Splits that a layout keeps in folders or files of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from finespot.data.builder import no_split
from finespot.errors import FineSpotError

T = TypeVar("T")

WHOLE = "all"
_KNOWN = ("train", "val", "test")


def ordered(names: Iterable[str]) -> list[str]:
    """Names of splits: train, val and test first, then the others by name."""
    order = {name: position for position, name in enumerate(_KNOWN)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def find_split(splits: Mapping[str, T], split: str, place: object) -> T:
    """What a split's name stands for, or the error that names those that there are."""
    if split not in splits:
        raise no_split(split, list(splits), place)
    return splits[split]


def split_files(place: Path, suffix: str, leave_out: Sequence[str] = ()) -> dict[str, Path]:
    """The label files of a folder by split: several are one split each, a single one is `all`.

    They lie in the folder, or one in each of its sub-folders, whose names then count. A single file that is named as
    splits are (train..., val..., test...) keeps its name. `place` may be a file too.

    Raises
    ------
    FineSpotError
        There is no such file, or a sub-folder holds several.
    """
    if place.is_file():
        return {WHOLE: place}
    found = {os.path.splitext(name)[0]: place / name for name in files_in(place, suffix, leave_out)}
    if not found:
        for name in _entries(place):
            inner = files_in(place / name, suffix, leave_out) if os.path.isdir(place / name) else []
            if len(inner) > 1:
                raise FineSpotError(f"expected one {suffix} file but got {', '.join(inner[:5])}", where=place / name)
            if inner:
                found[name] = place / name / inner[0]
    if not found:
        raise FineSpotError(f"expected a folder with {suffix} files but there is none in it", where=place)
    return _named(found, next(iter(found.values())))


def split_folders(place: Path, suffix: str) -> dict[str, Path]:
    """The folders with label files by split: several sub-folders are one split each, else the place is `all`.

    A single sub-folder that is named as splits are (train..., val..., test...) keeps its name.

    Raises
    ------
    FineSpotError
        There is no label file.
    """
    if files_in(place, suffix):
        return {WHOLE: place}
    folders = [name for name in _entries(place) if os.path.isdir(place / name)]
    found = {name: place / name for name in folders if files_below(place / name, suffix)}
    if not found:
        raise FineSpotError(f"expected a folder with {suffix} files but there is none below it", where=place)
    return _named(found, place)


def files_in(folder: Path, suffix: str, leave_out: Sequence[str] = ()) -> list[str]:
    """Names of the files of a suffix in a folder, sorted; hidden ones are left out."""
    return [
        name
        for name in _entries(folder)
        if name.lower().endswith(suffix) and name not in leave_out and os.path.isfile(folder / name)
    ]


def files_below(folder: Path, suffix: str) -> list[Path]:
    """All files of a suffix below a folder, in bytewise order; hidden ones are left out."""
    found = [Path(place, name) for place, files in walk(folder) for name in files if name.lower().endswith(suffix)]
    return sorted(found, key=lambda path: os.fsencode(path.as_posix()))


def walk(folder: str | Path) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it with their files, each folder once; hidden ones are left out."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place, [name for name in files if not name.startswith(".")]


def _named(found: dict[str, Path], whole: Path) -> dict[str, Path]:
    only = next(iter(found)) if len(found) == 1 else WHOLE
    if only != WHOLE and not only.startswith(_KNOWN):
        return {WHOLE: whole}
    return {name: found[name] for name in ordered(found)}


def _entries(place: Path) -> list[str]:
    """Names of what lies in a folder, sorted; hidden ones are left out."""
    try:
        return sorted(name for name in os.listdir(place) if not name.startswith("."))
    except OSError as error:
        raise FineSpotError(f"expected the folder of a data set ({error.strerror})", where=place) from error
