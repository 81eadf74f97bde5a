"""The part of a picture in which objects are looked for: polygons, or the white of a mask.

Coordinates are pixels of the picture, (0, 0) its top left corner and y downwards, as of boxes. Polygons come from
GeoJSON (RFC 7946: a first ring around the area, further ones around its holes), whose numbers are taken for pixels.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot import images
from finespot.errors import FineSpotError
from finespot.structures import Flags, Size, Window

GEOJSON = (".geojson", ".json")
_WHITE = 128
# Windows (or points) that are compared with the edges near them at once.
_AT_ONCE = 256

Floats = NDArray[np.float64]


class Region(ABC):
    """Where objects are looked for. A window touches a region that shares area with it, not only an edge."""

    @abstractmethod
    def touching(self, windows: ArrayLike) -> Flags:
        """Which of the windows (N, 4), xyxy in pixels of the picture, share area with the region."""

    @abstractmethod
    def contains(self, points: ArrayLike) -> Flags:
        """Which of the points (N, 2), x and y in pixels of the picture, lie in the region."""

    @abstractmethod
    def of_picture(self, size: Size) -> Region:
        """The region in a picture of `size` (height, width).

        Raises
        ------
        FineSpotError
            It is a mask of another shape.
        """

    def touches(self, window: Window) -> bool:
        """Whether the window shares area with the region."""
        return bool(self.touching([window])[0])


@dataclass(frozen=True, eq=False)
class Polygons(Region):
    """What lies in one polygon or more.

    Attributes
    ----------
    polygons:
        For each its rings (n, 2), x and y, which close by themselves. What an odd number of its rings encloses belongs
        to a polygon, so rings inside the first are holes.
    """

    polygons: tuple[tuple[Floats, ...], ...]
    _edges: tuple[Floats, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # (n, 4) for each polygon: from x, y to x, y.
        joined = [
            np.concatenate([np.concatenate([ring, np.roll(ring, -1, 0)], 1) for ring in rings])
            for rings in self.polygons
        ]
        object.__setattr__(self, "_edges", tuple(joined))

    def touching(self, windows: ArrayLike) -> Flags:
        """See `Region`."""
        given = np.asarray(windows, np.float64).reshape(-1, 4)
        # A window that no edge crosses lies in the region or outside of it as a whole.
        found = self.contains((given[:, :2] + given[:, 2:]) / 2)
        edges = np.concatenate(self._edges)
        low, high = np.minimum(edges[:, :2], edges[:, 2:]), np.maximum(edges[:, :2], edges[:, 2:])
        for part in _parts(len(given)):
            own = given[part]
            near = ((low < own[:, 2:].max(0)) & (high > own[:, :2].min(0))).all(1)
            found[part] |= _crossed(own, edges[near])
        return found

    def contains(self, points: ArrayLike) -> Flags:
        """See `Region`."""
        given = np.asarray(points, np.float64).reshape(-1, 2)
        found = np.zeros(len(given), bool)
        for edges in self._edges:
            low, high = np.minimum(edges[:, 1], edges[:, 3]), np.maximum(edges[:, 1], edges[:, 3])
            for part in _parts(len(given)):
                own = given[part]
                near = (low <= own[:, 1].max()) & (high > own[:, 1].min())
                found[part] |= _enclosed(own, edges[near])
        return found

    def of_picture(self, size: Size) -> Polygons:
        """See `Region`."""
        return self


@dataclass(frozen=True, eq=False)
class Mask(Region):
    """Where `pixels` (height, width) are true. One pixel of the picture is `scale` (y, x) pixels of the mask."""

    pixels: Flags
    scale: tuple[float, float] = (1.0, 1.0)
    name: str = "mask"
    _sums: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sums = np.zeros((self.pixels.shape[0] + 1, self.pixels.shape[1] + 1), np.int64)
        self.pixels.cumsum(0, np.int64).cumsum(1, out=sums[1:, 1:])
        object.__setattr__(self, "_sums", sums)

    def touching(self, windows: ArrayLike) -> Flags:
        """See `Region`."""
        scale, size = np.array(self.scale[::-1]), np.array(self.pixels.shape[::-1])
        given = np.asarray(windows, np.float64).reshape(-1, 4)
        # Rounded to a millionth first: 0.1 * 30 is no more than 3.
        low = np.clip(np.floor(np.round(given[:, :2] * scale, 6)), 0, size).astype(np.int64)
        high = np.clip(np.ceil(np.round(given[:, 2:] * scale, 6)), 0, size).astype(np.int64)
        (x1, y1), (x2, y2), sums = low.T, np.maximum(high, low).T, self._sums
        touched: Flags = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1] > 0
        return touched

    def contains(self, points: ArrayLike) -> Flags:
        """See `Region`."""
        size = np.array(self.pixels.shape[::-1])
        place = np.asarray(points, np.float64).reshape(-1, 2) * np.array(self.scale[::-1])
        inside = ((place >= 0) & (place < size)).all(1)
        x, y = np.clip(place, 0, size - 1).astype(np.int64).T
        found: Flags = inside & self.pixels[y, x]
        return found

    def of_picture(self, size: Size) -> Mask:
        """See `Region`."""
        (height, width), (high, wide) = size, self.pixels.shape
        if abs(wide / width * height - high) >= 1 or abs(high / height * width - wide) >= 1:
            raise FineSpotError(
                f"expected a mask of the picture's shape, {width} x {height}, but got {wide} x {high}",
                where=self.name,
                hint="a mask has the size of its picture, or is the same scaled",
            )
        scale = (high / height, wide / width)
        return self if scale == self.scale else Mask(self.pixels, scale, self.name)


def touched_cells(region: Region, window: Window, shape: tuple[int, int]) -> Flags:
    """Which of (rows, columns) equal cells of a window of the picture touch the region."""
    (x1, y1, x2, y2), (rows, columns) = window, shape
    y, x = y1 + np.arange(rows + 1) * ((y2 - y1) / rows), x1 + np.arange(columns + 1) * ((x2 - x1) / columns)
    cells = np.stack(np.broadcast_arrays(x[None, :-1], y[:-1, None], x[None, 1:], y[1:, None]), -1)
    return region.touching(cells.reshape(-1, 4)).reshape(shape)


def read_region(path: str | Path) -> Region:
    """A region from a GeoJSON file (`.geojson`, `.json`) in pixels of the picture, or from a mask picture.

    Of GeoJSON: Polygon and MultiPolygon, alone, as Features or in a FeatureCollection. Of a mask, what is white (in the
    brighter half of its range) belongs to the region; colors are taken as their mean.

    Raises
    ------
    FineSpotError
        The file cannot be read, holds something else, or nothing is in the region.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise FineSpotError("expected a GeoJSON file or a mask picture but there is none", where=place)
    return _read_polygons(place) if place.suffix.lower() in GEOJSON else _read_mask(place)


def polygons_of(value: Any, where: object = None) -> Polygons:
    """The polygons of a GeoJSON object, as Python values; `where` is put in front of errors.

    Raises
    ------
    FineSpotError
        It is no GeoJSON, holds something else than polygons, or none.
    """
    found = [_rings(one, where) for geometry in _geometries(value, where) for one in geometry]
    if not found:
        raise FineSpotError("expected a polygon or more but got none", where=where)
    return Polygons(tuple(found))


def _read_polygons(path: Path) -> Polygons:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FineSpotError(f"cannot be read as GeoJSON ({error})", where=path) from error
    return polygons_of(value, path)


def _read_mask(path: Path) -> Mask:
    picture = images.open_image(path)
    pixels = images.to_rgb8(picture.read(None), picture.bit_depth)
    gray = pixels.astype(np.uint16).sum(2) / 3
    white = gray >= _WHITE
    if not white.any():
        raise FineSpotError(
            f"expected a mask with white where to look but its brightest pixel is {gray.max():.0f} of 255",
            where=path,
        )
    return Mask(white, name=str(path))


def _geometries(value: Any, where: object) -> Iterator[Sequence[Any]]:
    """For each geometry its polygons as lists of rings."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection":
        for feature in _listed(value.get("features"), "features", where):
            yield from _geometries(feature, where)
    elif kind == "Feature":
        yield from _geometries(value.get("geometry"), where)
    elif kind == "Polygon":
        yield [value.get("coordinates")]
    elif kind == "MultiPolygon":
        yield _listed(value.get("coordinates"), "coordinates", where)
    else:
        got = f"'{kind}'" if isinstance(kind, str) else type(value).__name__
        raise FineSpotError(
            f"expected a Polygon, MultiPolygon, Feature or FeatureCollection but got {got}", where=where
        )


def _rings(value: Any, where: object) -> tuple[Floats, ...]:
    rings = tuple(_ring(one, where) for one in _listed(value, "rings", where))
    if not rings:
        raise FineSpotError("expected a polygon of one ring or more but got none", where=where)
    return rings


def _ring(value: Any, where: object) -> Floats:
    try:
        points = np.array([[float(x), float(y)] for x, y, *_ in _listed(value, "points", where)], np.float64)
    except (TypeError, ValueError) as error:
        raise FineSpotError("expected rings of points [x, y] in numbers", where=where) from error
    if len(points) < 4 or not np.isfinite(points).all():
        raise FineSpotError(
            f"expected rings of four points or more, all finite, but got one of {len(points)}", where=where
        )
    if (points[0] != points[-1]).any():
        raise FineSpotError("expected closed rings but one ends elsewhere than it begins", where=where)
    return points[:-1]


def _listed(value: Any, what: str, where: object) -> list[Any]:
    if not isinstance(value, list):
        raise FineSpotError(f"expected a list of {what} but got {type(value).__name__}", where=where)
    return value


def _parts(count: int) -> Iterable[slice]:
    return (slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE))


def _enclosed(points: Floats, edges: Floats) -> Flags:
    """Which points have an odd number of the edges to their right."""
    x, y = points[:, :1], points[:, 1:]
    x1, y1, x2, y2 = edges.T
    across = (y1 <= y) != (y2 <= y)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    odd: Flags = (across & right).sum(1) % 2 == 1
    return odd


def _crossed(windows: Floats, edges: Floats) -> Flags:
    """Which windows an edge runs through, not only along their border."""
    start, along = edges[:, :2], edges[:, 2:] - edges[:, :2]
    low, high = windows[:, None, :2] - start, windows[:, None, 2:] - start
    with np.errstate(divide="ignore", invalid="ignore"):
        enter, leave = np.minimum(low / along, high / along), np.maximum(low / along, high / along)
    # An edge at right angles to an axis is between its ends all the way, or nowhere.
    still = np.broadcast_to(along == 0, low.shape)
    between = (low < 0) & (high > 0)
    enter = np.where(still, np.where(between, -np.inf, np.inf), enter)
    leave = np.where(still, np.where(between, np.inf, -np.inf), leave)
    crossed: Flags = (np.minimum(leave.min(2), 1) > np.maximum(enter.max(2), 0)).any(1)
    return crossed
