"""VisDrone-VID and -MOT, the videos of VisDrone: `visdrone-vid:FOLDER`.

The folder holds VisDrone2019-VID-train and so on (or -MOT-), or is one of them. A video is a folder of `sequences` with
pictures named by frame numbers, its truth `annotations/<video>.txt`. A line is `frame,target_id` and the eight columns
of VisDrone-DET; the rows stand in any order, mostly by target. The frames are those of the folder: one without rows
holds no object, which readers that go by the rows miss. Each video is a group. `others` is the option of `visdrone`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from finespot.data.builder import Builder, bytewise
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.options import choice
from finespot.data.formats.sequences import FrameRows, find_frames, rows_by_frame
from finespot.data.formats.splits import find_split
from finespot.data.formats.text import whole
from finespot.data.formats.visdrone import (
    OTHERS_CHOICES,
    add_row,
    class_list,
    release_folders,
    tell_others,
    truth_folder,
)
from finespot.errors import FineSpotError
from finespot.registry import register

_KINDS = ("VID", "MOT")
_FRAME = re.compile(r"(\d+)")
_COLUMNS = range(10, 11)


@register("format", "visdrone-vid")
class VisDroneVid:
    """A folder of numbered pictures and a text file a video."""

    def __init__(self, others: str = "ignore") -> None:
        self.others = choice("others", others, OTHERS_CHOICES)

    def splits(self, place: Path) -> list[str]:
        """The official splits that are there, in official order; `all` for a folder of another name."""
        return list(release_folders(place, _KINDS, "sequences"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        folder = find_split(release_folders(place, _KINDS, "sequences"), split, place)
        builder = Builder(place.resolve().name, split, class_list(self.others), findings)
        for video, file in _videos(folder, split, builder):
            with builder.guard(video):
                self._read(video, file, builder)
        tell_others(self.others, builder)
        return builder.build()

    def _read(self, video: Path, file: Path | None, builder: Builder) -> None:
        frames = find_frames(video, _FRAME, builder)
        rows: FrameRows = {} if file is None else rows_by_frame(file, _COLUMNS, frames, builder)
        for frame, picture in frames.items():
            with builder.guard(picture):
                stem = os.path.splitext(os.path.basename(picture))[0]
                builder.picture(picture, f"{video.name}/{stem}", group=video.name)
                for where, fields in rows.get(frame, ()):
                    with builder.guard(where):
                        target = whole(fields[1], "target id", where)
                        add_row(builder, fields[2:], self.others, where, {"target_id": target})


def _videos(folder: Path, split: str, builder: Builder) -> list[tuple[Path, Path | None]]:
    """The folder of each video with its truth (None: the split has none); one without the other is refused."""
    videos = sorted((path for path in (folder / "sequences").glob("*") if path.is_dir()), key=_key)
    if not videos:
        raise FineSpotError("expected a folder for each video but found none", where=folder / "sequences")
    truth = folder / "annotations"
    if not truth_folder(truth, split, builder):
        return [(video, None) for video in videos]
    names = {video.name for video in videos}
    for file in sorted(truth.glob("*.txt"), key=_key):
        with builder.guard():
            if file.stem not in names:
                raise FineSpotError(f"the annotation file has no video in {folder / 'sequences'}", where=file)
    found: list[tuple[Path, Path | None]] = []
    for video in videos:
        file = truth / f"{video.name}.txt"
        with builder.guard():
            if not file.is_file():
                raise FineSpotError("the video has no annotation file", where=video, hint=f"expected {file}")
            found.append((video, file))
    return found


def _key(path: Path) -> bytes:
    return bytewise(str(path))
