"""Which pictures a truth has: found by id or by the name of their file, with sizes from headers or from a list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, nearest
from finespot.metrics.reading.rows import read_text
from finespot.metrics.tables import ImageId, Truth

Rows = NDArray[np.int64]


def places(truth: Truth) -> dict[ImageId, int]:
    """The position of each picture by its id and, where no other has the same, by the stem of its file name."""
    found: dict[ImageId, int] = {}
    doubled = set()
    for index, stem in enumerate(truth.stems):
        if found.setdefault(stem, index) != index:
            doubled.add(stem)
    for stem in doubled:
        del found[stem]
    return {**found, **{key: index for index, key in enumerate(truth.image_ids)}}


def place_of(name: str, known: Mapping[ImageId, int], where: object) -> int:
    """The position of a picture that a file or a row names.

    Raises
    ------
    FineSpotError
        The truth has no such picture.
    """
    if name not in known and name.isascii() and name.isdigit() and int(name) in known:
        return known[int(name)]
    if name not in known:
        close = ", ".join(nearest(name, map(str, known)))
        raise FineSpotError(
            f"the truth has no picture '{name[:60]}'", where=where, hint=f"it has {close}, ..." if close else None
        )
    return known[name]


def listed_sizes(file: Path) -> dict[str, tuple[int, int]]:
    """(height, width) by picture name from a JSON object of name -> [width, height].

    Raises
    ------
    FineSpotError
        The file holds something else.
    """
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise FineSpotError(f"expected JSON but got something else ({error})", where=file) from error
    if not isinstance(content, dict):
        raise FineSpotError("expected an object of picture name -> [width, height]", where=file)
    sizes = {}
    for name, size in content.items():
        if not _is_size(size):
            raise FineSpotError(f"expected [width, height] in whole pixels of '{name[:60]}'", where=file)
        sizes[_stem(name)] = (size[1], size[0])
    return sizes


def _is_size(size: object) -> bool:
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2**31 for side in size)
    )


def sizes_of(stems: Sequence[str], images: Path | None) -> Rows | None:
    """(height, width) of pictures by the stems of their names: (P, 2); None where `images` is None.

    `images` is a folder with the pictures, of which only headers are read, or a JSON file of name -> [width, height].

    Raises
    ------
    FineSpotError
        A picture is not there or cannot be read.
    """
    if images is None:
        return None
    if images.is_dir():
        files = picture_files(images)
        from finespot.images import open_image

        _refuse_missing([stem for stem in stems if stem not in files], len(stems), images)
        sizes = [open_image(files[stem]).size for stem in stems]
    else:
        listed = listed_sizes(images)
        _refuse_missing([stem for stem in stems if stem not in listed], len(stems), images)
        sizes = [listed[stem] for stem in stems]
    return np.array(sizes, np.int64).reshape(-1, 2)


def picture_files(folder: Path) -> dict[str, Path]:
    """The pictures of a folder (not below it) by the stem of their names.

    Raises
    ------
    FineSpotError
        Two pictures have one stem.
    """
    from finespot.images import EXTENSIONS

    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in EXTENSIONS or file.name.startswith("."):
            continue
        if file.stem in found:
            raise FineSpotError(f"{file.name} has the same name but for its extension", where=found[file.stem])
        found[file.stem] = file
    return found


def _refuse_missing(missing: Sequence[str], count: int, images: Path) -> None:
    if missing:
        also = f" ({len(missing)} of {count} are missing)" if len(missing) > 1 else ""
        raise FineSpotError(f"expected the picture '{missing[0]}' but it is not there{also}", where=images)


def missing_note(missing: Iterable[str], what: str) -> tuple[str, ...]:
    """What to say of files of detections that are not there."""
    names = list(missing)
    if not names:
        return ()
    return (f"{len(names)} {what} without a file of detections ({names[0]}): nothing was found there",)


def _stem(name: str) -> str:
    """`a` of `a.jpg`, and `a.b` of itself: only what is no part of a name is cut."""
    from finespot.images import EXTENSIONS

    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in EXTENSIONS else name
