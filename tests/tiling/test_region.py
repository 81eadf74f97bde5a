"""Regions of pictures: polygons with holes and masks, against shapes that are drawn pixel by pixel; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from finespot.errors import FineSpotError
from finespot.tiling import Mask, Polygons, polygons_of, read_region

SQUARE = [[10, 10], [50, 10], [50, 40], [10, 40], [10, 10]]
HOLE = [[20, 15], [40, 15], [40, 30], [20, 30], [20, 15]]
FAR = [[70, 60], [90, 60], [80, 80], [70, 60]]


def polygon(*rings: list[list[float]]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def collection(*geometries: dict[str, object]) -> dict[str, object]:
    features = [{"type": "Feature", "properties": {}, "geometry": one} for one in geometries]
    return {"type": "FeatureCollection", "features": features}


def saved(place: Path, value: object) -> Path:
    place.write_text(value if isinstance(value, str) else json.dumps(value))
    return place


def test_a_polygon_with_a_hole_and_another() -> None:
    region = polygons_of(collection(polygon(SQUARE, HOLE), polygon(FAR)))
    points = [(15, 20), (30, 20), (45, 35), (60, 20), (80, 65), (89, 79), (10, 10), (50, 40)]
    assert region.contains(points).tolist() == [True, False, True, False, True, False, True, False]
    windows = {
        (0, 0, 100, 100): True,
        (22, 17, 38, 28): False,  # in the hole
        (20, 15, 40, 30): False,  # the hole
        (19, 15, 40, 30): True,
        (50, 0, 100, 40): False,  # beside it
        (49, 0, 100, 40): True,
        (0, 0, 10, 100): False,
        (12, 12, 14, 14): True,  # within
        (0, 20, 100, 21): True,  # across, no corner of one in the other
        (84, 79, 90, 90): False,  # before a slanted edge
        (78, 79, 90, 90): True,
    }
    assert region.touching(list(windows)).tolist() == list(windows.values())
    assert [region.touches(one) for one in windows] == list(windows.values())
    assert region.of_picture((3, 4)) is region
    assert region.touching(np.zeros((0, 4))).shape == region.contains(np.zeros((0, 2))).shape == (0,)


def test_all_forms_are_read(tmp_path: Path) -> None:
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [FAR]]}
    tall = [[[x, y, 7.5] for x, y in ring] for ring in (SQUARE, HOLE)]
    forms = {
        2: [
            multi,
            {"type": "Feature", "geometry": multi},
            collection(multi),
            collection(polygon(SQUARE), polygon(FAR)),
        ],
        1: [polygon(SQUARE, HOLE), polygon(*tall), {"type": "Feature", "geometry": polygon(SQUARE)}],
    }
    for count, given_ in forms.items():
        for value in given_:
            region = read_region(saved(tmp_path / "area.geojson", value))
            assert isinstance(region, Polygons)
            assert len(region.polygons) == count
            assert region.contains([(15, 20), (60, 20)]).tolist() == [True, False]


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_polygons_of_whole_pixels_are_as_their_masks(seed) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.random((7, 9)) < rng.uniform(0.05, 0.9)
    squares = [np.array([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]], float) for y, x in np.argwhere(pixels)]
    if not squares:
        return
    polygons, mask = Polygons(tuple((one,) for one in squares)), Mask(pixels)
    x, y = rng.integers(-3, 10, 300), rng.integers(-3, 8, 300)
    windows = np.stack([x, y, x + rng.integers(1, 8, 300), y + rng.integers(1, 8, 300)], 1)
    assert np.array_equal(polygons.touching(windows), mask.touching(windows))
    points = rng.uniform(-2, 10, (300, 2))
    assert np.array_equal(polygons.contains(points), mask.contains(points))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_windows_touch_where_they_share_points(seed) -> None:
    rng = np.random.default_rng(seed)
    ring = rng.uniform(0, 60, (rng.integers(3, 9), 2))  # crossing itself, maybe
    region = Polygons(((ring,),))
    corner = rng.uniform(-10, 60, (40, 2))
    windows = np.concatenate([corner, corner + rng.uniform(1, 30, (40, 2))], 1)
    touched = region.touching(windows)
    for window, found in zip(windows, touched):
        inside = region.contains(rng.uniform(window[:2], window[2:], (400, 2))).any()
        assert found or not inside
        if found and not inside:  # little area: an edge runs through
            fine = np.concatenate([np.linspace(a, b, 4000) for a, b in zip(ring, np.roll(ring, -1, 0))])
            assert ((fine > window[:2] - 0.05) & (fine < window[2:] + 0.05)).all(1).any()


def test_a_mask_as_large_as_its_picture_or_scaled(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60), np.uint8)
    pixels[10:20, 30:45] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    region = read_region(tmp_path / "mask.png").of_picture((40, 60))
    assert region.contains([(30, 10), (44.9, 19.9), (45, 15), (29.9, 15), (-1, 15), (35, 400)]).tolist() == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    windows = [(0, 0, 30, 40), (0, 0, 31, 40), (45, 0, 60, 40), (44, 19, 60, 40), (44, 20, 60, 40), (0, 0, 60, 10)]
    assert region.touching(windows).tolist() == [False, True, False, True, False, False]
    larger = region.of_picture((400, 600))
    assert larger.touching(np.array(windows) * 10).tolist() == region.touching(windows).tolist()
    assert larger.contains([(300, 100), (299, 100)]).tolist() == [True, False]
    # 61 px halve to 30 or 31.
    assert region.of_picture((81, 121)).touches((0, 0, 121, 81))


def test_colors_and_sixteen_bits(tmp_path: Path) -> None:
    colors = np.zeros((4, 6, 3), np.uint8)
    colors[:2] = (255, 255, 255)
    colors[2:] = (255, 0, 0)
    Image.fromarray(colors).save(tmp_path / "colors.png")
    Image.fromarray(np.array([[0, 65535], [30000, 40000]], np.uint16)).save(tmp_path / "deep.png")
    one, two = (read_region(tmp_path / f"{name}.png") for name in ("colors", "deep"))
    assert isinstance(one, Mask)
    assert isinstance(two, Mask)
    assert one.pixels.tolist() == [[True] * 6] * 2 + [[False] * 6] * 2
    assert two.pixels.tolist() == [[False, True], [False, True]]


def test_masks_of_another_shape_and_dark_ones(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(tmp_path / "mask.png")
    region = read_region(tmp_path / "mask.png")
    for size, told in (((60, 40), "40 x 60"), ((400, 500), "500 x 400"), ((41, 64), "64 x 41")):
        with pytest.raises(FineSpotError, match=f"mask.png: expected a mask of the picture's shape, {told}, but got"):
            region.of_picture(size)
    Image.fromarray(np.ones((40, 60), np.uint8)).save(tmp_path / "dark.png")
    with pytest.raises(FineSpotError, match="expected a mask with white where to look but its brightest"):
        read_region(tmp_path / "dark.png")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{", "cannot be read as GeoJSON"),
        ({"type": "Point", "coordinates": [1, 2]}, "but got 'Point'"),
        ([1], "but got list"),
        ({"type": "Feature", "geometry": None}, "but got NoneType"),
        ({"type": "FeatureCollection", "features": []}, "expected a polygon or more but got none"),
        ({"type": "FeatureCollection"}, "expected a list of features but got NoneType"),
        (polygon(), "expected a polygon of one ring or more but got none"),
        (polygon(SQUARE[:4]), "expected closed rings but one ends elsewhere than it begins"),
        (polygon([[0, 0], [1, 1], [0, 0]]), "expected rings of four points or more, all finite, but got one of 3"),
        (polygon([[0, 0], [1, None], [2, 0], [0, 0]]), "expected rings of points"),
        (polygon([[0], [1], [2], [0]]), "expected rings of points"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 1], [1, 1], [0, 0]]]}', "all finite"),
    ],
)
def test_what_is_no_region(value: object, told: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "area.geojson", value)
    with pytest.raises(FineSpotError) as error:
        read_region(path)
    assert str(error.value).startswith(f"{path}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="expected a GeoJSON file or a mask picture but there is none"):
        read_region(tmp_path / "none.png")
