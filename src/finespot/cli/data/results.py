"""`finespot data results`: write detections in the form that an official server or program reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.data import Dataset
    from finespot.structures import Detections

    Ids = list[int | str]

FORMATS = ("visdrone", "visdrone-vid", "uavdt", "tinyperson", "dota", "yolo", "coco")
# These are one file and name pictures by their id.
ONE_FILE = ("tinyperson", "coco")


def command(
    found: Annotated[Path, typer.Argument(help="a COCO results file, or a folder of YOLO files with scores")],
    out: Annotated[Path, typer.Argument(help="the folder to write to; for coco and tinyperson also a .json file")],
    kind: Annotated[str, typer.Option("--format", help=", ".join(FORMATS), rich_help_panel=options.RUN)],
    data: options.Data,
    split: Annotated[str, typer.Option("--split", help="split that was looked at", rich_help_panel=options.RUN)],
    whole: Annotated[
        str | None,
        typer.Option(
            "--whole",
            help="where pictures are windows: the split of the whole ones, for their ids",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes", help="car,van keeps these; car=Car renames; a=b,c merges", rich_help_panel=options.RUN
        ),
    ] = None,
    iou: Annotated[
        float,
        typer.Option(
            "--iou",
            min=0,
            max=1,
            help="overlap that removes a box where windows or classes join",
            rich_help_panel=options.RUN,
        ),
    ] = 0.7,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="write into a folder that is not empty", rich_help_panel=options.OUT)
    ] = False,
) -> None:
    """Write detections in the form that an official server or program reads."""
    from finespot.cli.terminal import console
    from finespot.data import open_dataset
    from finespot.data.builder import counted
    from finespot.data.convert.found import whole_pictures, with_classes
    from finespot.data.convert.rules import parse_rules
    from finespot.data.dataset import find_format
    from finespot.errors import FineSpotError, unknown

    if kind not in FORMATS:
        raise unknown("result format", kind, FORMATS, where="format")
    shown = console()
    target = _target(out, kind, overwrite, [found, find_format(data)[1]])
    dataset = open_dataset(data, split)
    detections, notes = read_found(found, dataset)
    ids: Ids = [dataset.image_id(i) for i in range(len(dataset))]
    if any(dataset.window(i) is not None for i in range(len(dataset))):
        detections = whole_pictures(dataset, detections, iou)
        notes.append(f"{len(dataset)} windows joined to {counted(len(detections), '1 picture', 'pictures')}")
        if whole is not None:
            ids = whole_ids(open_dataset(data, whole), detections)
        elif kind in ONE_FILE:
            raise FineSpotError("the pictures are windows, so their ids name none", where="whole", hint="give --whole")
    elif whole is not None:
        raise FineSpotError("it has no effect, because the pictures are whole", where="whole")
    if classes:
        rules = parse_rules(classes, dataset.classes.names, "class")
        detections = [with_classes(one, rules) for one in detections]
    written = write_results(kind, target, detections, ids, iou)
    for note in notes:
        shown.print(note)
    shown.print(f"{sum(map(len, detections)):,} detections of {len(detections):,} pictures")
    shown.print(f"wrote {written}")


def read_found(file: Path, dataset: Dataset) -> tuple[list[Detections], list[str]]:
    """The detections of each picture of a data set, and what to say.

    Pictures are named by the data set's own ids or, as `finespot predict` does, by the stem of their file.
    """
    import numpy as np

    from finespot.boxes import xywh_to_xyxy
    from finespot.data.convert.found import read_yolo_results, stems
    from finespot.metrics.reading.coco import read_results
    from finespot.structures import Detections

    if file.is_dir():
        return read_yolo_results(file, dataset), []
    ids: Ids = [dataset.image_id(i) for i in range(len(dataset))]
    known: dict[int | str, int] = {}
    known.update(stems(dataset))
    known.update((key, index) for index, key in enumerate(ids))
    columns = read_results(file, known, dataset.classes.original_ids, drop_unknown=True)
    picture = columns.image
    order = np.argsort(picture, kind="stable")
    edges = np.searchsorted(picture[order], np.arange(len(ids) + 1))
    boxes = xywh_to_xyxy(columns.boxes).astype(np.float32)
    detections = []
    for index in range(len(dataset)):
        rows = order[edges[index] : edges[index + 1]]
        scores, labels = columns.scores[rows].astype(np.float32), columns.label[rows]
        detections.append(
            Detections(boxes[rows], scores, labels, dataset.size(index), dataset.classes, dataset.path(index))
        )
    return detections, list(columns.notes)


def whole_ids(dataset: Dataset, detections: Sequence[Detections]) -> Ids:
    """The ids that a split of whole pictures gives to the files that were looked at."""
    from finespot.errors import FineSpotError

    known = {dataset.path(i): dataset.image_id(i) for i in range(len(dataset))}
    for one in detections:
        if one.source not in known:
            raise FineSpotError(f"the picture is not in the split '{dataset.split}'", where=one.source)
    return [known[one.source] for one in detections]


def write_results(kind: str, target: Path, detections: Sequence[Detections], ids: Ids, iou: float) -> Path:
    """Write in one of `FORMATS`."""
    from finespot import writers

    if kind == "coco":
        return writers.write_coco(target, detections, ids)
    if kind == "tinyperson":
        return writers.write_tinyperson(target, detections, ids, iou)
    if kind == "uavdt":
        return writers.write_uavdt(target, detections, iou)
    if kind == "yolo":
        writer = writers.YoloWriter()
        writer.open(target)
        for one in detections:
            writer.write(one)
        return writer.close()
    write = {
        "visdrone": writers.write_visdrone,
        "visdrone-vid": writers.write_visdrone_vid,
        "dota": writers.write_dota,
    }[kind]
    return write(target, detections)


def _target(out: Path, kind: str, overwrite: bool, inputs: Sequence[Path]) -> Path:
    """The file or folder to write, which must be new or empty."""
    from finespot.errors import FineSpotError

    if kind in ONE_FILE:
        file = out if out.suffix == ".json" else out / "results.json"
        options.check_outputs(file, overwrite=overwrite, inputs=inputs)
        return file
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise FineSpotError(
            "expected a new or empty folder but there is something already",
            where=out,
            hint="--overwrite writes over files of the same names",
        )
    return out
