"""The options that decide which tiles of a picture are looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from finespot.cli.options import SLICE

Seeker = Annotated[
    str | None,
    typer.Option(
        "--seeker",
        help="look only at the tiles that this seeker proposes: a weight file or a name from `finespot models`",
        rich_help_panel=SLICE,
    ),
]
MaxTiles = Annotated[
    int | None,
    typer.Option("--max-tiles", min=1, help="at most so many tiles in a picture, the hottest", rich_help_panel=SLICE),
]
BudgetMs = Annotated[
    float | None,
    typer.Option(
        "--budget-ms", min=0, help="at most as many tiles as fit in these milliseconds a picture", rich_help_panel=SLICE
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        "--roi",
        help="look only here: GeoJSON polygons in pixels (of a raster: on the map), or a mask picture (white: look)",
        rich_help_panel=SLICE,
    ),
]
UniformAbove = Annotated[
    float | None,
    typer.Option(
        "--uniform-above",
        min=0,
        max=1,
        help="share of hot area from which on all tiles are looked at (default: 0.6)",
        rich_help_panel=SLICE,
    ),
]
Refresh = Annotated[
    int | None,
    typer.Option(
        "--refresh",
        min=1,
        help="of a video: look at each tile every so many frames, where objects were in each (default: 10)",
        rich_help_panel=SLICE,
    ),
]
