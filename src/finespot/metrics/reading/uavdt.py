"""UAVDT-DET's text files, one of each kind a sequence.

Truth: `<sequence>_gt_whole.txt` and, where there are ignored areas, `<sequence>_gt_ignore.txt`, of the columns
`frame,target,left,top,width,height,out_of_view,occlusion,class`. Detections: `<sequence>.txt`,
`frame,-1,left,top,width,height,score` and whatever follows. A picture is called `M0203/000001`; frames count from 1 to
the number that the official program goes through, in other sequences to the last that the truth names. As there, rows
of later frames are left out; they are counted. Ignored areas become regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finespot.errors import FineSpotError, unknown
from finespot.metrics.reading.pictures import missing_note
from finespot.metrics.reading.rows import Rows, Whole, read_rows, text_files
from finespot.metrics.tables import Regions, Results, Truth
from finespot.structures import Classes
from finespot.writers import UAVDT_CLASSES, UAVDT_TEST

WHOLE, IGNORE = "_gt_whole", "_gt_ignore"
# Every frame up to the last is a picture, so a damaged number must not ask for millions of them.
_MOST_FRAMES = 1_000_000
_TRUTH_COLUMNS = "frame,target,left,top,width,height,out_of_view,occlusion,class"
_COLUMNS = "frame,-1,left,top,width,height,score, ..."


def read_truth(folder: Path) -> Truth:
    """The truth of a folder GT.

    Raises
    ------
    FineSpotError
        A file cannot be read or a row is wrong; names the file and the line.
    """
    files = {path.stem: path for path in text_files(folder)}
    names = sorted(stem.removesuffix(WHOLE) for stem in files if stem.endswith(WHOLE))
    if not names:
        raise FineSpotError(f"expected files <sequence>{WHOLE}.txt but there are none", where=folder)
    for stem in files:
        if stem.endswith(IGNORE) and stem.removesuffix(IGNORE) not in names:
            raise FineSpotError(f"expected a file {stem.removesuffix(IGNORE)}{WHOLE}.txt with it", where=files[stem])
    objects = {name: read_rows(files[name + WHOLE], ",", range(9, 10), _TRUTH_COLUMNS) for name in names}
    areas = {
        name: read_rows(files[name + IGNORE], ",", range(6, 10), _TRUTH_COLUMNS)
        for name in names
        if name + IGNORE in files
    }
    counts = {name: UAVDT_TEST.get(name) or _last(objects[name], areas.get(name)) for name in names}
    starts = _starts(counts)
    row, image, late = _frames(objects, starts, counts)
    region, area_image, late_areas = _frames(areas, starts, counts)
    category = row.whole(8, "class")
    row.refuse(
        (category < 1) | (category > len(UAVDT_CLASSES)),
        lambda k: f"expected a class from 1 to {len(UAVDT_CLASSES)} but got {category[k]}",
        "files for tracking have -1; detection needs gt_whole",
    )
    boxes = row.boxes(2)
    return Truth(
        image_ids=tuple(f"{name}/{frame:06}" for name in names for frame in range(1, counts[name] + 1)),
        classes=Classes(UAVDT_CLASSES, (1, 2, 3)),
        image=image,
        label=category - 1,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(len(row), bool),
        ids=np.arange(1, len(row) + 1),
        notes=_late_note(late + late_areas, "truth"),
        regions=Regions(area_image, region.boxes(2)),
    )


def read_results(folder: Path, truth: Truth) -> Results:
    """The detections of a folder; a sequence without a file, or with an empty one, has none.

    The official files know no class. The eighth column is taken for one (1 to 3) where all rows have it and it says
    more than one thing; else all detections are of the first class.

    Raises
    ------
    FineSpotError
        A file cannot be read, is that of no sequence, or a row is wrong; names the file and the line.
    """
    starts, counts = _sequences(truth, folder)
    parts = {}
    for file in text_files(folder):
        if file.stem not in starts:
            raise unknown("sequence", file.stem[:60], starts, where=file)
        parts[file.stem] = read_rows(file, ",", range(7, 1000), _COLUMNS)
    if not parts:
        raise FineSpotError(f"expected a text file a sequence ({_COLUMNS}) but there is none", where=folder)
    rows, image, late = _frames(parts, starts, counts)
    label = _labels(rows)
    label[label >= len(truth.classes)] = 0
    note = "the files do not tell classes apart: all detections are taken for " + truth.classes[0]
    return Results(
        image=image,
        label=label,
        boxes=rows.boxes(2),
        scores=rows.numbers(6, ["score"])[:, 0],
        notes=(
            *_late_note(late, "detections"),
            *missing_note([name for name in starts if name not in parts], "sequences"),
            *([note] if len(rows) and len(truth.classes) > 1 and not label.any() else []),
        ),
    )


def _last(objects: Rows, areas: Rows | None) -> int:
    """The last frame that the truth of a sequence names."""
    last = max(int(rows.whole(0, "frame").max(initial=1)) for rows in (objects, areas) if rows is not None)
    return min(last, _MOST_FRAMES)


def _starts(counts: Mapping[str, int]) -> dict[str, int]:
    """The position of each sequence's first picture."""
    ends = np.cumsum([0, *counts.values()])
    return dict(zip(counts, ends[:-1].tolist()))


def _sequences(truth: Truth, where: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Where the pictures of each sequence begin in the truth, and how many there are."""
    starts: dict[str, int] = {}
    counts: dict[str, int] = {}
    for index, key in enumerate(truth.image_ids):
        name, slash, frame = str(key).rpartition("/")
        if not slash or frame.removeprefix("img").lstrip("0") != str(index - starts.setdefault(name, index) + 1):
            raise FineSpotError(
                f"expected truth of pictures called sequence/frame but one is called {key}",
                where=where,
                hint="these detections need the files of UAVDT's GT, or a data set of theirs, as truth",
            )
        counts[name] = counts.get(name, 0) + 1
    return starts, counts


def _frames(parts: Mapping[str, Rows], starts: Mapping[str, int], counts: Mapping[str, int]) -> tuple[Rows, Whole, int]:
    """The rows of all sequences within their frames, the picture of each, and how many are of later frames."""
    rows = Rows.join(list(parts.values()))
    frame = rows.whole(0, "frame")
    rows.refuse(
        (frame < 1) | (frame > _MOST_FRAMES), lambda k: f"expected a frame from 1 to {_MOST_FRAMES} but got {frame[k]}"
    )
    lengths = [len(part) for part in parts.values()]
    start = np.repeat(np.array([starts[name] for name in parts], np.int64), lengths)
    keep = frame <= np.repeat(np.array([counts[name] for name in parts], np.int64), lengths)
    kept = np.flatnonzero(keep).tolist()
    chosen = Rows([rows.fields[k] for k in kept], [rows.files[k] for k in kept], [rows.lines[k] for k in kept])
    return chosen, (start + frame - 1)[keep], int((~keep).sum())


def _labels(rows: Rows) -> Whole:
    """Classes from the eighth column, where it tells some apart; else zeros."""
    texts = {row[7].strip() if len(row) > 7 else "" for row in rows.fields}
    if len(texts) > 1 and texts <= {str(number) for number in range(1, len(UAVDT_CLASSES) + 1)}:
        return rows.whole(7, "class") - 1
    return np.zeros(len(rows), np.int64)


def _late_note(count: int, what: str) -> tuple[str, ...]:
    return (f"{count} rows of {what} beyond a sequence's last frame were not read",) if count else ()
