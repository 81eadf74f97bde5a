"""VisDrone-DET's text files: `left,top,width,height,score,category,truncation,occlusion`, one file a picture.

Truth of category 0 is an ignore region without a class, a score of 0 makes an object ignored, and category 11,
'others', is no class of the ten: the official program never evaluates it, for every other protocol it is a region. In
results, detections of the categories 0 and 11 keep the label -1, because they take places under the official limit.
Rows keep the order of the file, which is that limit's order, and coordinates stay as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from finespot.errors import FineSpotError
from finespot.metrics.reading.pictures import missing_note, place_of, places, sizes_of
from finespot.metrics.reading.rows import Floats, Rows, Whole, read_rows, text_files
from finespot.metrics.tables import Regions, Results, Truth
from finespot.structures import Classes
from finespot.writers import VISDRONE_CLASSES

_COLUMNS = "left,top,width,height,score,category,truncation,occlusion"
_OTHERS = len(VISDRONE_CLASSES) + 1


def read_truth(folder: Path, *, images: Path | None = None) -> Truth:
    """The truth of a folder `annotations`; sizes from a folder `images` beside it, or from `images`.

    Raises
    ------
    FineSpotError
        A file or picture cannot be read or a row is wrong; names the file and the line.
    """
    files = _files(folder)
    rows, image = _joined(files, range(len(files)))
    boxes, score, category = rows.boxes(0), rows.whole(4, "score"), _categories(rows)
    rows.refuse(
        (score != 0) & (score != 1),
        lambda k: f"expected a score of 0 or 1 but got {score[k]}",
        "in truth it says whether a row counts; files of detections belong to --dt",
    )
    beside = folder.absolute().parent / "images"
    if images is None and beside.is_dir():
        images = beside
    stems = [file.stem for file in files]
    free, other = category == 0, category == _OTHERS
    keep = ~free & ~other
    return Truth(
        image_ids=tuple(stems),
        classes=Classes(VISDRONE_CLASSES, tuple(range(1, _OTHERS))),
        image=image[keep],
        label=category[keep] - 1,
        boxes=boxes[keep],
        area=boxes[keep, 2] * boxes[keep, 3],
        crowd=score[keep] == 0,
        ids=np.arange(1, int(keep.sum()) + 1),
        notes=() if images is not None or not free.any() else (_NO_SIZES,),
        regions=Regions(image[free], boxes[free]),
        others=Regions(image[other], boxes[other]),
        sizes=sizes_of(stems, images),
    )


_NO_SIZES = "the sizes of the pictures are not known: there is no folder images beside the annotations"


def read_results(folder: Path, truth: Truth) -> Results:
    """The detections of a folder; a picture without a file, or with an empty one, has none.

    Categories are compared with the truth's classes by their official names.

    Raises
    ------
    FineSpotError
        A file cannot be read, is that of no picture, or a row is wrong; names the file and the line.
    """
    label = np.full(_OTHERS + 1, -1)
    for number, name in enumerate(VISDRONE_CLASSES, 1):
        if name in truth.classes.names:
            label[number] = truth.classes.index(name)
    if (label < 0).all():
        raise FineSpotError(
            f"expected truth of VisDrone's classes but it has {', '.join(truth.classes.names[:5])}", where=folder
        )
    files, known = _files(folder), places(truth)
    at = [place_of(file.stem, known, file) for file in files]
    rows, image = _joined(files, at)
    # The files stand in the order of their names, which is not the truth's.
    return Results(
        image=image,
        label=label[_categories(rows)],
        boxes=rows.boxes(0),
        scores=_scores(rows),
        notes=missing_note(_without(truth, set(at)), "pictures"),
    )


def _files(folder: Path) -> list[Path]:
    files = text_files(folder)
    if not files:
        raise FineSpotError(f"expected a text file a picture ({_COLUMNS}) but there is none", where=folder)
    return files


def _joined(files: Sequence[Path], places: Sequence[int]) -> tuple[Rows, Whole]:
    """The rows of all files, and the picture of each row."""
    parts = [read_rows(file, ",", range(8, 9), _COLUMNS) for file in files]
    return Rows.join(parts), np.repeat(np.asarray(places, np.int64), [len(part) for part in parts])


def _categories(rows: Rows) -> Whole:
    category = rows.whole(5, "category")
    rows.refuse(
        (category < 0) | (category > _OTHERS),
        lambda k: f"expected a category from 0 to {_OTHERS} but got {category[k]}",
    )
    return category


def _scores(rows: Rows) -> Floats:
    scores: Floats = rows.numbers(4, ["score"])[:, 0]
    return scores


def _without(truth: Truth, found: set[int]) -> list[str]:
    return [str(key) for index, key in enumerate(truth.image_ids) if index not in found]
