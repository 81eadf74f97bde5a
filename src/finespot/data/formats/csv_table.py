"""Tables with a box a row: `csv:FOLDER` with train.csv, val.csv ..., or `csv:x.csv`, and the pictures below the folder.

Two forms: with a header (DeepForest: image_path, xmin, ymin, xmax, ymax, label; also filename, class and x1 to y2), or
without one and with exactly these six columns (keras-retinanet). Corners count from 0, the right and lower edge
outside. A row without coordinates, or with zeros alone, is a picture without objects. Several files are one split
each, else it is `all`. Classes are those of all files by name, or in the order of `classes.csv` (rows `name,id`).

Written is the form with a header, which needs zeros for pictures without objects, or with `header=false` the other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from finespot.data.builder import Builder, bytewise
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.class_lists import class_list_text
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.named_pictures import NamedPictures, image_ids
from finespot.data.formats.options import switch
from finespot.data.formats.splits import find_split, split_files
from finespot.data.formats.text import plain, read_text, real, whole
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers.atomic import write_atomic

_COLUMNS = ("image_path", "xmin", "ymin", "xmax", "ymax", "label")
_ALIASES: Mapping[str, Sequence[str]] = {
    "image_path": ("image_path", "filename", "image", "path"),
    **{name: (name, short) for name, short in zip(_COLUMNS[1:5], ("x1", "y1", "x2", "y2"))},
    "label": ("label", "class", "class_name", "name"),
}
_CLASSES = "classes.csv"


@dataclass(frozen=True)
class _Row:
    """A box of a picture, or the picture alone."""

    where: str
    picture: str
    corners: Corners | None
    label: str


@dataclass
class _Table:
    rows: list[_Row] = field(default_factory=list)
    errors: list[FineSpotError] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@register("format", "csv")
class CsvTable:
    """A folder with a table a split."""

    keeps: ClassVar[Keeps] = Keeps()

    def __init__(self, header: str = "true") -> None:
        self._header = switch("header", header)

    def splits(self, place: Path) -> list[str]:
        """The tables, or `all`."""
        return list(split_files(place, ".csv", (_CLASSES,)))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        files = split_files(place, ".csv", (_CLASSES,))
        file = find_split(files, split, place)
        tables = {one: _read(one) for one in files.values()}
        errors = [error for table in tables.values() for error in table.errors]
        if errors and findings is None:
            raise errors[0]
        names = _class_names(tables.values(), file.parent / _CLASSES, place)
        builder = Builder(place.resolve().name, split, Classes(names), findings)
        for error in tables[file].errors:
            with builder.guard():
                raise error
        if unread := tables[file].unread:
            builder.notes.append(f"columns that are not read: {', '.join(unread)[:100]}")
        folder = file.parent
        _add(tables[file].rows, (folder, folder / "images", folder / "images" / split, folder / split), builder)
        return builder.build()

    def picture(self, split: str, name: str) -> str:
        """`images/<split>/<name>`."""
        return f"images/{split}/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write <split>.csv and classes.csv."""
        names = parts[0].dataset.classes.names
        class_list_text(names, root)
        write_atomic(root / _CLASSES, _csv_text((name, str(label)) for label, name in enumerate(names)))
        for part in parts:
            if part.split == Path(_CLASSES).stem:
                raise FineSpotError(f"a split cannot be named {part.split}, which is the file of the classes")
            write_atomic(root / f"{part.split}.csv", _csv_text(self._rows(part)))

    def _rows(self, part: Part) -> Iterator[Sequence[str]]:
        classes = part.dataset.classes
        if self._header:
            yield _COLUMNS
        for index, name in enumerate(part.names):
            path = self.picture(part.split, name)
            boxes, labels, ignore = part.dataset.columns(index)
            if ignore.all():  # also where there is no box
                yield (path, *("0" * 4), classes[0]) if self._header else (path, *[""] * 5)
            for box, label in zip(boxes[~ignore].tolist(), labels[~ignore].tolist()):
                yield path, *map(plain, box), classes[label]


def _add(rows: Iterable[_Row], folders: Sequence[Path], builder: Builder) -> None:
    """Add the pictures with their boxes."""
    pictures = NamedPictures(folders[0], builder)
    by_name: dict[str, list[_Row]] = {}
    for row in rows:
        by_name.setdefault(row.picture, []).append(row)
    found: dict[str, list[_Row]] = {}
    for name, members in by_name.items():
        if path := pictures.find((name,), folders, members[0].where):
            found[path] = members
    pictures.note()
    labels = {name: label for label, name in enumerate(builder.classes)}
    paths = sorted(found, key=bytewise)
    for path, image_id in zip(paths, image_ids(paths)):
        with builder.guard(path):
            builder.picture(path, image_id)
            for row in found[path]:
                if row.corners is not None:
                    with builder.guard(row.where):
                        if row.label not in labels:
                            raise FineSpotError(f"the class {row.label!r} is not in {_CLASSES}", where=row.where)
                        builder.box(row.corners, labels[row.label], where=row.where)


def _class_names(tables: Iterable[_Table], listed: Path, place: Path) -> tuple[str, ...]:
    if not listed.is_file():
        names = sorted({row.label for table in tables for row in table.rows if row.corners is not None})
        if not names:
            raise FineSpotError("expected boxes with labels but there are none", where=place)
        return tuple(names)
    by_id: dict[int, str] = {}
    for where, fields in _fields(listed):
        if len(fields) != 2 or not fields[0].strip():
            raise FineSpotError("expected a row 'name,id'", where=where)
        number = whole(fields[1], "id", where)
        if number in by_id or fields[0].strip() in by_id.values():
            raise FineSpotError(f"expected each name and id once but got {','.join(fields)[:60]}", where=where)
        by_id[number] = fields[0].strip()
    if sorted(by_id) != list(range(len(by_id))) or not by_id:
        raise FineSpotError(f"expected the ids 0 to {max(len(by_id) - 1, 0)}", where=listed)
    return tuple(by_id[number] for number in range(len(by_id)))


def _read(file: Path) -> _Table:
    """The rows of a table, with what is wrong with others."""
    table = _Table()
    columns: dict[str, int] | None = None
    try:
        for count, (where, fields) in enumerate(_fields(file)):
            if count == 0:
                columns, table.unread = _columns(fields, where)
                if columns is not None:
                    continue
            row = _try_row(fields, columns, where)
            if isinstance(row, FineSpotError):
                table.errors.append(row)
            else:
                table.rows.append(row)
    except FineSpotError as error:
        table.errors.append(error)
    return table


def _fields(file: Path) -> Iterator[tuple[str, list[str]]]:
    """(`file:line`, fields) of each row that is not blank."""
    reader = csv.reader(io.StringIO(read_text(file)), strict=True)
    try:
        for fields in reader:
            if any(one.strip() for one in fields):
                yield f"{file}:{reader.line_num}", fields
    except csv.Error as error:
        raise FineSpotError(f"the table cannot be read ({error})", where=f"{file}:{reader.line_num}") from error


def _columns(fields: Sequence[str], where: str) -> tuple[dict[str, int] | None, list[str]]:
    """The position of each column by its name in a header, None where the first row is none; names not read."""
    names = [one.strip().lower() for one in fields]
    found = {
        column: [names.index(alias) for alias in aliases if alias in names] for column, aliases in _ALIASES.items()
    }
    if not all(found[column] for column in _COLUMNS[1:5]):
        return None, []
    missing = [column for column, places in found.items() if not places]
    if missing:
        raise FineSpotError(
            f"expected a column {missing[0]} in the header but got {', '.join(names)[:60]}", where=where
        )
    columns = {column: places[0] for column, places in found.items()}
    if any(names.count(names[position]) > 1 for position in columns.values()):
        raise FineSpotError("expected each column once in the header", where=where)
    return columns, [name for position, name in enumerate(names) if position not in columns.values()]


def _try_row(fields: Sequence[str], columns: Mapping[str, int] | None, where: str) -> _Row | FineSpotError:
    try:
        return _row(fields, columns, where)
    except FineSpotError as error:
        return error


def _row(fields: Sequence[str], columns: Mapping[str, int] | None, where: str) -> _Row:
    if columns is None and len(fields) != len(_COLUMNS):
        hint = "separate the columns with commas" if len(fields) == 1 else None
        raise FineSpotError(
            f"expected a header or the 6 columns {','.join(_COLUMNS)} but got {len(fields)}", where=where, hint=hint
        )
    places = columns or {column: position for position, column in enumerate(_COLUMNS)}
    if len(fields) <= max(places.values()):
        raise FineSpotError(f"expected {max(places.values()) + 1} columns or more but got {len(fields)}", where=where)
    name, *corners, label = (fields[places[column]] for column in _COLUMNS)
    if not name.strip():
        raise FineSpotError("expected the path of a picture", where=where)
    if not any(text.strip() for text in corners):
        return _Row(where, name, None, "")
    x1, y1, x2, y2 = (real(text, column, where) for text, column in zip(corners, _COLUMNS[1:5]))
    if x1 == y1 == x2 == y2 == 0:
        return _Row(where, name, None, "")
    if x2 < x1 or y2 < y1:
        raise FineSpotError(f"expected xmin <= xmax and ymin <= ymax but got {','.join(corners)[:60]}", where=where)
    if not label.strip():
        raise FineSpotError("expected a label", where=where)
    return _Row(where, name, (x1, y1, x2, y2), label.strip())


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
