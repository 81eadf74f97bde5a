"""`finespot predict`: find objects in pictures or video, draw them and write them to files."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.inference import Model, Outcome, Source
    from finespot.structures import Classes, Detections
    from finespot.writers import Writer

PROJECT = Path("runs/predict")


def command(
    weights: Annotated[str, typer.Argument(help="a weight file, or a name from `finespot models`")],
    source: Annotated[str, typer.Argument(help="a picture, folder, 'glob', .txt list of pictures, or video")],
    conf: Annotated[
        float | None,
        typer.Option("--conf", min=0, max=1, help="least score [weights' own, 0.25]", rich_help_panel=options.RUN),
    ] = None,
    iou: Annotated[
        float | None,
        typer.Option(
            "--iou", min=0, max=1, help="overlap that removes the weaker box [0.7]", rich_help_panel=options.RUN
        ),
    ] = None,
    max_det: Annotated[
        int | None,
        typer.Option("--max-det", min=1, help="most detections in a picture [300]", rich_help_panel=options.RUN),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="only these, comma-separated", rich_help_panel=options.RUN)
    ] = None,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    batch: options.BatchSize = 1,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="draw the pictures", rich_help_panel=options.OUT)
    ] = True,
    image_format: Annotated[str, typer.Option("--format", help="jpg or png", rich_help_panel=options.OUT)] = "jpg",
    line_width: Annotated[
        int | None, typer.Option("--line-width", min=1, help="of drawn boxes, in pixels", rich_help_panel=options.OUT)
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels/--no-labels", help="write class and score", rich_help_panel=options.OUT)
    ] = True,
    save_txt: Annotated[
        bool, typer.Option("--save-txt", help="YOLO text files too", rich_help_panel=options.OUT)
    ] = False,
    save_crops: Annotated[
        bool, typer.Option("--save-crops", help="each object as a picture too", rich_help_panel=options.OUT)
    ] = False,
    project: options.Project = None,
    name: options.Name = "run",
    overwrite: options.Overwrite = False,
) -> None:
    """Find objects in pictures or video; draws them and writes predictions.json into a new run folder."""
    from rich.console import Console

    from finespot.inference import load, open_source
    from finespot.writers import new_run

    console = Console(highlight=False, soft_wrap=True)
    model = load(weights, threads=threads, device=device, precision=precision)
    only = [part.strip() for part in classes.split(",")] if classes else None
    for wanted in only or []:
        model.classes.index(wanted)
    pictures = open_source(source)
    outcomes = model.outcomes(
        pictures,
        conf=conf,
        iou=iou,
        max_det=max_det,
        imgsz=imgsz,
        tiling=options.tiling(slice_size, overlap, model.card.tiling),
        batch=batch,
        pixels=images or save_crops,
    )
    for note in [model.session.reason, *model.notes]:
        console.print(note)
    # A named picture that cannot be read ends the run here, before there is a folder.
    first = next(outcomes, None)
    outcomes = outcomes if first is None else chain([first], outcomes)
    folder = new_run(project or PROJECT, name, overwrite)
    writers: list[Writer]
    if pictures.fps is not None:
        writers = [_recorder(Path(source).stem, pictures, images, line_width, labels)]
    else:
        writers = _picture_writers(images, image_format, line_width, labels)
    writers += _extra_writers(save_txt, save_crops)
    tally = Tally(model.classes)
    paths = write_all(_watch(outcomes, pictures, console), folder, writers, tally, only)
    _report(console, model, tally, paths)
    if tally.pictures == 0:
        raise typer.Exit(2)
    used = model.card.imgsz if imgsz is None else imgsz
    if slice_size is None and tally.largest > 1.5 * used:
        more = f"--slice {used}"
        console.print(f"pictures of {tally.largest} px were shrunk to {used}; tiles keep small objects as they are")
    else:
        more = "--save-txt --save-crops"
    console.print(f"next: {shlex.join([sys.argv[0], 'predict', weights, source])} {more}", markup=False)


class Tally:
    """Objects and pictures by class."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.pictures = self.largest = 0
        self.objects: Counter[int] = Counter()
        self.seen_in: Counter[int] = Counter()

    def add(self, found: Detections) -> None:
        """Count one picture."""
        self.pictures += 1
        self.largest = max(self.largest, *found.size)
        self.objects.update(found.labels.tolist())
        self.seen_in.update(set(found.labels.tolist()))

    def table(self) -> Any:
        """A rich table of the counts."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("class")
        table.add_column("objects", justify="right")
        table.add_column("pictures", justify="right")
        for label, name in enumerate(self.classes):
            table.add_row(name, str(self.objects[label]), str(self.seen_in[label]))
        table.add_row("all", str(self.objects.total()), str(self.pictures), style="bold")
        return table


def write_all(
    outcomes: Iterator[Outcome], folder: Path, writers: list[Writer], tally: Tally, only: list[str] | None
) -> list[Path]:
    """Give every picture that could be read to every writer; what was written stays when the run is interrupted."""
    from finespot.writers import Names

    names = Names()
    paths: list[Path] = []
    # Every writer is closed, also when another one fails.
    with ExitStack() as stack:
        for writer in writers:
            writer.open(folder, names)
            stack.callback(_close, writer, paths)
        for outcome in outcomes:
            if outcome.error is not None:
                continue
            found = outcome.detections if only is None else outcome.detections.filter(classes=only)
            tally.add(found)
            for writer in writers:
                writer.write(found, outcome.pixels)
    return paths


def _close(writer: Writer, paths: list[Path]) -> None:
    paths.insert(0, writer.close())


def _picture_writers(images: bool, image_format: str, line_width: int | None, labels: bool) -> list[Writer]:
    from finespot.writers import CocoWriter, DrawingWriter

    drawing: list[Writer] = [DrawingWriter(line_width, labels, image_format)] if images else []
    return [*drawing, CocoWriter()]


def _recorder(name: str, video: Source, images: bool, line_width: int | None, labels: bool) -> Writer:
    from finespot.inference import VideoRecorder

    return VideoRecorder(name, video.fps or 1.0, times=video.times, drawn=images, line_width=line_width, labels=labels)


def _extra_writers(save_txt: bool, save_crops: bool) -> list[Writer]:
    from finespot.writers import CropWriter, YoloWriter

    return [*([YoloWriter()] if save_txt else []), *([CropWriter()] if save_crops else [])]


def _watch(outcomes: Iterator[Outcome], pictures: Source, console: Console) -> Iterator[Outcome]:
    """Show progress in a terminal."""
    from finespot.cli.progress import bar

    with bar(console, "predict", pictures.count) as advance:
        for outcome in outcomes:
            yield outcome
            advance()


def _report(console: Console, model: Model, tally: Tally, paths: list[Path]) -> None:
    console.print(tally.table())
    for path in paths:
        console.print(f"wrote {path}", markup=False)
    if tally.pictures:
        console.print(model.timing.summary())
    for name, reason in model.skipped:
        console.print(f"skipped {name}: {reason}", markup=False)
