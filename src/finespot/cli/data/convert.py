"""`finespot data convert`: write a data set in another layout, and say what that layout cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from finespot.data.convert import Conversion, Handling
    from finespot.data.convert.write import Watch

TRUTH, PICTURES = "What to keep", "Pictures"

Source = Annotated[str, typer.Argument(metavar="FROM", help="the data set to read: x.yaml, or FORMAT:PLACE")]
Target = Annotated[str, typer.Argument(metavar="TO", help="the new one: FORMAT:FOLDER, such as yolo:OUT")]
Splits = Annotated[
    list[str] | None,
    typer.Option("--splits", help="train,val keeps these; test=test-dev renames (default: all)", rich_help_panel=TRUTH),
]
Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--classes",
        help="car,van keeps these; person=pedestrian,people merges; '*' is the rest (default: all)",
        rich_help_panel=TRUTH,
    ),
]
OtherClasses = Annotated[
    str, typer.Option("--other-classes", help="objects of classes not kept: drop or ignore", rich_help_panel=TRUTH)
]
Images = Annotated[str, typer.Option("--images", help="link, copy or hardlink pictures", rich_help_panel=PICTURES)]
PaintIgnore = Annotated[
    str | None,
    typer.Option(
        "--paint-ignore", help="paint ignore regions: gray (114), mean, or a value 0 to 255", rich_help_panel=PICTURES
    ),
]
PaintObjects = Annotated[
    bool, typer.Option("--paint-objects", help="paint ignored objects of a class, too", rich_help_panel=PICTURES)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="threads (default: one a core)", rich_help_panel=options.SPEED),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="replace a data set that FineSpot wrote, discard unfinished work; write over reports",
        rich_help_panel=options.OUT,
    ),
]


def command(
    source: Source,
    target: Target,
    splits: Splits = None,
    classes: Classes = None,
    other_classes: OtherClasses = "drop",
    images: Images = "link",
    paint_ignore: PaintIgnore = None,
    paint_objects: PaintObjects = False,
    workers: Workers = None,
    json: options.Json = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a data set in another layout, and say what that layout cannot hold."""
    from finespot.cli.terminal import console
    from finespot.data.convert import convert

    out = console()
    check_reports(json, source=source, overwrite=overwrite)
    conversion = convert(
        source,
        target,
        splits=splits or (),
        classes=classes or (),
        others=other_classes,
        handling=handling(images, paint_ignore, paint_objects),
        overwrite=overwrite,
        workers=workers,
        watch=watch(out),
        tell=tell(out),
    )
    report(out, conversion, json)


def check_reports(*reports: Path | None, source: str, overwrite: bool) -> None:
    """Refuse a report's file before the work, where it must not or cannot be written."""
    from finespot.data.dataset import find_format

    if any(report is not None for report in reports):
        options.check_outputs(*reports, overwrite=overwrite, inputs=[find_format(source)[1]])


def handling(images: str, paint_ignore: str | None, paint_objects: bool) -> Handling:
    """What the options say about pictures."""
    from finespot.data.convert import Handling
    from finespot.data.painting import parse_fill

    return Handling(images, None if paint_ignore is None else parse_fill(paint_ignore), paint_objects)


def watch(console: Console) -> Watch:
    """Shows the placing of pictures as a bar."""
    from finespot.cli.progress import bar

    def steps(placed: Iterable[bool], total: int) -> Iterator[bool]:
        with bar(console, "pictures", total) as advance:
            for one in placed:
                yield one
                advance()

    return steps


def tell(console: Console) -> Callable[[str], None]:
    """Says what is done, in a terminal."""
    return console.print if console.is_terminal else lambda text: None


def report(console: Console, conversion: Conversion, json: Path | None) -> None:
    """Print the counts and everything that was found, decided or lost."""
    console.print(table(conversion))
    for note in conversion.notes:
        console.print(note)
    if json is not None:
        options.write_report(json, conversion.to_json())
        console.print(f"wrote {json}")
    console.print(f"wrote {conversion.folder}")


def table(conversion: Conversion) -> Table:
    """What was written of each split; where the source had another number, `source -> written`."""
    from rich.table import Table

    shown = Table(title="objects as read back (source -> written where they differ)")
    shown.add_column("")
    for split in conversion.written:
        shown.add_column(split, justify="right")
    pairs = [(conversion.source[split], written) for split, written in conversion.written.items()]
    shown.add_row("pictures", *(_cell(had.pictures, has.pictures) for had, has in pairs))
    for name in dict.fromkeys(name for had, _ in pairs for name in had.objects):
        shown.add_row(name, *(_cell(had.objects.get(name, 0), has.objects.get(name, 0)) for had, has in pairs))
    shown.add_row("ignored objects", *(_cell(had.ignored, has.ignored) for had, has in pairs))
    shown.add_row("ignore regions", *(_cell(had.regions, has.regions) for had, has in pairs))
    return shown


def _cell(had: int, has: int) -> str:
    return f"{has:,}" if had == has else f"{had:,} -> {has:,}"
