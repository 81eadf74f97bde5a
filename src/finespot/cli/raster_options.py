"""Options of `finespot predict` that concern rasters."""

from __future__ import annotations

from typing import Annotated

import typer

from finespot.cli import options

PANEL = "Rasters (GeoTIFF, JPEG2000)"

Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="of all pictures that are written: jpg or png (default: jpg); of what a raster gives: geojson, gpkg or "
        "geojson,gpkg (default: geojson)",
        rich_help_panel=options.OUT,
    ),
]
AsRaster = Annotated[
    bool | None,
    typer.Option(
        "--raster/--no-raster",
        help="read SOURCE by windows, as a raster (default: where it has a geo-reference or is very large)",
        rich_help_panel=PANEL,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands", help="for red, green, blue, as 4,3,2, or one for all (default: as named)", rich_help_panel=PANEL
    ),
]
Stretch = Annotated[
    str | None,
    typer.Option(
        "--stretch",
        help="to 8 bits: percentiles 2,98, values 0:3000, or none (default: 2,98 where there are more bits)",
        rich_help_panel=PANEL,
    ),
]
TrainGsd = Annotated[
    str | None,
    typer.Option(
        "--train-gsd",
        help="meters a pixel that the network learned from; off: at the raster's own (default: as the weights say)",
        rich_help_panel=PANEL,
    ),
]
RasterScale = Annotated[
    float | None,
    typer.Option("--raster-scale", help="pixels read to one of the raster, such as 0.5", rich_help_panel=PANEL),
]
Crs = Annotated[
    str | None,
    typer.Option(
        "--crs",
        help="of GeoJSON: wgs84, or raster for its own (default: wgs84)",
        rich_help_panel=PANEL,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="go on with the last unfinished run of this name", rich_help_panel=PANEL),
]
