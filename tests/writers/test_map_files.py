"""GeoJSON and GeoPackage: corners of pixels in the map, not shifted, not rounded; sizes in meters; systems."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.images import GeoReference, Raster
from finespot.structures import Classes, Detections
from finespot.writers import GeoJsonWriter, GeoPackageWriter, footprints
from raster_factory import noise, write_raster

CLASSES = Classes(("car", "boat"))
NORTH_UP = (0.05, 0.0, 400_000.0, 0.0, -0.05, 5_500_000.0)
C, S = 0.05 * math.cos(0.4), 0.05 * math.sin(0.4)
TURNED = (C, S, 400_000.0, S, -C, 5_500_000.0)
SOUTH_UP = (0.05, 0.0, 400_000.0, 0.0, 0.05, 5_500_000.0)
UTM = "EPSG:32633"


def found(boxes=((10.25, 20.5, 30.75, 28.125), (0, 0, 1, 1))) -> Detections:
    count = len(boxes)
    scores, labels = np.linspace(0.9, 0.3, count), np.arange(count) % 2
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, labels, (500, 500), CLASSES, "a.tif")


def written(folder: Path, place: GeoReference | None, system: str = "wgs84", chunks=None) -> dict:
    writer = GeoJsonWriter("a", place, system)
    writer.open(folder)
    for chunk in chunks or [found()]:
        writer.write(chunk)
    return json.loads(writer.close().read_text())


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED, SOUTH_UP])
def test_corners_are_those_of_the_affine_transform(tmp_path: Path, transform) -> None:
    rings = written(tmp_path, GeoReference(transform, UTM), "raster")["features"][0]["geometry"]["coordinates"]
    a, b, c, d, e, f = transform
    expected = {(a * x + b * y + c, d * x + e * y + f) for x in (10.25, 30.75) for y in (20.5, 28.125)}
    assert len(rings) == 1
    assert rings[0][0] == rings[0][-1]
    assert np.allclose(sorted(map(tuple, rings[0][:-1])), sorted(expected), atol=1e-5)
    assert shapely.Polygon(rings[0]).exterior.is_ccw


def test_no_half_pixel_shift_against_rasterio(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "r.tif", noise(100, 100))
    with Raster(path) as raster, rasterio.open(path) as file:
        ring = written(tmp_path, raster.place, "raster")["features"][1]["geometry"]["coordinates"][0]
        corners = [file.xy(0, 0, offset=where) for where in ("ul", "ur", "ll", "lr")]
    # The box of the first pixel is the first pixel.
    assert np.allclose(sorted(ring[:-1]), sorted([float(x), float(y)] for x, y in corners), atol=1e-6)


@pytest.mark.slow
@given(st.lists(st.floats(0, 490, width=32), min_size=4, max_size=4))
def test_boxes_come_back(values: list[float]) -> None:
    (x1, x2), (y1, y2) = sorted(values[:2]), sorted(values[2:])
    place = GeoReference(TURNED, UTM)
    rings = footprints(found([(x1, y1, x2, y2)]), place, "wgs84").rings
    back = place.from_lon_lat(rings[0])
    assert np.allclose([*back.min(0), *back.max(0)], [x1, y1, x2, y2], atol=1e-4)


def test_longitude_and_latitude_by_default(tmp_path: Path) -> None:
    value = written(tmp_path, GeoReference(TURNED, UTM))
    assert "crs" not in value
    ring = np.array(value["features"][0]["geometry"]["coordinates"][0])
    back = GeoReference(TURNED, UTM).from_lon_lat(ring)
    assert np.allclose([*back.min(0), *back.max(0)], [10.25, 20.5, 30.75, 28.125], atol=1e-3)
    assert shapely.Polygon(ring).exterior.is_ccw
    assert pyogrio.read_info(tmp_path / "a.geojson")["crs"] == "EPSG:4326"


@pytest.mark.parametrize("crs", [UTM, "EPSG:4258", "EPSG:2263"])
def test_gdal_reads_the_system_of_the_raster(tmp_path: Path, crs: str) -> None:
    written(tmp_path, GeoReference((1e-5, 0, 13, 0, -1e-5, 52), crs), "raster")
    assert pyogrio.read_info(tmp_path / "a.geojson")["crs"] == crs


def test_gdal_reads_a_system_without_a_number(tmp_path: Path) -> None:
    wkt = rasterio.crs.CRS.from_proj4("+proj=tmerc +lon_0=13.3 +k=1 +ellps=bessel +units=m").to_wkt()
    written(tmp_path, GeoReference(NORTH_UP, wkt), "raster")
    assert "13.3" in pyogrio.read_info(tmp_path / "a.geojson")["crs"]


def test_what_a_feature_says(tmp_path: Path) -> None:
    features = written(tmp_path, GeoReference(NORTH_UP, UTM))["features"]
    assert features[0]["properties"] == {
        "class": "car",
        "label": 0,
        "score": pytest.approx(0.9),
        "length": pytest.approx(20.5 * 0.05),
        "width": pytest.approx(7.625 * 0.05, abs=1e-4),
    }
    assert features[1]["properties"]["class"] == "boat"


def test_meters_in_degrees_are_those_of_the_place(tmp_path: Path) -> None:
    place = GeoReference((1e-6, 0, 13, 0, -1e-6, 60), "EPSG:4326")
    sides = written(tmp_path, place, chunks=[found([(0, 0, 100, 100)])])["features"][0]["properties"]
    assert sides["length"] == pytest.approx(11.14, abs=0.01)
    assert sides["width"] == pytest.approx(5.58, abs=0.01)


def test_pixels_where_nobody_knows_the_place(tmp_path: Path) -> None:
    value = written(tmp_path, None)
    assert value["features"][0]["geometry"]["coordinates"][0][0] == [10.25, 20.5]
    assert value["features"][0]["properties"]["length"] is None
    assert "crs" not in value


def test_several_chunks_and_none_are_one_collection(tmp_path: Path) -> None:
    place = GeoReference(NORTH_UP, UTM)
    value = written(tmp_path, place, chunks=[found(), found([]), found([(1, 1, 2, 2)])])
    assert len(value["features"]) == 3
    assert written(tmp_path, place, chunks=[found([])])["features"] == []


@pytest.mark.parametrize("crs", ["", 'LOCAL_CS["site"]'])
def test_a_raster_that_does_not_say_where_it_is(tmp_path: Path, crs: str) -> None:
    place = GeoReference(NORTH_UP, crs)
    with pytest.raises(FineSpotError, match="--crs raster"):
        GeoJsonWriter("a", place)
    assert written(tmp_path, place, "raster")["features"][0]["properties"]["length"] is None


def test_another_system_is_unknown() -> None:
    with pytest.raises(FineSpotError, match="wgs84 or raster"):
        GeoJsonWriter("a", None, "utm")


class TestGeoPackage:
    def read(self, path: Path):
        meta, _, geometry, columns = pyogrio.raw.read(path)
        return meta, shapely.from_wkb(geometry), dict(zip(meta["fields"], columns))

    def test_the_same_in_the_map_of_the_raster(self, tmp_path: Path) -> None:
        place = GeoReference(TURNED, UTM)
        writer = GeoPackageWriter("a", place)
        writer.open(tmp_path)
        writer.write(found())
        writer.write(found([]))
        writer.write(found([(5, 5, 6, 7)]))
        path = writer.close()
        meta, polygons, columns = self.read(path)
        assert path == tmp_path / "a.gpkg"
        assert [one.name for one in tmp_path.iterdir()] == ["a.gpkg"]
        assert meta["crs"] == UTM
        assert columns["class"].tolist() == ["car", "boat", "car"]
        assert columns["label"].tolist() == [0, 1, 0]
        assert np.allclose(columns["score"], [0.9, 0.3, 0.9])
        assert np.allclose(columns["length"], [20.5 * 0.05, 0.05, 0.1])
        assert np.allclose(columns["width"], [7.625 * 0.05, 0.05, 0.05])
        expected = footprints(found(), place, "raster").rings
        assert np.array_equal(shapely.get_coordinates(polygons[0]), expected[0])

    def test_nothing_found_is_an_empty_table(self, tmp_path: Path) -> None:
        writer = GeoPackageWriter("a", GeoReference(NORTH_UP, UTM))
        writer.open(tmp_path)
        meta, polygons, _ = self.read(writer.close())
        assert len(polygons) == 0
        assert meta["crs"] == UTM

    def test_without_a_place(self, tmp_path: Path) -> None:
        writer = GeoPackageWriter("a", None)
        writer.open(tmp_path)
        writer.write(found())
        _, polygons, columns = self.read(writer.close())
        assert polygons[0].bounds == (10.25, 20.5, 30.75, 28.125)
        assert np.isnan(columns["length"].astype(float)).all()


@pytest.mark.parametrize("kind", [GeoJsonWriter, GeoPackageWriter])
def test_discarded_files_leave_nothing(tmp_path: Path, kind) -> None:
    writer = kind("a", GeoReference(NORTH_UP, UTM))
    writer.open(tmp_path)
    writer.write(found())
    assert len(list(tmp_path.iterdir())) == 1
    writer.discard()
    assert list(tmp_path.iterdir()) == []
