"""`finespot data stats`: what a data set holds in numbers, and what follows for training and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options


def command(
    data: Annotated[str, typer.Argument(help="a YOLO .yaml, or FORMAT:DIR such as hit-uav:DIR or coco:DIR")],
    splits: Annotated[
        str | None, typer.Option("--splits", help="comma-separated; all if left out", rich_help_panel=options.RUN)
    ] = None,
    imgsz: Annotated[
        int, typer.Option("--imgsz", help="long side of the network input in pixels", rich_help_panel=options.RUN)
    ] = 640,
    slice_size: options.Slice = None,
    overlap: options.Overlap = None,
    json: options.Json = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", help="draw pictures into this folder", rich_help_panel=options.OUT)
    ] = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Objects by class and size, at the source and at the network, crowding, empty ground; and advice from it."""
    from finespot.cli import terminal
    from finespot.cli.data.convert import check_reports
    from finespot.data import dataset_splits, open_dataset, stats
    from finespot.errors import FineSpotError

    tiling = options.tiling(slice_size, overlap, None)
    if overwrite and json is None:
        raise FineSpotError("nothing is written that could be there", where="overwrite", hint="give --json too")
    check_reports(json, source=data, overwrite=overwrite)
    names = dataset_splits(data) if splits is None else [name.strip() for name in splits.split(",") if name.strip()]
    datasets = [open_dataset(data, name) for name in dict.fromkeys(names)]
    console = terminal.console()
    for dataset in datasets:
        for note in dataset.notes:
            console.print(f"{dataset.split}: {note}")
    statistics = stats.measure(datasets, imgsz, tiling)
    advice = stats.advise(statistics)
    console.print(stats.table(statistics, advice))
    written = [] if json is None else [options.write_report(json, stats.to_json(statistics, advice, data))]
    if plots is not None:
        written += stats.draw(statistics, plots)
    for path in written:
        console.print(f"wrote {path}")
