"""`finespot weights import`: a checkpoint of another toolkit becomes a weight file, without running anything in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options


def command(
    source: Annotated[Path, typer.Argument(help="a .pt, .pth or .safetensors of another toolkit")],
    out: Annotated[Path, typer.Argument(help="the weight file to write, .safetensors")],
    names: Annotated[
        str | None,
        typer.Option(
            "--names", help="class names in order: a,b,c, or a file with one a line", rich_help_panel=options.RUN
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", help="the naming (docs/import.md), where it is not recognized", rich_help_panel=options.RUN
        ),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option("--imgsz", min=1, help="input size to remember, in pixels", rich_help_panel=options.RUN),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="an option of the architecture, as exp=true", rich_help_panel=options.RUN),
    ] = None,
    licence: Annotated[
        str, typer.Option("--data-licence", help="licence of the data it learnt from", rich_help_panel=options.RUN)
    ] = "",
    half: Annotated[
        bool, typer.Option("--half/--full", help="store fp16 or float32", rich_help_panel=options.OUT)
    ] = False,
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Read a checkpoint of Ultralytics, YOLOX, RT-DETR, RetinaNet, RTMDet, GPViT ... and write it as a weight file."""
    from finespot import weights
    from finespot.cli.terminal import console
    from finespot.errors import FineSpotError, some
    from finespot.weights.foreign.convert import import_checkpoint

    if out.suffix != ".safetensors":
        raise FineSpotError("expected a name that ends in .safetensors", where=out)
    options.check_outputs(out, json, overwrite=overwrite, inputs=[source])
    found = import_checkpoint(
        source,
        names=options.class_names(names),
        layout=layout,
        imgsz=imgsz,
        options=options.architecture_options(set_ or []),
    )
    found.card.data_licence = licence
    weights.save(out, found.detector, found.card, half=half)
    screen = console()
    for note in found.notes:
        screen.print(note)
    screen.print(f"{len(found.mapped)} tensors taken over")
    if found.unused:
        screen.print(f"{len(found.unused)} have no place in the network: {some(found.unused)}")
    screen.print(f"wrote {out}")
    if json is not None:
        report = {
            "source": str(source),
            "out": str(out),
            "layout": found.layout,
            "mapped": list(found.mapped),
            "unused": list(found.unused),
            "notes": list(found.notes),
        }
        options.write_report(json, report)
        screen.print(f"wrote {json}")
