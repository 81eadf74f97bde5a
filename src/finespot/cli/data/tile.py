"""`finespot data tile`: cut the pictures of a data set into tiles, with the labels right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from finespot.cli import options
from finespot.cli.data import convert as shared

if TYPE_CHECKING:
    from finespot.data.tiles import Border
    from finespot.data.tiles.tile import Cutting

TILES, BORDER = "Tiles", "Objects at a tile's border"
SIZE, OVERLAP, MIN_VISIBLE, CUT = 640, 0.2, 0.4, "ignore"
RULES = ("tinyperson",)


def command(
    source: shared.Source,
    target: shared.Target,
    size: Annotated[
        int | None,
        typer.Option("--size", min=32, help=f"side of a tile in pixels (default: {SIZE})", rich_help_panel=TILES),
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            "--overlap",
            min=0,
            help=f"what neighbors share: below 1 of the side, else pixels (default: {OVERLAP})",
            rich_help_panel=TILES,
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help="tinyperson: its official 640 x 512 windows instead", rich_help_panel=TILES),
    ] = None,
    keep_empty: Annotated[
        float,
        typer.Option(
            "--keep-empty",
            help="share of tiles without objects that stays in train splits; others keep all",
            rich_help_panel=TILES,
        ),
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="decides which stay", rich_help_panel=TILES)] = 0,
    min_visible: Annotated[
        float | None,
        typer.Option(
            "--min-visible",
            help=f"share of an object that a tile must show (default: {MIN_VISIBLE})",
            rich_help_panel=BORDER,
        ),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            "--cut", help=f"what shows of other objects: ignore or drop (default: {CUT})", rich_help_panel=BORDER
        ),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option("--splits", help="only these, comma-separated (default: all)", rich_help_panel=shared.TRUTH),
    ] = None,
    images: shared.Images = "link",
    paint_ignore: shared.PaintIgnore = None,
    paint_objects: shared.PaintObjects = False,
    workers: shared.Workers = None,
    json: options.Json = None,
    overwrite: shared.Overwrite = False,
) -> None:
    """Cut pictures into tiles; pictures no larger than a tile are linked. tiles.json says where each tile lies."""
    from finespot.cli import terminal
    from finespot.data.tiles.write import write_tiles

    cutting, border = rules(size, overlap, rule, min_visible, cut)
    shared.check_reports(json, source=source, overwrite=overwrite)
    console = terminal.console()
    conversion = write_tiles(
        source,
        target,
        cutting,
        splits=[name.strip() for name in (splits or "").split(",") if name.strip()],
        border=border,
        keep_empty=keep_empty,
        seed=seed,
        handling=shared.handling(images, paint_ignore, paint_objects),
        overwrite=overwrite,
        workers=workers,
        watch=shared.watch(console),
        how=f"data tile {source} {target} {said(border, rule, size, overlap)} --keep-empty {keep_empty} --seed {seed}",
    )
    shared.report(console, conversion, json)


def said(border: Border, rule: str | None, size: int | None, overlap: float | None) -> str:
    """The options that decide where and how is cut, written out for the record."""
    if rule is not None:
        return f"--rule {rule}"
    where = f"--size {SIZE if size is None else size} --overlap {OVERLAP if overlap is None else overlap}"
    return f"{where} --min-visible {border.min_visible} --cut {border.cut}"


def rules(
    size: int | None, overlap: float | None, rule: str | None, min_visible: float | None, cut: str | None
) -> tuple[Cutting, Border]:
    """Where to cut and what becomes of cut objects, from the options.

    Raises
    ------
    FineSpotError
        A value is out of range, the rule is unknown, or an option contradicts it.
    """
    from finespot.data.tiles import TINYPERSON_VISIBLE, Border, tinyperson_windows
    from finespot.errors import FineSpotError, unknown
    from finespot.structures import Tiling

    if rule is None:
        side, repeat = SIZE if size is None else size, OVERLAP if overlap is None else overlap
        return Tiling(side, repeat), Border(
            MIN_VISIBLE if min_visible is None else min_visible, CUT if cut is None else cut
        )
    if rule not in RULES:
        raise unknown("rule", rule, RULES, where="rule")
    given = {"size": size, "overlap": overlap, "min-visible": min_visible, "cut": cut}
    for option, value in given.items():
        if value is not None:
            raise FineSpotError(f"has no effect beside the rule {rule}", where=option, hint=f"leave out --{option}")
    return tinyperson_windows, Border(TINYPERSON_VISIBLE, "drop")
