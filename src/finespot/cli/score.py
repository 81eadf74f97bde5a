"""`finespot score`: evaluate a file of detections against a file of truth. Needs no network and loads none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options


def command(
    gt: Annotated[Path, typer.Option("--gt", help="COCO file with the truth", rich_help_panel=options.RUN)],
    dt: Annotated[Path, typer.Option("--dt", help="COCO results file", rich_help_panel=options.RUN)],
    protocol: options.Protocol = "coco",
    fix_id0: Annotated[
        bool,
        typer.Option(
            "--fix-id0",
            help="renumber annotations from 1 (the official tools count a match with id 0 as a miss)",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    split: Annotated[str, typer.Option("--split", help="split name for the report", rich_help_panel=options.OUT)] = "",
    json: options.Json = None,
    overwrite: options.OverwriteFiles = False,
) -> None:
    """Evaluate detections in a file: AP and AR by size and class, as the official tools compute them."""
    from finespot import metrics
    from finespot.cli.terminal import console

    options.check_outputs(json, overwrite=overwrite, inputs=(gt, dt))
    report = metrics.score(gt, dt, protocol, fix_id0=fix_id0)
    out = console()
    out.print(report.table())
    if json is not None:
        options.write_report(json, report.to_json(split or gt.stem))
        out.print(f"wrote {json}")
