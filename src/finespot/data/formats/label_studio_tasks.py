"""The tasks of a Label Studio export, JSON or JSON-MIN, in one form: a picture's address with its annotations."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from finespot.data.builder import shown
from finespot.data.formats.coco_file import load_json
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS

Record = dict[str, Any]

# Keys of an item of JSON-MIN that somebody has worked on.
_ANNOTATED = frozenset(("annotation_id", "annotator", "lead_time"))
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")


@dataclass
class Task:
    """A picture's address with its candidate annotations: (time, whose, results) each, in the order of the file."""

    where: str
    address: str
    annotations: list[tuple[str, str, list[Record]]] = field(default_factory=list)

    def results(self, annotator: str) -> list[Record] | None:
        """The results of the latest annotation (of an annotator), None where there is none."""
        found = [one for one in self.annotations if not annotator or annotator in one[1].split()]
        if not found:
            return None
        latest = max(range(len(found)), key=lambda index: (found[index][0], index))
        return found[latest][2]


def read_tasks(file: Path) -> tuple[list[Task], list[FineSpotError]]:
    """The tasks of a file, and what is wrong with others."""
    content = load_json(file)
    if not isinstance(content, list):
        raise FineSpotError("expected a list of Label Studio tasks", where=file)
    tasks: dict[str, Task] = {}
    errors: list[FineSpotError] = []
    for count, record in enumerate(content, 1):
        found = _try_task(record, count, file)
        if isinstance(found, FineSpotError):
            errors.append(found)
        elif found.where not in tasks:
            tasks[found.where] = found
        elif found.address == tasks[found.where].address:  # JSON-MIN has an item for each annotation of a task
            tasks[found.where].annotations += found.annotations
        else:
            errors.append(FineSpotError("the id stands for two pictures", where=found.where))
    return list(tasks.values()), errors


def _try_task(record: Any, count: int, file: Path) -> Task | FineSpotError:
    where = f"{file}: task number {count}"
    try:
        if not isinstance(record, dict):
            raise FineSpotError(f"expected a task but got {shown(record)}", where=where)
        if isinstance(record.get("id"), (int, str)):
            where = f"{file}: task {shown(record['id'])}"
        return _full(record, where) if isinstance(record.get("data"), dict) else _minimal(record, where)
    except FineSpotError as error:
        return error


def _full(record: Record, where: str) -> Task:
    """A task of the JSON export; older ones call annotations completions."""
    annotations = record.get("annotations", record.get("completions", []))
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        raise FineSpotError(f"expected a list of annotations but got {shown(annotations)}", where=where)
    task = Task(where, _address(record["data"], where))
    for one in annotations:
        results = one.get("result", [])
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise FineSpotError(f"expected a list of results but got {shown(results)}", where=where)
        if not (one.get("was_cancelled") or one.get("skipped")):
            task.annotations.append((_time(one), _people(one.get("completed_by")), results))
    return task


def _minimal(record: Record, where: str) -> Task:
    """An item of the JSON-MIN export: the values of a control's results stand under its name."""
    values = [
        value
        for found in record.values()
        if isinstance(found, list)
        for value in found
        if isinstance(value, dict) and "original_width" in value
    ]
    task = Task(where, _address(record, where))
    if values or not _ANNOTATED.isdisjoint(record):
        results = [{**value, "value": value} for value in values]
        task.annotations.append((_time(record), _people(record.get("annotator")), results))
    return task


def _address(data: Record, where: str) -> str:
    """The address of a task's picture."""
    candidates = [data.get("image"), *data.values()]
    for one in candidates:
        if isinstance(one, str) and any(one.lower().split("?")[0].endswith(end) for end in EXTENSIONS):
            return one
    for one in candidates:
        if isinstance(one, str) and "/" in one:
            return one
    raise FineSpotError("expected the address of a picture", where=where)


def _time(record: Record) -> str:
    """When an annotation was made, in a form that sorts."""
    found = next((record[key] for key in ("updated_at", "created_at") if record.get(key)), "")
    return found if isinstance(found, str) else ""


def _people(value: Any) -> str:
    """Id and address of who made an annotation, with a blank between."""
    if isinstance(value, dict):
        return " ".join(str(value[key]) for key in ("id", "email") if isinstance(value.get(key), (int, str)))
    return str(value) if isinstance(value, (int, str)) else ""


def file_names(address: str) -> list[str]:
    """What the file of an address may be called, most likely first."""
    try:
        parts = urlsplit(address)
        asked = parse_qs(parts.query).get("d", [])
        path = asked[0] if asked else unquote(parts.path)
    except ValueError:
        path = address
    names = [one.replace("\\", "/").lstrip("/") for one in (path, address)]
    for name in list(names):
        head, slash, tail = name.rpartition("/")
        if _UPLOAD.match(tail):
            names.append(f"{head}{slash}{tail[9:]}")
    return list(dict.fromkeys(names))
