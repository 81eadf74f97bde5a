"""Detections in a raster as GeoJSON: one polygon each, with class, score, and size in meters.

RFC 7946 knows longitude and latitude in WGS84 only; that is what is written. Coordinates in the raster's own system
carry the member `crs` of the format's older version (2008), which GDAL and QGIS read; some other readers ignore it.
Degrees are written to ten decimals (a hundredth of a millimeter), other units to five.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.images import GeoReference
from finespot.structures import Detections
from finespot.writers.atomic import GrowingFile
from finespot.writers.footprints import WGS84, Footprints, check_system, footprints
from finespot.writers.naming import Names


class GeoJsonWriter:
    """`<name>.geojson`, which takes its name when it is closed; features in the order in which they come, a line each.

    Parameters
    ----------
    place:
        Where the raster lies; None writes pixel coordinates, without a word of any system.
    system:
        `wgs84`, or `raster` for the raster's own.
    """

    needs_pixels = False

    def __init__(self, name: str, place: GeoReference | None, system: str = WGS84) -> None:
        check_system(system, place)
        self.name, self.place, self.system = name, place, system

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Begin the file, so that one that cannot be written is known before the work."""
        self._file, self._between = GrowingFile(Path(folder) / f"{self.name}.geojson"), b"\n"
        head = {"type": "FeatureCollection", "name": self.name, **self._system()}
        self._file.write(msgspec.json.encode(head)[:-1] + b',"features":[')

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Add detections, in pixels of the raster."""
        if not len(detections):
            return
        places = footprints(detections, self.place, self.system)
        for feature in _features(detections, places, self._decimals()):
            self._file.write(self._between + msgspec.json.encode(feature))
            self._between = b",\n"

    def close(self) -> Path:
        """Finish the file; returns its path."""
        return self._file.close(b"\n]}\n")

    def discard(self) -> None:
        """Leave the file unwritten."""
        self._file.discard()

    def _system(self) -> dict[str, object]:
        if self.place is None or self.system == WGS84 or not self.place.crs:
            return {}
        authority = self.place.authority
        name = self.place.crs if authority is None else f"urn:ogc:def:crs:{authority[0]}::{authority[1]}"
        return {"crs": {"type": "name", "properties": {"name": name}}}

    def _decimals(self) -> int:
        degrees = self.system == WGS84 or (self.place is not None and self.place.in_degrees)
        return 10 if self.place is not None and degrees else 5


def _features(found: Detections, places: Footprints, decimals: int) -> list[dict[str, object]]:
    rings = np.round(places.rings, decimals).tolist()
    sides = [[None, None]] * len(found) if places.sides is None else np.round(places.sides, 4).tolist()
    return [
        {
            "type": "Feature",
            "properties": {
                "class": found.classes[label],
                "label": label,
                "score": score,
                "length": length,
                "width": width,
            },
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for ring, (length, width), label, score in zip(rings, sides, found.labels.tolist(), found.scores.tolist())
    ]
