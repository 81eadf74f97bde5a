"""Pixels on the ground: corners, not centers; rotation; meters by unit, and along the geodesic where units lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.images import GeoReference

UTM = "EPSG:32633"
STEP = (0.05, 0.0, 400_000.0, 0.0, -0.05, 5_500_000.0)
ONE = [[0.0, 0.0, 1.0, 1.0]]


def test_pixel_zero_begins_at_the_corner() -> None:
    place = GeoReference(STEP, UTM)
    assert place.to_map([[0, 0]]).tolist() == [[400_000, 5_500_000]]
    assert place.to_map([[0.5, 10]]).tolist() == [[400_000.025, 5_499_999.5]]


@given(
    st.floats(-3, 3),
    st.floats(0.01, 5),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), min_size=1, max_size=5),
)
def test_to_pixels_turns_back(angle: float, side: float, points: list[tuple[float, float]]) -> None:
    c, s = side * math.cos(angle), side * math.sin(angle)
    place = GeoReference((c, s, 4e5, s, -c, 5.5e6), UTM)
    assert np.allclose(place.to_pixels(place.to_map(points)), points, atol=1e-4)


def test_longitude_and_latitude() -> None:
    place = GeoReference((0.05, 0, 500_000, 0, -0.05, 0), UTM)
    assert np.allclose(place.to_lon_lat([[0, 0]]), [[15, 0]], atol=1e-9)
    there = GeoReference(STEP, UTM)
    assert np.allclose(there.from_lon_lat(there.to_lon_lat([[100.25, 7]])), [[100.25, 7]], atol=1e-5)


def test_meters_of_a_projected_map_are_its_unit() -> None:
    assert np.allclose(GeoReference(STEP, UTM).side_meters([[0, 0, 40, 20]]), [[2.0, 1.0]], rtol=1e-9)
    feet = GeoReference((1, 0, 9e5, 0, -1, 2e5), "EPSG:2263")
    assert np.allclose(feet.side_meters(ONE), 0.3048006, rtol=1e-6)


def test_meters_of_a_rotated_map() -> None:
    c, s = 0.05 * math.cos(0.3), 0.05 * math.sin(0.3)
    place = GeoReference((c, s, 4e5, s, -c, 5.5e6), UTM)
    assert np.allclose(place.side_meters([[0, 0, 40, 20]]), [[2.0, 1.0]])


@pytest.mark.parametrize("latitude", [0, 52, 70])
def test_meters_of_degrees_depend_on_the_latitude(latitude: float) -> None:
    place = GeoReference((1e-5, 0, 13, 0, -1e-5, latitude), "EPSG:4326")
    across, down = place.side_meters(ONE)[0]  # type: ignore[index]
    # Radii of curvature of the ellipsoid: an independent formula.
    a, e2, phi = 6378137.0, 0.00669437999014, math.radians(latitude)
    w = 1 - e2 * math.sin(phi) ** 2
    assert across == pytest.approx(math.radians(1e-5) * a / math.sqrt(w) * math.cos(phi), rel=1e-5)
    assert down == pytest.approx(math.radians(1e-5) * a * (1 - e2) / w**1.5, rel=1e-5)


def test_meters_of_mercator_are_those_of_the_ground() -> None:
    web = GeoReference((1, 0, 1.4e6, 0, -1, 6.8e6), "EPSG:3857")
    across, down = web.side_meters(ONE)[0]  # type: ignore[index]
    assert 0.61 < across < 0.62
    assert 0.61 < down < 0.62


def test_a_map_without_a_unit() -> None:
    local = GeoReference(STEP, 'LOCAL_CS["site"]')
    assert local.side_meters(ONE) is None
    with pytest.raises(FineSpotError, match="does not say where on the earth"):
        local.to_lon_lat([[0, 0]])


def test_a_map_without_a_system() -> None:
    bare = GeoReference(STEP, "", "a.tif")
    assert bare.side_meters(ONE) is None
    assert bare.to_map([[0, 0]]).tolist() == [[400_000, 5_500_000]]
    with pytest.raises(FineSpotError, match=r"a\.tif: .*names none.*--crs raster"):
        bare.to_lon_lat([[0, 0]])


def test_a_place_that_the_map_does_not_know() -> None:
    with pytest.raises(FineSpotError, match="lies outside"):
        GeoReference((1, 0, 1e9, 0, -1, 1e9), UTM).to_lon_lat([[0, 0]])


def test_who_numbered_it() -> None:
    assert GeoReference(STEP, UTM).authority == ("EPSG", "32633")
    assert GeoReference(STEP, "+proj=utm +zone=33 +ellps=bessel +units=m").authority is None
    assert GeoReference(STEP).authority is None
    assert "EPSG:32633" in GeoReference(STEP, UTM).name
    with pytest.raises(FineSpotError, match="cannot be read"):
        _ = GeoReference(STEP, "no such thing").authority
