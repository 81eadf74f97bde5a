"""`finespot predict` on rasters: which files are one, what is written, what is refused, and going on after a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
from cli_factory import Run, refused
from PIL import Image

from finespot import images
from finespot.cli import rasters
from finespot.inference import JOURNAL
from raster_factory import NOWHERE, noise, write_raster

SMALL = ("--slice", "128", "--imgsz", "128", "--conf", "0.1", "--threads", "1")


@pytest.fixture(scope="module")
def pixels(samples: Path) -> np.ndarray:
    picture = images.open_image(samples / "images" / "val" / "1_70_70_0_07716.jpg")
    return np.ascontiguousarray(images.to_rgb8(picture.read(None), 8)[100:430, 400:620])


@pytest.fixture(scope="module")
def raster(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(
        tmp_path_factory.mktemp("raster") / "field.tif", pixels, tiled=True, blockxsize=64, blockysize=64
    )


@pytest.fixture
def predict(run: Run, tmp_path: Path):
    """The verb on a source with small tiles into a project of the test; words may be added."""

    def call(source: Path, *words: str | Path):
        return run("predict", "hit-uav-n", source, *SMALL, "--project", tmp_path / "runs", *words)

    return call


def features(path: Path) -> list[dict]:
    return json.loads(path.read_text())["features"]


@pytest.mark.slow
def test_from_file_to_map(predict, raster: Path, tmp_path: Path) -> None:
    code, out, _ = predict(raster, "--format", "geojson,gpkg")
    folder = tmp_path / "runs" / "run"
    assert code == 0
    assert "is read as a raster (it has a geo-reference): 220x330 px, WGS 84 / UTM zone 33N (EPSG:32633)" in out
    assert sorted(one.name for one in folder.iterdir()) == ["field.geojson", "field.gpkg", "field.jpg"]
    found = features(folder / "field.geojson")
    assert len(found) > 5
    assert ["all", str(len(found))] in [line.split() for line in out.splitlines()]
    assert len(pyogrio.raw.read(folder / "field.gpkg")[2]) == len(found)
    assert Image.open(folder / "field.jpg").size == (220, 330)
    lon, lat = np.array([one["geometry"]["coordinates"][0][0] for one in found]).T
    assert ((lon > 15) & (lon < 15.001) & (lat < 45.16) & (lat > 45.15)).all()
    assert "6 windows in" in out


@pytest.mark.slow
def test_options_have_effects(predict, raster: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    def found(*words: str | Path) -> tuple[list[dict], str]:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        code, out, error = predict(raster, "--no-images", *words)
        assert code == 0, error
        assert not list((tmp_path / "runs" / "run").glob("*.jpg"))
        return features(tmp_path / "runs" / "run" / "field.geojson"), out

    plain, _ = found()
    own, _ = found("--crs", "raster")
    assert own[0]["geometry"]["coordinates"][0][0][0] > 500_000
    assert len(found("--max-det", "3")[0]) == 3
    label = plain[0]["properties"]["class"]
    assert {one["properties"]["class"] for one in found("--classes", label)[0]} == {label}
    _, out = found("--train-gsd", "0.2")
    assert "the raster at 0.5 of its size" in out
    assert "2 windows in" in out
    assert "2 windows in" in found("--raster-scale", "0.5")[1]
    assert "6 windows in" in found("--train-gsd", "off")[1]
    assert found("--bands", "1,1,1")[0] == plain  # gray in three bands
    assert found("--stretch", "0:100")[0] != plain
    corner = {
        "type": "Polygon",
        "coordinates": [[[500_000, 5_000_000], [500_010, 5_000_000], [500_010, 4_999_990], [500_000, 5_000_000]]],
    }
    sought, out = found("--seeker", "hit-uav-seeker")
    assert " of 6 windows skipped: " in out
    assert "6 windows in" not in out
    assert 5 < len(sought) <= len(plain)
    (tmp_path / "roi.geojson").write_text(json.dumps(corner))
    inside, out = found("--roi", tmp_path / "roi.geojson")
    assert "4 of 6 windows lie outside the region" in out
    assert len(inside) < len(plain)
    left = np.zeros((33, 22), np.uint8)
    left[:, :4] = 255
    Image.fromarray(left).save(tmp_path / "roi.png")
    under, out = found("--roi", tmp_path / "roi.png")
    assert "windows lie outside the region" in out
    assert len(under) < len(plain)


@pytest.mark.slow
def test_weights_that_know_their_resolution(run: Run, raster: Path, tmp_path: Path) -> None:
    from finespot import weights

    detector, card = weights.load("hit-uav-n")
    card.resolution = 0.2
    own = weights.save(tmp_path / "own.safetensors", detector, card)
    words = (*SMALL, "--no-images", "--project", tmp_path / "runs")
    assert "pictures of training: 0.2 m of ground a pixel" in run("info", own)[1]
    assert "read as ones of 0.2 m" in run("predict", own, raster, *words)[1]
    assert "read as ones" not in run("predict", own, raster, *words, "--train-gsd", "off")[1]


@pytest.mark.slow
def test_the_tiles_are_said_where_nobody_asked(run: Run, raster: Path, tmp_path: Path) -> None:
    _, out, _ = run(
        "predict", "hit-uav-n", raster, "--imgsz", "64", "--project", tmp_path, "--no-images", "--max-det", "1"
    )
    assert "tiles of 64 px, the size of the input" in out


class TestWhatIsARaster:
    @pytest.mark.slow
    def test_a_plain_tiff_is_a_picture(self, predict, pixels: np.ndarray, tmp_path: Path) -> None:
        Image.fromarray(pixels).save(tmp_path / "plain.tif")
        assert rasters.raster_reason(str(tmp_path / "plain.tif"), None) is None
        code, out, _ = predict(tmp_path / "plain.tif", "--raster", "--no-images")
        assert code == 0
        assert "without geo-reference: coordinates are pixels" in out
        first = features(tmp_path / "runs" / "run" / "plain.geojson")[0]["geometry"]["coordinates"][0][0]
        assert 0 <= first[0] <= 220

    @pytest.mark.slow
    def test_a_raster_as_a_picture(self, predict, raster: Path, tmp_path: Path) -> None:
        code, _, _ = predict(raster, "--no-raster", "--no-images")
        assert code == 0
        assert (tmp_path / "runs" / "run" / "predictions.json").is_file()

    def test_a_very_large_picture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_raster(tmp_path / "a.tif", noise(300, 300), **NOWHERE)
        assert rasters.raster_reason(str(path), None) is None
        monkeypatch.setattr(rasters, "_TOO_LARGE", 80_000)
        assert rasters.raster_reason(str(path), None) == "its 0 megapixels are too many to be held at once"

    def test_others(self, tmp_path: Path, samples: Path) -> None:
        (tmp_path / "a.vrt").write_text("<VRTDataset/>")
        assert rasters.raster_reason(str(tmp_path / "a.vrt"), None) == "it is a mosaic of files"
        assert rasters.raster_reason(str(samples), None) is None
        assert rasters.raster_reason(str(tmp_path / "none.tif"), None) is None


class TestRefused:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--save-txt",), "save-txt: has no effect on a raster"),
            (("--max-tiles", "3"), "max-tiles: has no effect on a raster"),
            (("--seeker", "nowhere"), "nowhere"),
            (("--format", "png"), "format"),
            (("--format", "gpkg", "--crs", "raster"), "crs: has no effect on GeoPackage"),
            (("--crs", "utm"), "wgs84 or raster"),
            (("--bands", "1,2,9"), "bands from 1 to 3 but got 9"),
            (("--bands", "red"), "numbers of bands"),
            (("--stretch", "98,2"), "stretch"),
            (("--train-gsd", "fine"), "train-gsd"),
            (("--train-gsd", "0.1", "--raster-scale", "1"), "train-gsd"),
            (("--slice-whole",), "slice-whole"),
            (("--no-images", "--line-width", "2"), "line-width"),
            (("--resume",), "no run to resume"),
            (("--resume", "--overwrite"), "overwrite"),
            (("--roi", "none.geojson"), "cannot be read as GeoJSON"),
            (("--roi", "none.png"), "expected a GeoJSON file or a mask picture"),
        ],
    )
    def test_words(self, predict, raster: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
        refused(predict(raster, *words), said)
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        "words", [("--bands", "1"), ("--stretch", "none"), ("--crs", "raster"), ("--resume",), ("--train-gsd", "off")]
    )
    def test_words_for_pictures(self, predict, samples: Path, words: tuple[str, ...]) -> None:
        refused(predict(samples / "images" / "val", *words), "has no effect on pictures")

    @pytest.mark.slow
    def test_whole_rasters(self, run: Run, raster: Path, tmp_path: Path) -> None:
        refused(run("predict", "hit-uav-n", raster, "--slice", "0", "--project", tmp_path), "read by windows")

    @pytest.mark.slow
    def test_a_file_that_is_cut_off(self, predict, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", noise(300, 300), tiled=True, blockxsize=64, blockysize=64)
        path.write_bytes(path.read_bytes()[:150_000])
        refused(predict(path), "damaged, incomplete")
        assert [one.name for one in (tmp_path / "runs" / "run").iterdir()] == [JOURNAL]

    @pytest.mark.slow
    def test_a_system_without_a_unit(self, predict, tmp_path: Path, pixels: np.ndarray) -> None:
        path = write_raster(tmp_path / "a.tif", pixels, crs='LOCAL_CS["site",UNIT["metre",1]]')
        refused(predict(path), "does not say where on the earth", "--crs raster")
        assert predict(path, "--crs", "raster", "--no-images", "--train-gsd", "0.05")[0] == 0

    @pytest.mark.slow
    def test_an_area_elsewhere(self, predict, raster: Path, tmp_path: Path) -> None:
        far = {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]}
        (tmp_path / "roi.geojson").write_text(json.dumps(far))
        refused(predict(raster, "--roi", tmp_path / "roi.geojson"), "roi: ", "outside")

    @pytest.mark.slow
    def test_nothing_but_nodata(self, predict, tmp_path: Path) -> None:
        path = write_raster(tmp_path / "a.tif", np.zeros((200, 200, 3), np.uint8), nodata=0)
        refused(predict(path), "nothing but nodata")


@pytest.mark.parametrize("module", ["rasterio", "pyproj", "pyogrio"])
def test_one_clear_error_without_the_extra(
    predict, raster: Path, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    refused(predict(raster, "--format", "geojson,gpkg"), f"'{module}'", "pip install 'finespot[geo]'")


@pytest.mark.slow
def test_pictures_need_no_extra(predict, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rasterio", "pyproj", "shapely", "pyogrio"):
        monkeypatch.setitem(sys.modules, module, None)
    assert predict(samples / "images" / "val" / "1_70_70_0_07716.jpg", "--no-images")[0] == 0


# Each row is put down as ever, then waits, so that there is time to kill the process between two of them.
SLOW = """
import sys, time, finespot.cli
from finespot.inference.journal import Journal
add = Journal.add
def slow(self, record):
    add(self, record)
    time.sleep(1)
Journal.add = slow
finespot.cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_and_resumed(predict, raster: Path, tmp_path: Path) -> None:
    words = ["predict", "hit-uav-n", str(raster), *SMALL, "--project", str(tmp_path / "runs"), "--name", "cut"]
    journal = tmp_path / "runs" / "cut" / JOURNAL
    child = subprocess.Popen([sys.executable, "-c", SLOW, *words], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    left = sorted(one.name for one in journal.parent.iterdir())
    assert left[0].startswith(".field.geojson.")
    assert left[1:] == [JOURNAL]
    code, out, _ = predict(raster, "--name", "cut", "--resume")
    assert code == 0
    assert "resume: 1 of 3 rows" in out
    assert "4 windows in" in out
    assert sorted(one.name for one in journal.parent.iterdir()) == ["field.geojson", "field.jpg"]
    assert predict(raster, "--name", "whole")[0] == 0
    for name in ("field.geojson", "field.jpg"):
        assert (journal.parent / name).read_bytes() == (tmp_path / "runs" / "whole" / name).read_bytes()
    refused(predict(raster, "--name", "cut", "--resume"), "no run to resume")
