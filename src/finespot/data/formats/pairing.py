"""Pairs of pictures and label files that share a stem."""

from __future__ import annotations

import os
from pathlib import Path

from finespot.data.builder import Builder, bytewise
from finespot.errors import FineSpotError
from finespot.images import find_images


def by_stem(folder: Path) -> dict[str, str]:
    """Absolute paths of the pictures below a folder by their stem, in bytewise order of the paths.

    Raises
    ------
    FineSpotError
        There is no such folder, or two pictures share a stem: their label files would be one.
    """
    found: dict[str, str] = {}
    for path in sorted((os.path.abspath(path) for path in find_images(folder)), key=bytewise):
        stem = os.path.splitext(os.path.basename(path))[0]
        if stem in found:
            raise FineSpotError(f"{path} has the same stem, so both would share a label file", where=found[stem])
        found[stem] = path
    return found


def refuse_orphans(labels: dict[str, Path], pictures: dict[str, str], folder: Path, builder: Builder) -> None:
    """Refuse a label file whose picture is missing: the picture was lost, or the label is named wrongly."""
    for stem in sorted(labels.keys() - pictures.keys()):
        with builder.guard():
            raise FineSpotError(
                f"the label file has no picture in {folder}",
                where=labels[stem],
                hint="add the picture or remove the label file",
            )
