"""COCO files, read into columns and checked record by record.

As in the official tool, classes are taken by rising id, `area` is taken from the file, and a flag `ignore` makes no
crowd. Detections of a category that the truth does not know are an error, unless they are to be dropped. Pictures stay
in the order of the file; protocols sort them by id. `msgspec` reads the typed records at once; what it or the checks
find wrong is reported with file and record number.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.tables import MARKS, ImageId, Results, Truth, dropped_note
from finespot.structures import Classes

T = TypeVar("T")
Box = tuple[float, float, float, float]
Flag = int | float | bool | None


class _Picture(msgspec.Struct, gc=False):
    id: ImageId
    file_name: str | None = None
    width: float | None = None
    height: float | None = None


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Object(msgspec.Struct, gc=False):
    id: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
    image_id: ImageId
    category_id: int
    bbox: Box
    area: float | None = None
    iscrowd: int | bool = 0
    ignore: Flag = 0
    uncertain: Flag = 0
    difficult: Flag = 0
    logo: Flag = 0


class _Found(msgspec.Struct, gc=False):
    image_id: ImageId
    category_id: int
    bbox: Box
    score: float


class _TruthFile(msgspec.Struct, gc=False):
    images: list[_Picture]
    categories: list[_Category]
    annotations: list[_Object]


class _ResultsFile(msgspec.Struct, gc=False):
    annotations: list[_Found]


def read_truth(path: Path, *, fix_id0: bool = False) -> Truth:
    """The truth of a COCO file.

    An annotation of id 0 counts as never found in most protocols (an oddity of the official tools), unless `fix_id0`
    numbers the annotations anew from 1.

    Raises
    ------
    FineSpotError
        The file cannot be read or a record is wrong; names the file and the record (counted from 0).
    """
    file = decode(path, _TruthFile, "COCO truth: images, categories, annotations")
    pictures = {one.id: one for one in file.images}
    if len(pictures) < len(file.images):
        doubled = next(key for key, count in Counter(one.id for one in file.images).items() if count > 1)
        raise FineSpotError(f"image id {doubled!r} occurs twice among the images", where=path)
    # In the order of the file, which TIDE settles ties by; the protocols sort by id themselves.
    image_ids = list(pictures)
    if len({type(key) for key in image_ids}) > 1:
        raise FineSpotError("expected image ids all of one type but got numbers and texts", where=path)
    classes = _classes(file.categories, path)
    records = file.annotations
    image = _positions([one.image_id for one in records], image_ids, path, "image_id", "image")
    label = _positions([one.category_id for one in records], classes.original_ids, path, "category_id", "category")
    ids = np.array([one.id for one in records], np.int64)
    _check(path, _first_double(ids), lambda k: f"id {ids[k]} occurs twice among the annotations")
    boxes = _boxes([one.bbox for one in records], path)
    area = np.array([np.nan if one.area is None else one.area for one in records], np.float64)
    _check(path, ~np.isnan(area) & ~(area >= 0), lambda k: f"expected an area of 0 or more but got {area[k]}")
    _check(path, np.isinf(area), lambda k: f"expected a finite area but got {area[k]}")
    missing = np.isnan(area)
    crowd = np.array([one.iscrowd for one in records], bool)
    marks = {name: np.array([bool(getattr(one, name)) for one in records], bool) for name in MARKS}
    flagged = int((marks["ignore"] & ~crowd).sum())
    notes = []
    if missing.any():
        notes.append(f"{missing.sum()} annotations have no area; that of their box is taken")
    if flagged:
        notes.append(
            f"{flagged} annotations are flagged ignore but not iscrowd; coco and ai-tod take them for ordinary objects"
        )
    return Truth(
        image_ids=tuple(image_ids),
        classes=classes,
        image=image,
        label=label,
        boxes=boxes,
        area=np.where(missing, boxes[:, 2] * boxes[:, 3], area),
        crowd=crowd,
        ids=np.arange(1, len(ids) + 1) if fix_id0 else ids,
        notes=tuple(notes),
        marks={name: flags for name, flags in marks.items() if flags.any()},
        sizes=_sizes([pictures[key] for key in image_ids], path),
        stems=_stems([pictures[key] for key in image_ids]),
    )


def read_results(
    path: Path, known: Mapping[ImageId, int], category_ids: Sequence[int], *, drop_unknown: bool = False
) -> Results:
    """The results of a list of records, or of a COCO file whose annotations have scores.

    `known` holds the positions of the truth's pictures by id, and by whatever else may name them. With
    `drop_unknown`, detections of a category that is not among `category_ids` are dropped, as by the official tool, and
    counted in `notes`. No detection at all is allowed (the official tool fails).

    Raises
    ------
    FineSpotError
        The file cannot be read or a record is wrong; names the file and the record (counted from 0).
    """
    file = decode(path, list[_Found] | _ResultsFile, "COCO results: a list of records")
    records = file if isinstance(file, list) else file.annotations
    image = _places([one.image_id for one in records], known, path, "image_id", "image")
    boxes = _boxes([one.bbox for one in records], path)
    scores = np.array([one.score for one in records], np.float64)
    _check(path, ~np.isfinite(scores), lambda k: f"expected a finite score but got {scores[k]}")
    position = {key: index for index, key in enumerate(category_ids)}
    named = [one.category_id for one in records]
    label = np.fromiter(map(position.get, named, repeat(-1)), np.int64, len(named))
    keep = label >= 0
    if not drop_unknown:
        _check(
            path,
            ~keep,
            lambda k: f"category_id {records[k].category_id} is not the id of any category of the truth",
            hint="drop-unknown leaves such detections out, as pycocotools does",
        )
    return Results(image[keep], label[keep], boxes[keep], scores[keep], dropped_note(int((~keep).sum())))


def _sizes(pictures: Sequence[_Picture], path: Path) -> NDArray[np.int64] | None:
    """(height, width) of the pictures, where the file has all of them."""
    if any(one.width is None or one.height is None for one in pictures):
        return None
    sizes = np.array([(one.height, one.width) for one in pictures], np.float64).reshape(-1, 2)
    wrong = ~((sizes > 0) & (sizes < 2**31)).all(axis=1)
    if wrong.any():
        one = pictures[int(np.argmax(wrong))]
        raise FineSpotError(
            f"image {one.id}: expected a width and height above 0 but got {one.width:g} and {one.height:g}", where=path
        )
    return sizes.astype(np.int64)


def _stems(pictures: Sequence[_Picture]) -> tuple[str, ...]:
    """The names of the picture files without folder and extension, where the file has all of them."""
    names = [one.file_name for one in pictures]
    return (
        tuple(PurePosixPath(name.replace("\\", "/")).stem for name in names if name is not None) if all(names) else ()
    )


def decode(path: Path, kind: Any, wanted: str) -> Any:
    """The records of a JSON file as msgspec reads them into `kind`; `wanted` says in messages what they should be.

    Raises
    ------
    FineSpotError
        The file cannot be read, or a record is wrong; names the record.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=path) from error
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong(error, path, wanted) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _decode_loosely(path, data, kind, wanted, error)


def _decode_loosely(path: Path, data: bytes, kind: Any, wanted: str, reason: Exception) -> Any:
    """Read what Python's own reader accepts beyond JSON (NaN, Infinity), so that the record can be named."""
    try:
        loose = json.loads(data)
    except (ValueError, RecursionError):
        raise FineSpotError(f"expected JSON but got something else ({reason})", where=path) from reason
    try:
        return msgspec.convert(loose, kind)
    except msgspec.ValidationError as error:
        raise _wrong(error, path, wanted) from error
    except UnicodeError as error:
        raise FineSpotError(f"expected JSON in UTF-8 but got something else ({error})", where=path) from error


def _wrong(error: msgspec.ValidationError, path: Path, wanted: str) -> FineSpotError:
    """msgspec's message with the record's number in words: 'record 3 of annotations, bbox: ...'."""
    message, _, place = str(error).partition(" - at `$")
    found = re.match(r"(?:\.(\w+))?\[(\d+)\](?:\.(\w+))?(.*)`", place)
    text = message[:1].lower() + message[1:]
    if not found:
        part = place.strip(".`") or "the top level"
        return FineSpotError(f"{text}, at {part}", where=path, hint=f"expected {wanted}")
    part, number, key, rest = found.groups()
    where = f"record {number}" + (f" of {part}" if part else "") + (f", {key}" if key else "") + rest
    return FineSpotError(f"{where}: {text}", where=path)


def _classes(categories: list[_Category], path: Path) -> Classes:
    table = {one.id: one.name for one in categories}
    doubled = sorted(key for key, count in Counter(one.id for one in categories).items() if count > 1)
    if doubled:
        raise FineSpotError(f"category id {doubled[0]} occurs twice", where=path)
    try:
        return Classes(tuple(table[key] for key in sorted(table)), tuple(sorted(table)))
    except FineSpotError as error:
        raise FineSpotError(error.what, where=path) from error


def _positions(keys: list[T], known: Sequence[Any], path: Path, key: str, what: str) -> NDArray[np.int64]:
    return _places(keys, {value: index for index, value in enumerate(known)}, path, key, what)


def _places(keys: list[T], place: Mapping[Any, int], path: Path, key: str, what: str) -> NDArray[np.int64]:
    found = np.fromiter(map(place.get, keys, repeat(-1)), np.int64, len(keys))
    _check(path, found < 0, lambda k: f"{key} {keys[k]!r} is not the id of any {what} of the truth")
    return found


def _boxes(rows: list[Box], path: Path) -> NDArray[np.float64]:
    boxes = np.fromiter(chain.from_iterable(rows), np.float64, count=4 * len(rows)).reshape(-1, 4)
    _check(path, ~np.isfinite(boxes).all(axis=1), lambda k: f"expected a finite bbox but got {boxes[k].tolist()}")
    _check(
        path,
        (boxes[:, 2:] < 0).any(axis=1),
        lambda k: f"expected a bbox [x, y, width, height] of no negative size but got {boxes[k].tolist()}",
    )
    with np.errstate(over="ignore"):
        huge = ~np.isfinite(boxes[:, 2] * boxes[:, 3]) | ~np.isfinite(boxes[:, :2] + boxes[:, 2:]).all(axis=1)
    _check(path, huge, lambda k: f"expected a bbox of finite area but got {boxes[k].tolist()}")
    return boxes


def _first_double(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    double = np.ones(len(ids), bool)
    double[np.unique(ids, return_index=True)[1]] = False
    return double


def _check(path: Path, wrong: Any, say: Callable[[int], str], hint: str | None = None) -> None:
    """Raise for the first wrong record."""
    if wrong.any():
        number = int(np.argmax(wrong))
        more = int(wrong.sum()) - 1
        also = f" (and {more} more records)" if more else ""
        raise FineSpotError(f"record {number}: {say(number)}{also}", where=path, hint=hint)
