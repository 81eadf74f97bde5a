"""`finespot data check`: find what is wrong in a data set before a training run does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finespot.cli import options
from finespot.cli.data import convert

DEPTH, COPY = "How deep", "Corrected copy"


def command(
    data: Annotated[
        str, typer.Argument(help="a YOLO .yaml, or FORMAT:DIR such as coco:DIR or visdrone:DIR", metavar="DATA")
    ],
    splits: Annotated[
        list[str] | None,
        typer.Option("--splits", help="which splits, with commas between (default: all)", rich_help_panel=options.RUN),
    ] = None,
    decode: Annotated[
        bool | None,
        typer.Option(
            "--decode/--no-decode",
            help="decode all pictures: finds truncated and nearly equal ones (default: up to 20 gigapixels)",
            rich_help_panel=DEPTH,
        ),
    ] = None,
    frames: Annotated[
        int,
        typer.Option(
            "--frames", min=0, help="frames so close by number show the same; 0: do not look", rich_help_panel=DEPTH
        ),
    ] = 5,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="processes that look at pictures (default: one a CPU)",
            rich_help_panel=options.SPEED,
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", help="kinds of errors that do not fail the check", rich_help_panel=options.OUT),
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", min=0, help="findings of each kind in the table", rich_help_panel=options.OUT)
    ] = 3,
    json: Annotated[
        Path | None, typer.Option("--json", help="write the findings to this file", rich_help_panel=options.OUT)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="write a page with the pictures in question", rich_help_panel=options.OUT),
    ] = None,
    fix: Annotated[
        str | None,
        typer.Option("--fix", help="write a corrected copy, such as yolo:NEW_DIR", rich_help_panel=COPY),
    ] = None,
    drop_leaks: Annotated[
        bool,
        typer.Option(
            "--drop-leaks",
            help="leave out of the copy's later splits what leaks from an earlier one",
            rich_help_panel=COPY,
        ),
    ] = False,
    images: convert.Images = "link",
    overwrite: convert.Overwrite = False,
) -> int:
    """Check labels, pictures and splits; exit code 1 where something would hurt training."""
    from finespot.cli import terminal
    from finespot.data.check import examine, known_kinds, open_survey
    from finespot.data.check.fix import write_fixed
    from finespot.data.check.page import write_page
    from finespot.data.convert import open_target
    from finespot.errors import FineSpotError

    accepted = known_kinds(_words(accept))
    handling = convert.handling(images, None, False)
    target = None if fix is None else open_target(fix, overwrite)
    for option, given in (("drop-leaks", drop_leaks), ("images", images != "link")):
        if given and target is None:
            raise FineSpotError("has no effect without a corrected copy", where=option, hint="give --fix too")
    if overwrite and target is None and json is None and html is None:
        raise FineSpotError(
            "nothing is written that could be there", where="overwrite", hint="give --json, --html or --fix"
        )
    convert.check_reports(json, html, source=data, overwrite=overwrite)
    console = terminal.console()
    with console.status("reading labels"):
        survey = open_survey(data, _words(splits))
    watch = convert.watch(console)
    report = examine(survey, decode=decode, apart=frames, workers=workers, watch=watch)
    console.print(report.table(examples, accepted))
    console.print(report.verdict(accepted))
    if json is not None:
        console.print(f"wrote {options.write_report(json, report.to_json(accepted))}")
    if html is not None:
        console.print(f"wrote {write_page(html, report, accept=accepted)}")
    if target is not None:
        written = write_fixed(report, target, drop_leaks=drop_leaks, handling=handling, watch=watch)
        for note in written.notes:
            console.print(note)
        console.print(f"wrote {written.folder}")
    return 0 if report.passed(accepted) else 1


def _words(values: list[str] | None) -> list[str]:
    """What stands between commas."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]
