"""Pairs of pictures and label files that share a stem."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from finespot.data.builder import Builder, bytewise, counted
from finespot.errors import FineSpotError
from finespot.images import find_images

# More label files missing than this share, and the folder is more likely wrong than the pictures empty.
MAX_ABSENT = 0.9


def by_stem(folder: Path, builder: Builder) -> dict[str, str]:
    """Absolute paths of the pictures below a folder by their stem, in bytewise order of the paths.

    Of two pictures that share a stem, whose label files would be one, the second is refused.

    Raises
    ------
    FineSpotError
        There is no such folder.
    """
    found: dict[str, str] = {}
    for path in sorted((os.path.abspath(path) for path in find_images(folder)), key=bytewise):
        stem = os.path.splitext(os.path.basename(path))[0]
        with builder.guard():
            if stem in found:
                raise FineSpotError(f"{path} has the same stem, so both would share a label file", where=found[stem])
            found[stem] = path
    return found


def refuse_orphans(
    labels: Iterable[tuple[str, str | Path]], stems: Collection[str], folder: str | Path, builder: Builder
) -> None:
    """Refuse a label file whose picture is missing: the picture was lost, or the label is named wrongly.

    `labels` are stems with their files, `stems` those of the pictures in `folder`.
    """
    folded = {stem.casefold() for stem in stems}
    for stem, file in labels:
        if stem in stems:
            continue
        in_case = stem.casefold() in folded
        with builder.guard(kind="case" if in_case else "orphan"):
            if in_case:
                what = "the label file and its picture differ in upper and lower case"
                raise FineSpotError(what, where=file, hint="rename one of the two")
            raise FineSpotError(
                f"the label file has no picture in {folder}",
                where=file,
                hint="add the picture or remove the label file",
            )


def tell_absent(absent: Sequence[object], pictures: int, hint: str, builder: Builder) -> None:
    """Note how many of the pictures lack their label file (`absent` holds the paths); refuse it where nearly all do."""
    with builder.guard(kind="absent"):
        if len(absent) > MAX_ABSENT * pictures:
            raise FineSpotError(f"{len(absent)} of {pictures} label files do not exist", where=absent[0], hint=hint)
    if absent:
        text = counted(len(absent), "1 label file absent", "label files absent")
        builder.notes.append(f"{text} (read as background)")


def label_stems(names: Sequence[str], where: object) -> list[str]:
    """The stems of picture files that are to be written with a label file each; two equal ones are refused."""
    found: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in found:
            raise FineSpotError(f"{name} and {found[stem]} would share a label file", where=where)
        found[stem] = name
    return list(found)
