"""Where the pixels of a raster lie on the ground: in its map, in longitude and latitude, in meters.

A pixel position (x, y) is continuous: (0, 0) is the outer corner of the first pixel, and its center is (0.5, 0.5).
That is what the affine transform of a raster takes too, so nothing is shifted by half a pixel anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError, import_extra

Points = NDArray[np.float64]
Transform = tuple[float, float, float, float, float, float]

_WGS84 = "OGC:CRS84"


@dataclass(frozen=True)
class GeoReference:
    """The map of a raster.

    Attributes
    ----------
    transform:
        (a, b, c, d, e, f): the pixel position (x, y) lies at (a x + b y + c, d x + e y + f) in the map.
    crs:
        The map's coordinate reference system as WKT (or what `pyproj.CRS` takes); empty where the file names none.
    where:
        The file, for errors.
    """

    transform: Transform
    crs: str = ""
    where: str = ""

    def to_map(self, points: ArrayLike) -> Points:
        """Map coordinates (N, 2), east before north, of pixel positions (N, 2)."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(points, np.float64).reshape(-1, 2).T
        return np.stack([a * x + b * y + c, d * x + e * y + f], 1)

    def to_pixels(self, points: ArrayLike) -> Points:
        """Pixel positions (N, 2) of map coordinates (N, 2)."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        x, y = (np.asarray(points, np.float64).reshape(-1, 2) - np.array([c, f])).T
        return np.stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant], 1)

    def to_lon_lat(self, points: ArrayLike) -> Points:
        """Longitude and latitude in WGS84, degrees, (N, 2), of pixel positions (N, 2).

        Raises
        ------
        FineSpotError
            The raster names no coordinate reference system, or one that does not say where on the earth it is.
        """
        x, y = self.to_map(points).T
        return self._moved(np.stack(self._to_wgs84.transform(x, y), 1))

    def from_lon_lat(self, points: ArrayLike) -> Points:
        """Pixel positions (N, 2) of WGS84 longitudes and latitudes (N, 2); raises what `to_lon_lat` does."""
        return self.from_crs(points, _WGS84)

    def from_crs(self, points: ArrayLike, crs: str) -> Points:
        """Pixel positions (N, 2) of coordinates (N, 2), east before north, of another system."""
        x, y = np.asarray(points, np.float64).reshape(-1, 2).T
        moved = self._transformer(_parsed(crs, self.where), self._crs).transform(x, y)
        return self.to_pixels(self._moved(np.stack(moved, 1)))

    def side_meters(self, boxes: ArrayLike) -> Points | None:
        """Meters (N, 2) on the ground across and down boxes (N, 4) xyxy in pixels; None where the map has no unit.

        Measured between the middles of opposite sides: in a projected map by its unit; in a geographic one, and in
        Mercator's, whose scale grows with the latitude, along the geodesic at the place.
        """
        if not self.crs or self._unit == 0:
            return None
        x1, y1, x2, y2 = np.asarray(boxes, np.float64).reshape(-1, 4).T
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        across = (np.stack(pair, 1) for pair in ((x1, y), (x2, y)))
        down = (np.stack(pair, 1) for pair in ((x, y1), (x, y2)))
        return np.stack([self._apart(*across), self._apart(*down)], 1)

    @property
    def authority(self) -> tuple[str, str] | None:
        """Who numbered the coordinate reference system, and how, as ("EPSG", "32633"); None where nobody did."""
        found = self._crs.to_authority(min_confidence=100) if self.crs else None
        return None if found is None else (str(found[0]), str(found[1]))

    @property
    def name(self) -> str:
        """The coordinate reference system in a few words."""
        if not self.crs:
            return "no coordinate reference system"
        code = "" if self.authority is None else f" ({':'.join(self.authority)})"
        return f"{self._crs.name}{code}"

    @property
    def in_degrees(self) -> bool:
        """Whether map coordinates are angles."""
        return bool(self.crs) and bool(self._crs.is_geographic)

    @cached_property
    def _crs(self) -> Any:
        if not self.crs:
            raise FineSpotError(
                "expected a coordinate reference system but the raster names none",
                where=self.where or None,
                hint="name it with `rio edit-info --crs EPSG:CODE FILE`, or write map coordinates with --crs raster",
            )
        return _parsed(self.crs, self.where)

    @cached_property
    def _unit(self) -> float:
        """Meters in a unit of the map; 0 where it has none, NaN where that depends on the place."""
        if self._crs.is_geographic or (self._crs.is_projected and _stretched(self._crs)):
            return float("nan")
        if not self._crs.is_projected:
            return 0.0
        return float(self._crs.axis_info[0].unit_conversion_factor)

    @cached_property
    def _to_wgs84(self) -> Any:
        return self._transformer(self._crs, _parsed(_WGS84, self.where))

    @cached_property
    def _geod(self) -> Any:
        return self._crs.get_geod()

    def _apart(self, first: Points, second: Points) -> Points:
        if np.isnan(self._unit):
            ends = (self.to_lon_lat(one).T for one in (first, second))
            return np.asarray(self._geod.inv(*(axis for end in ends for axis in end))[2], np.float64)
        step = self.to_map(second) - self.to_map(first)
        return np.asarray(np.hypot(step[:, 0], step[:, 1]) * self._unit)

    def _transformer(self, source: Any, target: Any) -> Any:
        pyproj = import_extra("pyproj", "geo")
        for one in (source, target):
            if not (one.is_geographic or one.is_projected):
                raise FineSpotError(
                    f"expected a geographic or projected coordinate reference system but got '{one.name}', "
                    "which does not say where on the earth it is",
                    where=self.where or None,
                    hint="name the right one with `rio edit-info --crs EPSG:CODE FILE`, or write --crs raster",
                )
        return pyproj.Transformer.from_crs(source, target, always_xy=True)

    def _moved(self, points: Points) -> Points:
        if not np.isfinite(points).all():
            raise FineSpotError(
                f"expected places that '{self._crs.name}' knows but the raster lies outside of it",
                where=self.where or None,
            )
        return points


def _parsed(crs: str, where: str) -> Any:
    pyproj = import_extra("pyproj", "geo")
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise FineSpotError(f"the coordinate reference system cannot be read ({error})", where=where or None) from error


def _stretched(crs: Any) -> bool:
    """Whether a projected map's unit is a meter on the equator only."""
    method = "" if crs.coordinate_operation is None else crs.coordinate_operation.method_name
    return "Mercator" in method and not any(word in method for word in ("Transverse", "Oblique"))
