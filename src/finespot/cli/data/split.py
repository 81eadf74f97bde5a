"""`finespot data split`: divide pictures into splits; what belongs together stays together."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from finespot.cli import options
from finespot.cli.data import convert as shared

HOW = "How to divide"


def command(
    source: shared.Source,
    target: shared.Target,
    ratios: Annotated[
        list[str],
        typer.Option("--ratios", help="shares that add up to 1: train=0.7,val=0.2,test=0.1", rich_help_panel=HOW),
    ],
    seed: Annotated[int, typer.Option("--seed", help="another seed divides otherwise", rich_help_panel=HOW)] = 0,
    group_by: Annotated[
        str,
        typer.Option("--group-by", help="what stays together: auto, video, prefix, file, none", rich_help_panel=HOW),
    ] = "auto",
    gap: Annotated[
        int | None,
        typer.Option(
            "--gap", help="with prefix: largest step of numbers in one group (default: any)", rich_help_panel=HOW
        ),
    ] = None,
    splits: shared.Splits = None,
    classes: shared.Classes = None,
    other_classes: shared.OtherClasses = "drop",
    images: shared.Images = "link",
    paint_ignore: shared.PaintIgnore = None,
    paint_objects: shared.PaintObjects = False,
    workers: shared.Workers = None,
    json: options.Json = None,
    overwrite: shared.Overwrite = False,
) -> None:
    """Divide the pictures of a data set into new splits; frames of one video or flight never straddle them."""
    from finespot.cli.terminal import console
    from finespot.data.convert import convert
    from finespot.data.split import Grouping, divide, parse_ratios

    out = console()
    shared.check_reports(json, source=source, overwrite=overwrite)
    shares = parse_ratios(ratios)
    conversion = convert(
        source,
        target,
        splits=splits or (),
        classes=classes or (),
        others=other_classes,
        handling=shared.handling(images, paint_ignore, paint_objects),
        divide=partial(divide, ratios=shares, seed=seed, grouping=Grouping(group_by, gap)),
        overwrite=overwrite,
        workers=workers,
        watch=shared.watch(out),
        tell=shared.tell(out),
        verb=("split", *_words(shares, seed, group_by, gap)),
    )
    shared.report(out, conversion, json)


def _words(shares: dict[str, float], seed: int, group_by: str, gap: int | None) -> list[str]:
    ratios = ",".join(f"{name}={share:g}" for name, share in shares.items())
    words = ["--ratios", ratios, "--seed", str(seed), "--group-by", group_by]
    return words + (["--gap", str(gap)] if gap is not None else [])
