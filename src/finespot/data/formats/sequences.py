"""Videos as folders of numbered pictures, with the rows of all their frames in one text file."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from pathlib import Path

from finespot.data.builder import Builder, bytewise, counted
from finespot.data.formats.text import lines, whole
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS

# Of each frame, the rows as (where, fields).
FrameRows = dict[int, list[tuple[str, list[str]]]]


def find_frames(folder: Path, stem: re.Pattern[str], builder: Builder) -> dict[int, str]:
    """Absolute paths of a video's pictures by frame number, in bytewise order.

    `stem` matches the stem of a frame, with its number as first group; other pictures, such as painted copies beside
    the frames, are left out and told.

    Raises
    ------
    FineSpotError
        The folder cannot be read, holds no frame, or holds two of one number.
    """
    found: dict[int, str] = {}
    others = 0
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise FineSpotError(f"expected the frames of a video ({error.strerror})", where=folder) from error
    for name in sorted(names, key=bytewise):
        start, extension = os.path.splitext(name)
        if extension.lower() not in EXTENSIONS or name.startswith("."):
            continue
        match = stem.fullmatch(start)
        if match is None:
            others += 1
            continue
        frame, path = int(match[1]), os.path.abspath(folder / name)
        if frame in found:
            raise FineSpotError(f"{name} has the same frame number {frame}", where=found[frame])
        found[frame] = path
    if not found:
        raise FineSpotError("expected pictures of frames but found none", where=folder)
    if others:
        text = counted(
            others, "1 picture is not named like a frame and was", "pictures are not named like frames and were"
        )
        builder.notes.append(f"{folder.name}: {text} left out")
    return found


def rows_by_frame(file: Path, columns: range, frames: Container[int], builder: Builder) -> FrameRows:
    """The rows of a comma-separated file by the frame number in their first column, in whatever order they stand.

    A row with another number of columns, or of a frame without picture, is refused.
    """
    found: FrameRows = {}
    for where, line in lines(file):
        with builder.guard(where):
            fields = line.split(",")
            if len(fields) not in columns:
                expected = f"{columns[0]}" if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
                raise FineSpotError(
                    f"expected {expected} values with commas between but got {len(fields)}", where=where
                )
            frame = whole(fields[0], "frame", where)
            if frame not in frames:
                raise FineSpotError(f"the frame {frame} has no picture", where=where)
            found.setdefault(frame, []).append((where, fields))
    return found
