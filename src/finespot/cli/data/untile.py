"""`finespot data untile`: bring what was found in tiles back to the pictures that they were cut from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options


def command(
    found: Annotated[Path, typer.Argument(metavar="FOUND", help="detections in tiles: a file of COCO results")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the file to write: COCO results of the pictures")],
    data: Annotated[
        str, typer.Option("--data", help="the tiles, as `data tile` wrote them", rich_help_panel=options.RUN)
    ],
    split: Annotated[str, typer.Option("--split", help="split of the tiles", rich_help_panel=options.RUN)] = "val",
    iou: Annotated[
        float, typer.Option("--iou", min=0, max=1, help="overlap that removes a box", rich_help_panel=options.RUN)
    ] = 0.7,
    max_det: Annotated[
        int | None,
        typer.Option(
            "--max-det", min=1, help="most detections in a picture (default: all)", rich_help_panel=options.RUN
        ),
    ] = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Move detections from tiles to their pictures and suppress doubles once over all tiles of a picture."""
    import msgspec

    from finespot.cli import terminal
    from finespot.data.tiles import untile
    from finespot.writers import write_atomic

    console = terminal.console()
    options.check_outputs(out, overwrite=overwrite, inputs=[found])
    records = untile(found, data, split, iou=iou, max_det=max_det)
    write_atomic(out, msgspec.json.encode(records))
    pictures = len({record["image_id"] for record in records})
    console.print(f"wrote {out}: {len(records)} detections in {pictures} pictures")
