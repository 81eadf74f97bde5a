"""`finespot data shapes`: the shapes of labelled objects, by a promptable segmenter, for the heat map of a seeker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from finespot.data.shapes.file import Header


def command(
    data: Annotated[
        str, typer.Argument(help="a YOLO .yaml, or FORMAT:DIR such as coco:DIR or visdrone:DIR", metavar="DATA")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="folder for the shapes, away from the pictures", rich_help_panel=options.OUT)
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="SAM: a folder, or a name on the Hugging Face hub (downloaded once), such as facebook/sam-vit-base",
            rich_help_panel=options.RUN,
        ),
    ],
    split: Annotated[str, typer.Option("--split", help="the split", rich_help_panel=options.RUN)] = "train",
    device: options.Device = "auto",
    preview: Annotated[
        int,
        typer.Option(
            "--preview",
            min=0,
            help="draw so many pictures with their shapes to OUT/preview",
            rich_help_panel=options.OUT,
        ),
    ] = 0,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="replace shapes that were made from other boxes or by another model, and broken files",
            rich_help_panel=options.OUT,
        ),
    ] = False,
) -> None:
    """Make the shapes of the labelled objects for the heat map of a seeker; a run that was stopped goes on."""
    from finespot.cli.progress import bar
    from finespot.cli.terminal import console
    from finespot.data import open_dataset
    from finespot.data.shapes import make_shapes, plan_shapes
    from finespot.data.shapes.preview import draw_previews
    from finespot.data.shapes.sam import Sam, model_folder, model_name
    from finespot.runtimes.settings import choose_device

    shown = console()
    dataset = open_dataset(data, split)
    for note in dataset.notes:
        shown.print(f"{split}: {note}")
    plan = plan_shapes(dataset, out, model_name(model), overwrite=overwrite)
    made: list[Header] = []
    if plan.missing:
        chosen = choose_device(device)
        shown.print(f"device: {chosen.value} ({chosen.reason})")
        if model_folder(model) is None:
            shown.print(f"{model}: from the Hugging Face hub, downloaded where it is not in the cache yet")
        segment = Sam(model, chosen.value)
        with bar(shown, "pictures", len(plan.missing)) as advance:
            made = make_shapes(plan, segment, advance)
    shown.print(_table(list(plan.kept), made))
    for path in draw_previews(dataset, out, preview) if preview else []:
        shown.print(f"wrote {path}")
    shown.print(f"wrote {out}")


def _table(kept: list[Header], made: list[Header]) -> Table:
    """What was there already, what was made now, and both together."""
    from rich.table import Table

    table = Table(title="shapes")
    for title in ("", "there already", "made now", "all"):
        table.add_column(title, justify="right" if title else "left")
    groups = (kept, made, [*kept, *made])
    table.add_row("pictures", *(f"{len(headers):,}" for headers in groups))
    table.add_row("objects", *(f"{sum(one.objects for one in headers):,}" for headers in groups))
    table.add_row("  masks kept", *(f"{sum(one.objects - one.whole for one in headers):,}" for headers in groups))
    table.add_row("  not plausible: whole box", *(f"{sum(one.whole for one in headers):,}" for headers in groups))
    return table
