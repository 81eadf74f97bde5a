"""`finespot val`: evaluate weights on a labelled data set, through the same pipeline as prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options

PROJECT = Path("runs/val")


def command(
    weights: Annotated[str, typer.Argument(help="a weight file, or a name from `finespot models`")],
    data: options.Data,
    split: Annotated[str, typer.Option("--split", help="split of the data set", rich_help_panel=options.RUN)] = "val",
    protocol: options.Protocol = "coco",
    conf: Annotated[
        float, typer.Option("--conf", min=0, max=1, help="least score", rich_help_panel=options.RUN)
    ] = 0.001,
    iou: Annotated[
        float, typer.Option("--iou", min=0, max=1, help="overlap that removes a box", rich_help_panel=options.RUN)
    ] = 0.7,
    max_det: Annotated[
        int | None,
        typer.Option("--max-det", min=1, help="most detections in a picture [protocol's]", rich_help_panel=options.RUN),
    ] = None,
    imgsz: options.ImageSize = None,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    batch: options.BatchSize = 8,
    device: options.Device = "auto",
    threads: options.Threads = None,
    precision: options.Precision = "auto",
    plots: Annotated[
        bool,
        typer.Option("--plots/--no-plots", help="curves, confusion matrix, pictures", rich_help_panel=options.OUT),
    ] = True,
    json: options.Json = None,
    save_json: Annotated[
        Path | None, typer.Option("--save-json", help="write COCO results to this file", rich_help_panel=options.OUT)
    ] = None,
    project: options.Project = None,
    name: options.Name = "run",
    overwrite: options.Overwrite = False,
) -> None:
    """Evaluate weights on a data set: AP and AR by size and class, with curves and pictures beside the truth."""
    from rich.console import Console

    from finespot import metrics
    from finespot.cli.progress import bar
    from finespot.data import open_dataset
    from finespot.inference import draw_predictions, draw_report, validate
    from finespot.runtimes import Session
    from finespot.writers import new_run

    console = Console(highlight=False, soft_wrap=True)
    rules = metrics.protocol(protocol)
    session = Session(weights, threads=threads, device=device, precision=precision)
    dataset = open_dataset(data, split)
    console.print(session.reason)
    with bar(console, "val", len(dataset)) as advance:
        validation = validate(
            session,
            dataset,
            protocol=rules,
            imgsz=imgsz,
            batch=batch,
            conf=conf,
            iou=iou,
            max_det=max_det,
            tiling=options.tiling(slice_size, overlap, session.card.tiling),
            progress=lambda done, total: advance(),
        )
    for note in validation.notes:
        console.print(note, markup=False)
    console.print(validation.report.table())
    console.print(validation.timing.summary())
    written = []
    if json is not None:
        written.append(options.write_report(json, validation.report.to_json(split)))
    if save_json is not None:
        written.append(validation.to_coco(save_json))
    if plots:
        folder = new_run(project or PROJECT, name, overwrite)
        written.append(options.write_report(folder / "report.json", validation.report.to_json(split)))
        written += draw_report(validation, dataset.classes, folder, session.card.conf)
        draw_predictions(dataset, validation.detections, folder / "predictions", session.card.conf)
        written.append(folder / "predictions")
    for path in written:
        console.print(f"wrote {path}", markup=False)
