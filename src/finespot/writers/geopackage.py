"""Detections in a raster as GeoPackage (OGC 12-128): a table of polygons in the raster's own coordinate system.

Written by pyogrio, block by block, under a temporary name.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, import_extra
from finespot.images import GeoReference
from finespot.structures import Classes, Detections
from finespot.writers.atomic import make_folder
from finespot.writers.footprints import RASTER, footprints
from finespot.writers.naming import Names

_FIELDS = ("class", "label", "score", "length", "width")


class GeoPackageWriter:
    """`<name>.gpkg` with one layer, `<name>`, of polygons with class, label, score, length and width (meters)."""

    needs_pixels = False

    def __init__(self, name: str, place: GeoReference | None) -> None:
        self.name, self.place = name, place
        self._pyogrio = import_extra("pyogrio", "geo")
        self._shapely = import_extra("shapely", "geo")

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder and the empty table."""
        self._path = make_folder(folder) / f"{self.name}.gpkg"
        self._part = self._path.with_name(f".{self._path.stem}.{os.getpid()}.part.gpkg")
        self._append = False
        self.write(Detections.empty((0, 0), Classes((self.name,))))

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Add detections, in pixels of the raster."""
        if self._append and not len(detections):
            return
        places = footprints(detections, self.place, RASTER)
        count = len(detections)
        sides = np.full((count, 2), np.nan) if places.sides is None else places.sides
        names = np.array([detections.classes[label] for label in detections.labels.tolist()], object)
        crs = self.place.crs if self.place is not None and self.place.crs else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that there is no CRS is said elsewhere
                self._pyogrio.raw.write(
                    str(self._part),
                    geometry=self._shapely.to_wkb(self._shapely.polygons(places.rings)),
                    field_data=[names, detections.labels, detections.scores.astype(np.float64), *sides.T],
                    fields=_FIELDS,
                    geometry_type="Polygon",
                    crs=crs,
                    layer=self.name,
                    driver="GPKG",
                    append=self._append,
                )
        except (self._pyogrio.errors.DataSourceError, OSError) as error:
            raise FineSpotError(f"cannot be written ({error})", where=self._path) from error
        self._append = True

    def close(self) -> Path:
        """Give the file its name; returns its path."""
        try:
            os.replace(self._part, self._path)
        except OSError as error:
            raise FineSpotError(f"cannot be written ({error.strerror or error})", where=self._path) from error
        finally:
            self.discard()
        return self._path

    def discard(self) -> None:
        """Leave the file unwritten."""
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)
