"""Scale and area from the ground: meters of the training pictures, square pixels, polygons in map coordinates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from rasterio.transform import Affine

from finespot.errors import FineSpotError
from finespot.images import Raster, RasterView
from finespot.inference import area_of, ground_scale
from raster_factory import NOWHERE, noise, write_raster

DEGREES = {"crs": "EPSG:4326", "transform": Affine(1e-6, 0, 13.0, 0, -1e-6, 52.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "a.tif", noise(200, 300))


class TestScale:
    @pytest.mark.parametrize("resolution", [0.05, 0.137, 0.2, 1.0])
    def test_any_factor(self, path: Path, resolution: float) -> None:
        with Raster(path) as raster:
            scale, notes = ground_scale(raster, resolution)
        assert scale == pytest.approx((0.1 / resolution,) * 2)
        assert f"read as ones of {resolution:g} m" in notes[0]

    @pytest.mark.parametrize("resolution", [0.1, 0.0985, 0.1015])
    def test_equal_ones_stay(self, path: Path, resolution: float) -> None:
        with Raster(path) as raster:
            assert ground_scale(raster, resolution)[0] == (1, 1)

    def test_nothing_known_of_the_training(self, path: Path) -> None:
        with Raster(path) as raster:
            assert ground_scale(raster, None) == ((1, 1), [])

    def test_a_factor_by_hand(self, path: Path) -> None:
        with Raster(path) as raster:
            assert ground_scale(raster, None, 0.3)[0] == (0.3, 0.3)

    def test_degrees_become_squares(self, tmp_path: Path) -> None:
        with Raster(write_raster(tmp_path / "a.tif", noise(200, 300), **DEGREES)) as raster:
            scale, notes = ground_scale(raster, None)
            assert scale == pytest.approx((1.6202, 1), abs=1e-3)
            assert "0.0687 x 0.111 m" in notes[0]
            scale, notes = ground_scale(raster, 0.2)
            assert scale == pytest.approx((0.5563, 0.3434), abs=1e-3)
            assert RasterView(raster, scale).size == (111, 103)

    def test_turned_rasters(self, tmp_path: Path) -> None:
        turned = Affine.translation(5e5, 5e6) @ Affine.rotation(33) @ Affine.scale(0.1, -0.1)
        with Raster(write_raster(tmp_path / "a.tif", noise(200, 300), transform=turned)) as raster:
            assert ground_scale(raster, 0.2)[0] == pytest.approx((0.5, 0.5))

    def test_no_ground_is_said(self, tmp_path: Path) -> None:
        with Raster(write_raster(tmp_path / "a.tif", noise(200, 300), **NOWHERE)) as raster:
            scale, notes = ground_scale(raster, 0.05)
            assert scale == (1, 1)
            assert "does not say how large" in notes[0]
            assert ground_scale(raster, None) == ((1, 1), [])

    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
    def test_no_scale(self, path: Path, value: float) -> None:
        with Raster(path) as raster:
            with pytest.raises(FineSpotError, match="train-gsd"):
                ground_scale(raster, value)
            with pytest.raises(FineSpotError, match="raster-scale"):
                ground_scale(raster, None, value)

    def test_centimeters_for_meters(self, path: Path) -> None:
        with Raster(path) as raster, pytest.raises(FineSpotError, match=r"16 times.*give meters"):
            ground_scale(raster, 0.001)


def area(path: Path, ring, crs: str | None = None) -> Path:
    value = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    if crs is not None:
        value["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(value))
    return path


PIXELS = np.array([[10, 20], [250, 30], [100, 180.0]])


class TestArea:
    def test_in_longitude_and_latitude(self, path: Path, tmp_path: Path) -> None:
        with Raster(path) as raster:
            ring = raster.place.to_lon_lat(PIXELS).tolist()  # type: ignore[union-attr]
            polygons, notes = area_of(area(tmp_path / "roi.geojson", ring), RasterView(raster, (0.5, 0.5)))
        assert notes == []
        corners = polygons.polygons[0][0][::16]
        assert np.allclose(corners, PIXELS / 2, atol=1e-3)
        assert polygons.contains([[60, 40], [5, 80]]).tolist() == [True, False]

    @pytest.mark.parametrize("crs", [None, "urn:ogc:def:crs:EPSG::32633"])
    def test_in_the_map_of_the_raster(self, path: Path, tmp_path: Path, crs: str | None) -> None:
        with Raster(path) as raster:
            ring = raster.place.to_map(PIXELS).tolist()  # type: ignore[union-attr]
            polygons, notes = area_of(area(tmp_path / "roi.geojson", ring, crs), RasterView(raster))
        assert np.allclose([polygons.polygons[0][0].min(0), polygons.polygons[0][0].max(0)], [[10, 20], [250, 180]])
        assert bool(notes) == (crs is None)

    def test_in_another_map(self, path: Path, tmp_path: Path) -> None:
        import pyproj

        with Raster(path) as raster:
            x, y = raster.place.to_map(PIXELS).T  # type: ignore[union-attr]
            moved = pyproj.Transformer.from_crs(32633, 3857, always_xy=True).transform(x, y)
            file = area(tmp_path / "roi.geojson", np.stack(moved, 1).tolist(), "EPSG:3857")
            polygons, _ = area_of(file, RasterView(raster))
        assert np.allclose(polygons.polygons[0][0][::16], PIXELS, atol=1e-3)

    def test_in_pixels_without_a_place(self, tmp_path: Path) -> None:
        with Raster(write_raster(tmp_path / "b.tif", noise(200, 300), **NOWHERE)) as raster:
            polygons, notes = area_of(area(tmp_path / "roi.geojson", PIXELS.tolist()), RasterView(raster))
        assert np.array_equal(polygons.polygons[0][0], PIXELS)
        assert "are pixels" in notes[0]

    def test_a_mask_is_laid_over_the_raster(self, path: Path, tmp_path: Path) -> None:
        with Raster(path) as raster:
            height, width = raster.size
            white = np.zeros((height // 10, width // 10), np.uint8)
            white[: height // 20] = 255
            Pillow.fromarray(white).save(tmp_path / "mask.png")
            region, notes = area_of(tmp_path / "mask.png", RasterView(raster, (0.5, 0.5)))
            assert notes == []
            assert region.contains([[width / 4, height / 8], [width / 4, height * 3 / 8]]).tolist() == [True, False]
            Pillow.fromarray(white[:, :3]).save(tmp_path / "thin.png")
            with pytest.raises(FineSpotError, match=r"thin\.png: expected a mask of the picture's shape"):
                area_of(tmp_path / "thin.png", RasterView(raster))

    @pytest.mark.parametrize(
        ("text", "words"),
        [("{", "cannot be read as GeoJSON"), ('{"type": "Point"}', "expected a Polygon"), (None, "cannot be read")],
    )
    def test_no_area(self, path: Path, tmp_path: Path, text: str | None, words: str) -> None:
        file = tmp_path / "roi.geojson"
        if text is not None:
            file.write_text(text)
        with Raster(path) as raster, pytest.raises(FineSpotError, match=words):
            area_of(file, RasterView(raster))

    @pytest.mark.slow
    def test_a_strange_system(self, path: Path, tmp_path: Path) -> None:
        with Raster(path) as raster, pytest.raises(FineSpotError, match="coordinate reference system cannot be read"):
            area_of(area(tmp_path / "roi.geojson", PIXELS.tolist(), "no such thing"), RasterView(raster))
