"""What a map file says of each detection in a raster: its corners in map coordinates, class, score, size in meters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images import GeoReference
from finespot.structures import Boxes, Detections

Floats = NDArray[np.float64]

WGS84, RASTER = "wgs84", "raster"
SYSTEMS = (WGS84, RASTER)


@dataclass(frozen=True)
class Footprints:
    """Of N detections.

    Attributes
    ----------
    rings:
        (N, 5, 2) float64: corners in map coordinates, east before north, counterclockwise, the first one again at the
        end; in pixels, y downwards, where the raster has no place on the ground.
    sides:
        (N, 2) float64: the longer and the shorter side of the box in meters on the ground; None where not known.
    """

    rings: Floats
    sides: Floats | None


def footprints(found: Detections, place: GeoReference | None, system: str) -> Footprints:
    """Where detections, in pixels of a raster, lie: `system` is `wgs84` or `raster` (the raster's own).

    The corners of a box are outer corners of pixels, or between them; nothing is rounded.

    Raises
    ------
    FineSpotError
        WGS84 is asked for and the raster does not say where on the earth it lies.
    """
    corners = _corners(found.boxes)
    if place is None:
        return Footprints(corners, None)
    moved = place.to_lon_lat(corners) if system == WGS84 else place.to_map(corners)
    rings = moved.reshape(-1, 5, 2)
    a, b, _, d, e, _ = place.transform
    if a * e - b * d > 0:  # rows go north: what runs counterclockwise in pixels does not in the map
        rings = rings[:, ::-1]
    sides = place.side_meters(found.boxes.astype(np.float64))
    return Footprints(rings, None if sides is None else np.stack([sides.max(1), sides.min(1)], 1))


def check_system(system: str, place: GeoReference | None) -> None:
    """Raise `FineSpotError` where coordinates cannot be written in a system, before the work."""
    if system not in SYSTEMS:
        raise FineSpotError(f"expected wgs84 or raster but got '{system}'", where="crs")
    if system == WGS84 and place is not None:
        place.to_lon_lat([[0.0, 0.0]])


def _corners(boxes: Boxes) -> Floats:
    """(N, 5, 2) of boxes xyxy, counterclockwise where y points up in the map."""
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    return np.stack([np.stack([x1, x1, x2, x2, x1], 1), np.stack([y1, y2, y2, y1, y1], 1)], 2)
