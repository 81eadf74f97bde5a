"""Truth and detections from whatever files there are: the format is found from what lies there, or named in front.

`visdrone:DIR` reads DIR as VisDrone's files. Without a name in front, a JSON file is COCO, and a folder is told by the
names of its files and by the columns of the first row; where that fails, the name is asked for. `notes` of what is read
say which format it was, COCO apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from finespot.errors import FineSpotError, unknown
from finespot.metrics.reading import coco, dota, tinyperson, uavdt, visdrone, yolo
from finespot.metrics.reading.pictures import places
from finespot.metrics.reading.rows import read_text, text_files
from finespot.metrics.tables import Results, Truth

KINDS = ("coco", "visdrone", "uavdt", "dota", "yolo", "tinyperson")
# Folders of labels in a data set's folder; the first that is there is read.
_INNER = ("annotations", "GT", "labelTxt", "labels")


def read_truth(
    path: str | Path,
    kind: str | None = None,
    *,
    images: str | Path | None = None,
    names: Sequence[str] | None = None,
    fix_id0: bool = False,
) -> Truth:
    """Truth from a file or folder.

    Parameters
    ----------
    path:
        A COCO file, or a folder of text files; `kind:PATH` says what it is.
    kind:
        One of `KINDS`; found from what lies there where left out. TinyPerson's truth is a COCO file.
    images:
        For sizes: a folder with the pictures, or a JSON file of name -> [width, height] (VisDrone, YOLO; without it,
        folders beside the labels are looked at). For DOTA: a file with the names of the pictures that count.
    names:
        Class names (DOTA, YOLO), where they are not those of the format or of a file beside the labels.
    fix_id0:
        Number annotations anew from 1 (COCO, TinyPerson); see `coco.read_truth`.

    Raises
    ------
    FineSpotError
        A file cannot be read or a record is wrong (names the file and the record or line), the format is not known, or
        an option has no meaning in it.
    """
    kind, place = find_kind(path, kind)
    pictures = Path(images) if images is not None else None
    if kind in ("coco", "tinyperson"):
        _refuse(kind, images=images, names=names)
        return coco.read_truth(place, fix_id0=fix_id0)
    if fix_id0:
        raise FineSpotError(f"has no effect: {kind} files have no annotation ids", where="fix-id0")
    if kind == "visdrone":
        _refuse(kind, names=names)
        truth = visdrone.read_truth(_folder(place), images=pictures)
    elif kind == "uavdt":
        _refuse(kind, images=images, names=names)
        truth = uavdt.read_truth(_folder(place))
    elif kind == "dota":
        truth = dota.read_truth(_folder(place), images=pictures, classes=names)
    else:
        truth = yolo.read_truth(_folder(place), images=pictures, names=names)
    return replace(truth, notes=(f"truth read as {kind} files", *truth.notes))


def read_results(
    path: str | Path,
    truth: Truth,
    kind: str | None = None,
    *,
    images: str | Path | None = None,
    corners: str | Path | None = None,
    drop_unknown: bool = False,
) -> Results:
    """Detections of the truth's pictures from a file or folder.

    Pictures are named by the truth's ids or by the names of their files.

    Parameters
    ----------
    path, kind:
        As in `read_truth`: a COCO results file, or a folder of text files.
    images:
        For the sizes that YOLO files need, where the truth has none.
    corners:
        TinyPerson's corner file: the detections are those of its windows and are joined.
    drop_unknown:
        Leave out COCO results of categories that the truth does not have, and count them in the notes.

    Raises
    ------
    FineSpotError
        A file cannot be read or a record is wrong (names the file and the record or line), names a picture or class
        that the truth does not have, or the format is not known.
    """
    if kind is None and corners is not None and not split_kind(path)[0]:
        kind = "tinyperson"
    kind, place = find_kind(path, kind, truth)
    if corners is not None and kind != "tinyperson":
        raise FineSpotError(f"has no effect: {kind} files hold no windows", where="corners")
    if kind == "coco":
        known = places(truth)
        return coco.read_results(place, known, truth.classes.original_ids, drop_unknown=drop_unknown)
    if drop_unknown:
        raise FineSpotError(f"has no effect on {kind} detections", where="drop-unknown")
    if kind == "tinyperson":
        if corners is None:
            raise tinyperson.needs_corners(place)
        results = tinyperson.read_windows(place, Path(corners), truth)
    elif kind == "visdrone":
        results = visdrone.read_results(_folder(place), truth)
    elif kind == "uavdt":
        results = uavdt.read_results(_folder(place), truth)
    elif kind == "dota":
        results = dota.read_results(_folder(place), truth)
    else:
        results = yolo.read_results(_folder(place), truth, images=Path(images) if images is not None else None)
    return replace(results, notes=(f"detections read as {kind} files", *results.notes))


def find_kind(path: str | Path, kind: str | None = None, truth: Truth | None = None) -> tuple[str, Path]:
    """The format of a file or folder, and where it is without the name of the format in front.

    With `truth`, the files are detections of its pictures.

    Raises
    ------
    FineSpotError
        There is no such file, or nothing tells the format.
    """
    named, place = split_kind(path)
    if kind is not None and kind not in KINDS:
        raise unknown("format", kind, KINDS)
    if kind is not None and named and named != kind:
        raise FineSpotError(f"expected {kind} files but the path says {named}", where=path)
    if not place.exists():
        raise FineSpotError("cannot be read (No such file or directory)", where=place)
    if kind or named:
        return kind or named, place
    if not place.is_dir():
        return "coco", place
    found = _guess(_folder(place), truth)
    if found is None:
        raise FineSpotError(
            "nothing tells the format of the files",
            where=place,
            hint=f"say it, as in visdrone:{place}; there are {', '.join(KINDS)}",
        )
    return found, place


def split_kind(path: str | Path) -> tuple[str, Path]:
    """The format in front of a path ("" for none), and the path."""
    named, colon, rest = str(path).partition(":")
    return (named, Path(rest)) if colon and named in KINDS and rest else ("", Path(path))


def _folder(place: Path) -> Path:
    """The folder of text files: the place itself or, where it holds none, one with a usual name in it."""
    if place.is_dir() and not text_files(place):
        for name in _INNER:
            if (place / name).is_dir():
                return place / name
    return place


def _guess(folder: Path, truth: Truth | None) -> str | None:
    """The format of a folder of text files, from their names and the first row that is not blank."""
    files = [file for file in text_files(folder) if file.name != yolo.CLASS_LIST]
    if any(file.stem.endswith(uavdt.WHOLE) for file in files):
        return "uavdt"
    if any(file.name.startswith((dota.PREFIX, "Task1_")) for file in files):
        return "dota"
    if truth is not None and files and {file.stem for file in files} <= _sequences(truth):
        return "uavdt"
    for file in files:
        for line in read_text(file).splitlines():
            row = line.strip().rstrip(",").split(",")
            if row == [""]:
                continue
            if len(row) > 1:
                return "visdrone" if len(row) == 8 else None
            words = row[0].split()
            if words[0].partition(":")[0].lower() in dota.HEADERS:
                return "dota"
            if len(words) in (9, 10) and not _is_number(words[8]):
                return "dota"
            return "yolo" if len(words) >= 5 and all(map(_is_number, words)) else None
    return None


def _sequences(truth: Truth) -> set[str]:
    return {name for name, slash, _ in (str(key).rpartition("/") for key in truth.image_ids) if slash}


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _refuse(kind: str, **options: object) -> None:
    """Refuse options that have no meaning in a format."""
    for name, value in options.items():
        if value is not None:
            raise FineSpotError(f"has no effect on truth in {kind} files", where=name)
