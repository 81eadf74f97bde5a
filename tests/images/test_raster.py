"""Rasters by windows: bands, masks, bit depth, scale; what is wrong with a file in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import images
from finespot.errors import FineSpotError
from finespot.images import PADDING, Raster, RasterView, Stretch, is_georeferenced, raster, stretch_of
from raster_factory import NOWHERE, noise, write_raster

RGBA = ("red", "green", "blue", "alpha")


def whole(view: RasterView) -> np.ndarray:
    return view.read((0, 0, view.size[1], view.size[0]))[0]


def test_what_a_file_is(tmp_path: Path) -> None:
    samples = noise(90, 130)
    path = write_raster(tmp_path / "a.tif", samples, tiled=True, blockxsize=32, blockysize=16)
    with Raster(path) as made:
        assert (made.size, made.bands, made.dtype, made.block) == ((90, 130), (1, 2, 3), np.uint8, (16, 32))
        assert not made.stripped
        assert made.place is not None
        assert made.place.transform == (0.1, 0, 500_000, 0, -0.1, 5_000_000)
        found, valid = made.read((10, 20, 40, 90))
    assert np.array_equal(found, samples[20:90, 10:40])
    assert valid is None


@pytest.mark.parametrize(
    ("count", "colors", "expected"),
    [
        (1, None, (1,)),
        (2, None, (1,)),
        (4, RGBA, (1, 2, 3)),
        (4, ("blue", "green", "red", "undefined"), (3, 2, 1)),
        (2, ("gray", "alpha"), (1,)),
        (5, None, (1, 2, 3)),
    ],
)
def test_which_bands_are_looked_at(tmp_path: Path, count: int, colors, expected: tuple[int, ...]) -> None:
    samples = noise(20, 30, count)
    path = write_raster(
        tmp_path / "a.tif", samples, colors=colors, **({"photometric": "MINISBLACK"} if count > 2 else {})
    )
    with Raster(path) as made:
        assert made.bands == expected
        assert any("alpha" in note for note in made.notes) == bool(colors and "alpha" in colors)
        assert any("--bands" in note for note in made.notes) == (
            colors in (None, ("blue", "green", "red", "undefined")) and count > 1
        )
        assert np.array_equal(made.read((0, 0, 30, 20))[0], samples[..., [one - 1 for one in expected]])


def test_bands_of_choice(tmp_path: Path) -> None:
    samples = noise(20, 30, 5)
    path = write_raster(tmp_path / "a.tif", samples)
    with Raster(path, [5, 1, 1]) as made:
        assert np.array_equal(whole(RasterView(made)), samples[..., [4, 0, 0]])
    with Raster(path, [4]) as made:
        assert np.array_equal(whole(RasterView(made)), samples[..., [3, 3, 3]])
    with pytest.raises(FineSpotError, match="bands from 1 to 5 but got 6"):
        Raster(path, [1, 2, 6])
    with pytest.raises(FineSpotError, match="one band or three"):
        Raster(path, [1, 2])


def test_colors_of_a_palette(tmp_path: Path) -> None:
    values = np.array([[[0], [7]], [[7], [200]]], np.uint8)
    path = write_raster(
        tmp_path / "a.tif", values, palette={0: (1, 2, 3, 255), 7: (10, 20, 30, 255), 200: (9, 8, 7, 255)}
    )
    with Raster(path) as made:
        assert stretch_of(made) == (None, [])
        assert whole(RasterView(made)).tolist() == [[[1, 2, 3], [10, 20, 30]], [[10, 20, 30], [9, 8, 7]]]


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask"])
def test_pixels_without_data_are_gray(tmp_path: Path, kind: str) -> None:
    samples = noise(40, 60)
    samples[:, :20] = 0
    held = np.ones((40, 60), bool)
    held[:, :20] = False
    if kind == "nodata":
        samples[5, 30] = (0, 9, 9)  # one band says nothing alone
        path = write_raster(tmp_path / "a.tif", samples, nodata=0)
    elif kind == "mask":
        path = write_raster(tmp_path / "a.tif", samples, held)
    else:
        joined = np.concatenate([samples, 255 * held[..., None].astype(np.uint8)], 2)
        path = write_raster(tmp_path / "a.tif", joined, colors=RGBA)
    with Raster(path) as made:
        view = RasterView(made)
        assert np.array_equal(whole(view), np.where(held[..., None], samples, PADDING))
        assert view.read((0, 0, 20, 40))[1] is False
        assert view.read((0, 0, 21, 40))[1] is True
        assert RasterView(made, (0.2, 0.2)).read((0, 0, 1, 8))[1] is False


def test_nan_holds_no_data(tmp_path: Path) -> None:
    samples = np.linspace(0, 1, 1200, dtype=np.float32).reshape(20, 60, 1)
    samples[:, :10] = np.nan
    with Raster(write_raster(tmp_path / "a.tif", samples)) as made:
        made_stretch, notes = stretch_of(made, "0,100")
        assert made_stretch is not None
        assert made_stretch.high[0] == pytest.approx(1)
        assert "float32" in notes[0]
        view = RasterView(made, stretch=made_stretch)
        assert (whole(view)[:, :10] == PADDING).all()
        assert view.read((0, 0, 10, 20))[1] is False
        assert whole(view)[-1, -1].tolist() == [255] * 3


class TestStretch:
    """From more bits to eight."""

    def test_percentiles_are_those_of_the_whole(self, tmp_path: Path) -> None:
        samples = noise(200, 300, 3, np.uint16, 4000)
        samples[..., 1] //= 2
        with Raster(write_raster(tmp_path / "a.tif", samples)) as made:
            found, notes = stretch_of(made, "1,99")
        assert found is not None
        assert np.allclose(found.low, np.percentile(samples.reshape(-1, 3), 1, axis=0))
        assert np.allclose(found.high, np.percentile(samples.reshape(-1, 3), 99, axis=0))
        assert "from percentile 1 to 99" in notes[0]

    def test_a_large_raster_is_sampled(self, tmp_path: Path) -> None:
        ramp = np.broadcast_to(np.arange(3000, dtype=np.uint16)[None, :, None], (1100, 3000, 1))
        path = write_raster(tmp_path / "a.tif", np.ascontiguousarray(ramp), tiled=True, compress="deflate")
        with Raster(path) as made:
            found, _ = stretch_of(made)
        assert found is not None
        assert found.low[0] == pytest.approx(30, abs=32)
        assert found.high[0] == pytest.approx(2970, abs=32)

    def test_from_an_overview(self, tmp_path: Path) -> None:
        import rasterio

        ramp = np.broadcast_to(np.arange(2200, dtype=np.uint16)[None, :, None], (600, 2200, 1))
        path = write_raster(tmp_path / "a.tif", np.ascontiguousarray(ramp), tiled=True)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4])
        with Raster(path) as made:
            samples, _ = made.sample()
            assert samples.shape == (279, 1024, 1)
            found, _ = stretch_of(made)
            coarse = made.overview(3)
            assert coarse is not None
            assert coarse.size == (300, 1100)
            coarse.close()
            assert RasterView(made, stretch=found).picture(500).shape == (136, 500, 3)
        assert found is not None
        assert found.high[0] == pytest.approx(2156, abs=10)

    def test_values_of_choice_and_none(self, tmp_path: Path) -> None:
        samples = np.array([[[0], [1500], [3000], [6000]]], np.uint16)
        with Raster(write_raster(tmp_path / "a.tif", samples)) as made:
            found, _ = stretch_of(made, "0:3000")
            assert whole(RasterView(made, stretch=found))[0, :, 0].tolist() == [0, 128, 255, 255]
            assert stretch_of(made, "none") == (None, [])
            assert whole(RasterView(made))[0, :, 0].tolist() == [0, 6, 12, 23]

    def test_bits_that_the_file_names(self, tmp_path: Path) -> None:
        samples = np.array([[[0], [4095]]], np.uint16)
        with Raster(write_raster(tmp_path / "a.tif", samples, nbits=12)) as made:
            assert made.bits == 12
            assert whole(RasterView(made))[0, :, 0].tolist() == [0, 255]

    def test_eight_bits_stay(self, tmp_path: Path) -> None:
        with Raster(write_raster(tmp_path / "a.tif", noise(20, 20))) as made:
            assert stretch_of(made) == (None, [])
            assert stretch_of(made, "2,98")[0] is not None

    def test_one_value_everywhere(self, tmp_path: Path) -> None:
        with Raster(write_raster(tmp_path / "a.tif", np.full((20, 20, 1), 500, np.uint16))) as made:
            assert stretch_of(made)[0] == Stretch((500,), (501,))

    @pytest.mark.parametrize("text", ["", "5", "98,2", "-1,50", "0,101", "1,2,3", "9:3", "a,b", "0:inf", "2,nan"])
    def test_other_words_are_refused(self, tmp_path: Path, text: str) -> None:
        with (
            Raster(write_raster(tmp_path / "a.tif", noise(20, 20))) as made,
            pytest.raises(FineSpotError, match="stretch"),
        ):
            stretch_of(made, text)

    def test_floats_have_no_full_range(self, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", noise(20, 20, 1, np.float32))
        with Raster(path) as made, pytest.raises(FineSpotError, match="no full range"):
            stretch_of(made, "none")

    def test_nothing_but_nodata(self, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", np.zeros((20, 20, 1), np.uint16), nodata=0)
        with Raster(path) as made, pytest.raises(FineSpotError, match="nothing but nodata"):
            stretch_of(made)


SCALES = [(0.6, 0.6), (0.31, 0.45), (1.7, 1.7), (0.1, 0.1), (1.0, 1.5), (0.024, 0.7)]


@pytest.mark.parametrize("scale", SCALES)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_window_shows_what_the_whole_shows(tmp_path_factory, scale: tuple[float, float], data) -> None:
    path = tmp_path_factory.mktemp("r") / "a.tif"
    with Raster(write_raster(path, noise(210, 330))) as made:
        view = RasterView(made, scale)
        everything = whole(view).astype(int)
        height, width = view.size
        assert (height, width) == (round(210 * scale[0]), round(330 * scale[1]))
        x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
        part = view.read((x1, y1, x2, y2))[0]
    # Rounded twice, to a gray level each time.
    assert abs(part - everything[y1:y2, x1:x2]).max() <= 2


def test_above_a_half_it_is_the_resampling_of_pictures(tmp_path: Path) -> None:
    samples = noise(210, 330)
    with Raster(write_raster(tmp_path / "a.tif", samples)) as made:
        view = RasterView(made, (0.6, 0.6))
        assert abs(whole(view).astype(int) - images.resize(samples, view.size)).max() <= 1


def test_strips_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Raster(write_raster(tmp_path / "a.tif", noise(211, 330))) as made:
        view = RasterView(made, (0.21, 0.34))
        at_once = whole(view)
        monkeypatch.setattr("finespot.images.raster_view._STRIP", 3000)
        assert np.array_equal(whole(view), at_once)


def test_an_object_keeps_its_place_at_any_scale(tmp_path: Path) -> None:
    samples = np.full((400, 600, 3), 20, np.uint8)
    samples[200:240, 300:380] = 250
    with Raster(write_raster(tmp_path / "a.tif", samples)) as made:
        for scale in SCALES[:4]:
            view = RasterView(made, scale)
            bright = whole(view)[..., 0] > 135
            rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
            box = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32)
            slack = 0.51 * max(view.step)
            assert np.allclose(view.to_raster(box), [[300, 200, 380, 240]], atol=slack)


class TestWrong:
    """One line for each."""

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="no such file"):
            Raster(tmp_path / "none.tif")

    def test_no_raster(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_text("text")
        with pytest.raises(FineSpotError, match="cannot be read") as error:
            Raster(tmp_path / "a.tif")
        assert "\n" not in str(error.value)

    def test_cut_off(self, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", noise(300, 300), tiled=True, blockxsize=64, blockysize=64)
        path.write_bytes(path.read_bytes()[:150_000])
        with Raster(path) as made, pytest.raises(FineSpotError, match="damaged, incomplete"):
            made.read((200, 200, 300, 300))

    def test_complex_numbers_and_several_types(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="real samples"):
            Raster(write_raster(tmp_path / "a.tif", noise(20, 20, 1, np.complex64)))

    def test_alpha_only(self, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", noise(20, 20, 1), colors=("alpha",))
        with pytest.raises(FineSpotError, match="alpha only"):
            Raster(path)

    def test_control_points(self, tmp_path: Path) -> None:
        import rasterio
        from rasterio.control import GroundControlPoint

        points = [GroundControlPoint(row, col, 13 + col, 52 - row) for row, col in ((0, 0), (0, 9), (9, 0))]
        profile = {"driver": "GTiff", "width": 20, "height": 20, "count": 1, "dtype": "uint8"}
        with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
            file.gcps = (points, "EPSG:4326")
        with pytest.raises(FineSpotError, match="gdalwarp"):
            Raster(tmp_path / "a.tif")

    def test_a_scale_of_nothing(self, tmp_path: Path) -> None:
        with (
            Raster(write_raster(tmp_path / "a.tif", noise(20, 20))) as made,
            pytest.raises(FineSpotError, match="scale"),
        ):
            RasterView(made, (0.0, 1.0))

    def test_one_piece_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(raster, "_LARGEST_BLOCK", 1000)
        with pytest.raises(FineSpotError, match=r"in tiles.*gdal_translate -co TILED=YES"):
            Raster(write_raster(tmp_path / "a.tif", noise(20, 20)))


def test_strips_are_said_with_the_command(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(20, 1100, 1))
    with Raster(path) as made:
        assert made.stripped
        note = made.notes[-1]
    assert (
        f"gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER {path} {tmp_path}/a_tiled.tif" in note
    )
    assert f"--co BIGTIFF=IF_SAFER {path} {tmp_path}/a_tiled.tif)" in note
    with Raster(write_raster(tmp_path / "b.tif", noise(20, 1100, 1), tiled=True)) as made:
        assert made.notes == []


@pytest.mark.slow
def test_the_command_makes_a_tiled_copy(tmp_path: Path) -> None:
    import subprocess
    import sys

    with Raster(write_raster(tmp_path / "a.tif", noise(40, 1100, 1))) as made:
        command = made.tiling_commands.partition("(or: ")[2].rstrip(")").split()
    rio = Path(sys.executable).parent / "rio"
    subprocess.run([rio, *command[1:]], check=True)
    with Raster(tmp_path / "a_tiled.tif") as made:
        assert not made.stripped


@pytest.mark.parametrize("options", [{}, {"BIGTIFF": "YES"}, {"driver": "JP2OpenJPEG"}, {"ENDIANNESS": "BIG"}])
def test_which_files_have_a_geo_reference(tmp_path: Path, options: dict) -> None:
    suffix = ".jp2" if "driver" in options else ".tif"
    assert is_georeferenced(write_raster(tmp_path / f"a{suffix}", noise(70, 70), **options))


def test_which_files_have_none(tmp_path: Path, samples: Path) -> None:
    assert not is_georeferenced(write_raster(tmp_path / "a.jp2", noise(70, 70), driver="JP2OpenJPEG", **NOWHERE))
    assert not is_georeferenced(next((samples / "images" / "val").glob("*.jpg")))
    assert not is_georeferenced(tmp_path / "none.tif")
    (tmp_path / "b.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert not is_georeferenced(tmp_path / "b.tif")
    from PIL import Image

    Image.fromarray(noise(10, 10)).save(tmp_path / "c.tif")
    assert not is_georeferenced(tmp_path / "c.tif")


def test_jpeg2000(tmp_path: Path) -> None:
    samples = noise(70, 90)
    path = write_raster(tmp_path / "a.jp2", samples, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    with Raster(path) as made:
        assert np.array_equal(whole(RasterView(made)), samples)
        assert made.place is not None


@pytest.mark.parametrize("more", [{}, {"BIGTIFF": "YES"}])
def test_cloud_optimized(tmp_path: Path, more: dict) -> None:
    """A COG is tiled and has overviews of its own, from which the stretch and whole views are read."""
    import rasterio

    samples = noise(700, 1300, dtype=np.uint16, top=4000)
    path = write_raster(tmp_path / "a.tif", samples, driver="COG", BLOCKSIZE=256, COMPRESS="DEFLATE", **more)
    with rasterio.open(path) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1)
    assert is_georeferenced(path)
    with Raster(path) as made:
        assert not made.stripped
        assert made.notes == []
        assert made.overview(2) is not None
        view = RasterView(made, stretch=Stretch((0.0,) * 3, (4000.0,) * 3))
        want = np.clip(samples[100:300, 500:900] / 4000 * 255, 0, 255)
        found = view.read((500, 100, 900, 300))[0]
        assert np.abs(found - want).max() <= 1
