"""What the ground says to a run on a raster: at which scale it is read, and in which area objects are looked for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images import GeoReference, Raster, RasterView
from finespot.tiling import GEOJSON, Polygons, Region, polygons_of, read_region

# Nearer to 1 than this, a raster is read pixel by pixel: resampling would change more than the scale does.
_SAME = 0.02
_LARGEST = 16.0
# Into how many pieces an edge is cut that is straight in another map.
_PIECES = 16

Scale = tuple[float, float]
Points = NDArray[np.float64]


def ground_scale(raster: Raster, resolution: float | None, factor: float | None = None) -> tuple[Scale, list[str]]:
    """At which scale (y, x) a raster is read, with notes.

    Parameters
    ----------
    resolution:
        Meters of ground to a pixel of the pictures that the network learned from; None leaves the scale alone, but for
        pixels that are not square on the ground: these are brought to the finer of their two sides.
    factor:
        Pixels that are read to one of the raster, in place of all that.

    Raises
    ------
    FineSpotError
        A number is not above 0, or the raster would be enlarged beyond reason.
    """
    for name, value in (("train-gsd", resolution), ("raster-scale", factor)):
        if value is not None and not 0 < value < math.inf:
            raise FineSpotError(f"expected a number above 0 but got {value}", where=name)
    if factor is not None:
        return _checked((factor, factor)), [f"the raster is read at {factor:g} of its size, as asked"]
    height, width = raster.size
    middle = [[width / 2 - 0.5, height / 2 - 0.5, width / 2 + 0.5, height / 2 + 0.5]]
    sides = None if raster.place is None else raster.place.side_meters(middle)
    if sides is None:
        words = "the raster does not say how large its pixels are on the ground"
        return (1.0, 1.0), [f"{words}: it is read at its own"] if resolution is not None else []
    across, down = sides[0].tolist()
    own = f"{across:.3g} m" if abs(across / down - 1) <= _SAME else f"{across:.3g} x {down:.3g} m"
    if resolution is not None:
        scale = _checked((down / resolution, across / resolution))
        if max(abs(one - 1) for one in scale) <= _SAME:
            return (1.0, 1.0), [f"pixels of {own} on the ground, as the network learned from"]
        return scale, [
            f"pixels of {own} on the ground are read as ones of {resolution:g} m, which the network learned from: "
            f"the raster at {_words(scale)} of its size"
        ]
    if abs(across / down - 1) <= _SAME:
        return (1.0, 1.0), []
    fine = min(across, down)
    scale = (down / fine, across / fine)
    return scale, [f"pixels of {own} on the ground are read as squares: the raster at {_words(scale)} of its size"]


def area_of(path: str | Path, view: RasterView) -> tuple[Region, list[str]]:
    """The polygons of a GeoJSON file, or a mask of the raster's shape, in pixels of its view, with notes.

    Coordinates are longitudes and latitudes, as RFC 7946 says, or of the system that the older member `crs` names;
    such as cannot be degrees are taken for the raster's own. Without geo-reference they are pixels of the raster.

    Raises
    ------
    FineSpotError
        The file cannot be read or holds no polygon, its coordinates cannot be brought into the raster, or it is a mask
        of another shape.
    """
    place = Path(path).expanduser()
    if place.suffix.lower() not in GEOJSON:
        return read_region(place).of_picture(view.size), []
    try:
        value = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FineSpotError(f"cannot be read as GeoJSON ({reason})", where=place) from error
    polygons = polygons_of(value, place).polygons
    points = np.concatenate([ring for polygon in polygons for ring in polygon])
    system, notes = _system(value, points, view.raster.place, place)
    moved = [tuple(_in_view(ring, system, view) for ring in polygon) for polygon in polygons]
    return Polygons(tuple(moved)), notes


def _system(value: Any, points: Points, ground: GeoReference | None, path: Path) -> tuple[str | None, list[str]]:
    """The coordinate reference system of an area; None for the raster's own map (or its pixels)."""
    if ground is None:
        return None, [f"{path}: coordinates are pixels, as the raster has no geo-reference"]
    member = value.get("crs") if isinstance(value, dict) else None
    if member is not None:
        try:
            return str(member["properties"]["name"]), []
        except (KeyError, TypeError) as error:
            raise FineSpotError("expected a crs with the name of a system", where=path) from error
    if (np.abs(points) <= np.array([180.0, 90.0])).all() and ground.crs:
        return "OGC:CRS84", []
    return None, [f"{path}: coordinates are taken for the raster's own, {ground.name}"]


def _in_view(ring: Points, system: str | None, view: RasterView) -> Points:
    ground = view.raster.place
    if ground is not None and system is not None:
        # A straight edge of one map is bent in another.
        share = np.arange(_PIECES)[:, None] / _PIECES
        ring = np.concatenate([a + share * (b - a) for a, b in zip(ring, np.roll(ring, -1, 0))])
        ring = ground.from_crs(ring, system)
    elif ground is not None:
        ring = ground.to_pixels(ring)
    down, across = view.step
    moved: Points = ring / np.array([across, down])
    return moved


def _checked(scale: Scale) -> Scale:
    if max(scale) > _LARGEST:
        raise FineSpotError(
            f"expected a raster that is enlarged {_LARGEST:g} times at most but got {max(scale):.3g}",
            where="train-gsd",
            hint="give meters, as in --train-gsd 0.05, or --train-gsd off",
        )
    return scale


def _words(scale: Scale) -> str:
    down, across = scale
    return f"{across:.3g}" if abs(across / down - 1) <= _SAME else f"{across:.3g} x {down:.3g}"
