"""`finespot predict`: find objects in pictures or video, draw and explain them and write them to files."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import heat_maps, options, raster_options, rasters, tile_choice
from finespot.cli.window_views import Choices, TileViews, WindowViews, choose_windows
from finespot.cli.words import typed

if TYPE_CHECKING:
    from rich.console import Console

    from finespot.inference import Model, Outcome, Source
    from finespot.structures import Classes, Detections
    from finespot.writers import Writer

PROJECT = Path("runs/predict")


def command(
    weights: Annotated[str, typer.Argument(help="a weight file, or a name from `finespot models`")],
    source: Annotated[str, typer.Argument(help="a picture, folder, 'glob', .txt list of pictures, video or raster")],
    conf: options.Conf = None,
    iou: options.Iou = None,
    nms: options.Nms = None,
    max_det: options.MaxDet = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="only these (names or labels), comma-separated", rich_help_panel=options.RUN),
    ] = None,
    own_parts: options.OwnParts = False,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    whole: options.SliceWhole = None,
    merge: options.Merge = None,
    merge_metric: options.MergeMetric = None,
    seeker: tile_choice.Seeker = None,
    max_tiles: tile_choice.MaxTiles = None,
    budget_ms: tile_choice.BudgetMs = None,
    roi: tile_choice.Roi = None,
    refresh: tile_choice.Refresh = None,
    uniform_above: tile_choice.UniformAbove = None,
    batch: options.BatchSize = 1,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    images: options.Images = True,
    image_format: raster_options.Format = None,
    line_width: options.LineWidth = None,
    labels: options.Labels = None,
    save_txt: Annotated[
        bool, typer.Option("--save-txt", help="YOLO text files too", rich_help_panel=options.OUT)
    ] = False,
    save_crops: Annotated[
        bool, typer.Option("--save-crops", help="each object as a picture too", rich_help_panel=options.OUT)
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="heat maps too: for each class found, which places led to it",
            rich_help_panel=heat_maps.PANEL,
        ),
    ] = False,
    target: heat_maps.Target = None,
    method: heat_maps.Method = None,
    layers: heat_maps.Layers = None,
    windows: Choices = None,
    view_windows: Annotated[
        bool,
        typer.Option(
            "--view-windows",
            help="which tiles were looked at, or where a network on windows looked, and what that saved",
            rich_help_panel=options.OUT,
        ),
    ] = False,
    raster: raster_options.AsRaster = None,
    bands: raster_options.Bands = None,
    stretch: raster_options.Stretch = None,
    train_gsd: raster_options.TrainGsd = None,
    raster_scale: raster_options.RasterScale = None,
    crs: raster_options.Crs = None,
    resume: raster_options.Resume = False,
    project: options.Project = None,
    name: options.Name = "run",
    overwrite: options.Overwrite = False,
) -> None:
    """Find objects in pictures or video; draws them and writes predictions.json into a new run folder."""
    given = {**locals(), "project": project or PROJECT}
    reason = rasters.raster_reason(source, raster)
    if reason is not None:
        rasters.predict(given, reason)
        return
    rasters.refuse(given)
    from finespot.cli.terminal import console
    from finespot.inference import TileCosts, load, open_source
    from finespot.writers import new_run

    pictures, left_out = without_runs(open_source(source), source, project or PROJECT)
    shown = view_windows and pictures.fps is None
    products = Products(images, image_format, line_width, labels, save_txt, save_crops, explain or shown)
    heat = heat_maps.HeatMaps(explain, target, method, layers)
    heat.check(video=pictures.fps is not None)
    writers = products.writers(Path(source).stem, pictures)
    read = [source] if pictures.fps is not None else [entry.name for entry in pictures.entries]
    options.check_run(project or PROJECT, name, overwrite, read)
    model = load(weights, threads=threads, device=device, precision=precision, own_parts=own_parts)
    choose_windows(model.session, windows)
    tiling = options.tiling(slice_size, overlap, model.card.tiling, whole=whole, merge=merge, metric=merge_metric)
    writers += heat.writers(model, tiling, imgsz, products)
    chosen = any(one is not None for one in (seeker, max_tiles, budget_ms, roi, refresh, uniform_above))
    used = model.card.imgsz if imgsz is None else imgsz
    views = TileViews(lambda: TileCosts.known(model.session, imgsz, tiling, seeker)) if chosen else WindowViews()
    writers += products.window_writers(views, pictures) if view_windows else []
    outcomes: Iterator[Outcome] = model.predict(
        pictures,
        conf=conf,
        iou=iou,
        nms=nms,
        max_det=max_det,
        classes=None if classes is None else chosen_classes(classes, model.classes),
        imgsz=imgsz,
        tiling=tiling,
        batch=batch,
        pixels=images or save_crops or explain or shown,
        windows=view_windows,
        seeker=seeker,
        max_tiles=max_tiles,
        budget_ms=budget_ms,
        roi=roi,
        refresh=refresh,
        uniform_above=uniform_above,
    ).outcomes
    out = console()
    decided = list(model.notes)
    for note in [model.session.reason, *left_out, *decided]:
        out.print(note)
    # A named picture that cannot be read ends the run here, before there is a folder.
    first = next(outcomes, None)
    outcomes = outcomes if first is None else chain([first], outcomes)
    folder = new_run(project or PROJECT, name, overwrite)
    tally = Tally(model.classes)
    paths = write_all(views.watched(_watch(outcomes, pictures, out)), folder, writers, tally)
    _report(out, model, tally, paths, [*model.notes[len(decided) :], *heat.notes(writers), *views.summary()])
    if tally.pictures == 0:
        raise typer.Exit(2)
    more = [word for word, given in (("--save-txt", save_txt), ("--save-crops", save_crops)) if not given]
    if slice_size is None and not (tiling or model.card.tiling) and tally.largest > 1.5 * used:
        out.print(f"pictures of {tally.largest} px were shrunk to {used}; tiles keep small objects as they are")
        more = ["--slice", str(used)]
    if more:
        out.print(f"next: {shlex.join([sys.argv[0], 'predict', *typed.get(), *more])}")


def without_runs(pictures: Source, source: str, project: Path) -> tuple[Source, list[str]]:
    """The pictures of a folder without those that earlier runs drew into `project` below it, and a note on these."""
    from finespot.errors import FineSpotError

    folder, runs = (os.path.join(os.path.abspath(one), "") for one in (source, project))
    if not os.path.isdir(folder) or folder == runs or not runs.startswith(folder):
        return pictures, []
    kept = [entry for entry in pictures.entries if not os.path.abspath(entry.name).startswith(runs)]
    drawn = len(pictures) - len(kept)
    if not kept:
        raise FineSpotError(f"expected pictures but all {drawn} lie in {project}, where runs draw", where=source)
    note = f"{drawn} pictures in {project}, where runs draw, are left out"
    return replace(pictures, entries=kept, count=len(kept)), [note] if drawn else []


def chosen_classes(text: str, classes: Classes) -> list[str | int]:
    """The classes that a comma-separated text names; a whole number that no class has for a name is a label."""
    words = [word.strip() for word in text.split(",")]
    return [int(word) if word.isdecimal() and word not in classes.names else word for word in words]


@dataclass(frozen=True)
class Products:
    """What is written of each picture, as the options of that name say; None where one was left out. `heat` says
    whether other drawings than those of detections are made.
    """

    images: bool
    format: str | None
    line_width: int | None
    labels: bool | None
    save_txt: bool
    save_crops: bool
    heat: bool

    def writers(self, name: str, pictures: Source) -> list[Writer]:
        """Drawings and records of the pictures (of a video: under its `name`), then what is asked for beside them.

        Raises
        ------
        FineSpotError
            The format is unknown, or an option of drawing is given where nothing is drawn.
        """
        from finespot.inference import VideoRecorder
        from finespot.writers import CocoWriter, CropWriter, DrawingWriter, YoloWriter

        self._check(video=pictures.fps is not None)
        kind, labels = options.picture_format(self.format), self.labels is not False
        made: list[Writer]
        if pictures.fps is not None:
            rate = pictures.fps or 1.0
            made = [
                VideoRecorder(
                    name, rate, times=pictures.times, drawn=self.images, line_width=self.line_width, labels=labels
                )
            ]
        else:
            made = [*([DrawingWriter(self.line_width, labels, kind)] if self.images else []), CocoWriter()]
        return [*made, *([YoloWriter()] if self.save_txt else []), *([CropWriter(0, kind)] if self.save_crops else [])]

    def window_writers(self, views: WindowViews | TileViews, pictures: Source) -> list[Writer]:
        """What draws which tiles were looked at, or where the network looked; of a video's frames the figures alone."""
        from finespot.writers import FigureWriter, WindowWriter

        if pictures.fps is not None:
            return [FigureWriter(views.figures)]
        kind = options.picture_format(self.format)
        return [WindowWriter(views.look, self.line_width, self.labels is not False, kind)]

    def _check(self, video: bool) -> None:
        from finespot.errors import FineSpotError

        drawn = self.images or self.heat
        idle = {
            "line-width": self.line_width is not None and not drawn,
            "labels": self.labels is not None and not drawn,
            "format": self.format is not None and not self.save_crops and (video or not drawn),
        }
        for option, given in idle.items():
            if given:
                raise FineSpotError("has no effect where no picture is drawn", where=option)


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
        from finespot.writers.table import ResultTable

        table = ResultTable(("class",), ("objects", "pictures"), box=None, pad_edge=False)
        for label, name in enumerate(self.classes):
            table.row(name, str(self.objects[label]), str(self.seen_in[label]))
        table.row("all", str(self.objects.total()), str(self.pictures), style="bold")
        return table


def write_all(outcomes: Iterator[Outcome], folder: Path, writers: list[Writer], tally: Tally) -> list[Path]:
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
            tally.add(outcome.detections)
            for writer in writers:
                writer.write(outcome.detections, outcome.pixels)
    return paths


def _close(writer: Writer, paths: list[Path]) -> None:
    paths.insert(0, writer.close())


def _watch(outcomes: Iterator[Outcome], pictures: Source, console: Console) -> Iterator[Outcome]:
    """Show progress in a terminal."""
    from finespot.cli.progress import bar

    with bar(console, "predict", pictures.count) as advance:
        for outcome in outcomes:
            yield outcome
            advance()


def _report(out: Console, model: Model, tally: Tally, paths: list[Path], notes: list[str]) -> None:
    out.print(tally.table())
    for line in [*notes, *(f"wrote {path}" for path in paths)]:
        out.print(line)
    if tally.pictures:
        out.print(model.timing.summary())
    for name, reason in model.skipped:
        out.print(f"skipped {name}: {reason}")
