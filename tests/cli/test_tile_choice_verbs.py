"""Tiles chosen at the command line: how many run, what is written and said of it, what is refused."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_factory import Run, dark_clip, refused
from PIL import Image

from finespot.cli.window_views import TileViews
from finespot.inference import Outcome, TileView, load_seeker
from finespot.structures import Classes, Detections


class Brightness:
    """A seeker whose heat is the greatest brightness in cells of 10 px."""

    threshold, recall, lost = 0.5, 0.99, 0.004

    def heat(self, pixels: np.ndarray) -> np.ndarray:
        high, wide = (side // 10 for side in pixels.shape[:2])
        return (pixels[..., 0] / np.float32(255)).reshape(high, 10, wide, 10).max((1, 3))


@pytest.fixture
def seeker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Replaces what reads seekers; holds what was asked for."""
    asked: list[tuple[str, int]] = []

    def load_seeker(path: str, *, threads: int, device: str) -> Brightness:
        asked.append((path, threads))
        return Brightness()

    monkeypatch.setattr("finespot.inference.chooser.load_seeker", load_seeker)
    return asked


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """300 x 200 px with two bright places: of 20 tiles of 64 px, two show all of it."""
    pixels = np.zeros((200, 300, 3), np.uint8)
    pixels[30:38, 40:48] = pixels[150:160, 220:230] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def figures(folder: Path) -> dict[str, object]:
    (row,) = json.loads((folder / "windows.json").read_text())
    return row


class OneEach:
    """Costs of one operation a tile."""

    def of(self, view: TileView) -> tuple[float, float]:
        return float(len(view.windows)), float(view.possible - len(view.windows))

    def line(self, spent: float, saved: float, pictures: int) -> str:
        return f"{spent:g} spent, {saved:g} saved on {pictures}"


@pytest.mark.parametrize(("drawn", "told"), [(True, ["3 spent, 9 saved on 3"]), (False, [])])
def test_no_picture_is_remembered(drawn: bool, told: list[str]) -> None:
    """Of a long run only the current view is in memory; sums are kept of what was drawn."""
    made: list[weakref.ref[np.ndarray]] = []

    def outcomes() -> Iterator[Outcome]:
        for number in range(3):
            tiles = np.zeros((number, 4), np.float32)
            made.append(weakref.ref(tiles))
            view = TileView((8, 8), np.ones((1, 1), np.float32), tiles, number, 4, uniform=False, limited=False)
            yield Outcome(number, Detections.empty((8, 8), Classes(("a",))), view=view)

    views = TileViews(OneEach)  # type: ignore[arg-type]
    alive = []
    for _ in views.watched(outcomes()):
        if drawn:
            assert views.look().figures["gflops"] == len(made) - 1
        alive.append(sum(one() is not None for one in made))
    assert max(alive) <= 2
    assert views.summary() == told


@pytest.mark.slow
def test_tiles_that_a_seeker_chose(
    run: Run, tiny: Path, picture: Path, tmp_path: Path, seeker: list[tuple[str, int]]
) -> None:
    words = ["predict", tiny, picture, "--slice", "64", "--threads", "1", "--project", tmp_path / "runs"]
    shown = [*words, "--seeker", "hit-uav-seeker", "--view-windows", "--no-images", "--format", "png"]
    code, said, wrong = run(*shown, "--name", "few")
    assert (code, wrong) == (0, "")
    assert seeker == [("hit-uav-seeker", 1)]
    assert "92 % of tiles skipped (2 of 24 computed), 0.4 % of objects lost on val" in said
    assert "(seeker calibrated for 99 %)" in said
    assert "ms a picture saved" in said
    row = figures(tmp_path / "runs" / "few")
    assert (row["picture"], row["windows"], row["possible"]) == (str(picture), 2, 24)
    assert (row["uniform"], row["limited"]) == (False, False)
    assert row["ms_saved"] == pytest.approx(22 * row["ms"]["window"] - row["ms"]["seeker"], abs=0.1)  # type: ignore[index]
    whole, spent = row["gflops"] + row["gflops_saved"], row["gflops"]  # type: ignore[operator]
    looked = load_seeker("hit-uav-seeker").gflops((200, 300))
    assert spent == pytest.approx(2 / 24 * whole + looked, abs=2e-4)
    assert f"{spent:.1f} GFLOPs a picture, seeker included, where all tiles take {whole:.1f} (" in said
    drawn = np.asarray(Image.open(tmp_path / "runs" / "few" / "windows" / "one.png"))
    green = (drawn[:200] == (60, 255, 120)).all(2)
    assert 2 * 200 < green.sum() < 2 * 64 * 4 * 5
    # The hot places are tinted, the rest is as it was.
    assert (drawn[34, 44] != 255).any()
    assert (drawn[100, 140] == 0).all()
    for name, more, count in (("most", ["--max-tiles", "1"], 1), ("full", ["--uniform-above", "0"], 24)):
        assert run(*shown, *more, "--name", name)[0] == 0
        row = figures(tmp_path / "runs" / name)
        assert (row["windows"], row["uniform"]) == (count, name == "full")
    Image.new("RGB", (300, 200), "white").save(picture)
    assert run(*shown, "--budget-ms", "0.001", "--name", "time")[0] == 0
    assert run(*shown, "--name", "bright")[0] == 0
    timed, bright = (figures(tmp_path / "runs" / name) for name in ("time", "bright"))
    assert (timed["limited"], bright["limited"]) == (True, False)
    assert timed["windows"] < bright["windows"]  # type: ignore[operator]


@pytest.mark.slow
def test_a_region_of_a_file(run: Run, tiny: Path, picture: Path, tmp_path: Path) -> None:
    ring = [[0, 0], [50, 0], [50, 200], [0, 200], [0, 0]]
    (tmp_path / "area.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    words = ["predict", tiny, picture, "--slice", "64", "--project", tmp_path / "runs", "--view-windows"]
    code, said, _ = run(*words, "--roi", tmp_path / "area.geojson", "--name", "area", "--conf", "0")
    assert code == 0
    assert "83 % of tiles skipped (4 of 24 computed)" in said
    assert "objects lost" not in said
    assert "looked at in full" not in said
    row = figures(tmp_path / "runs" / "area")
    assert (row["windows"], row["uniform"]) == (4, False)
    found = json.loads((tmp_path / "runs" / "area" / "predictions.json").read_text())
    assert len(found) > 0
    assert all(one["bbox"][0] + one["bbox"][2] / 2 <= 50 for one in found)
    Image.fromarray(np.ones((200, 200), bool)).save(tmp_path / "mask.png")
    refused(
        run(*words, "--roi", tmp_path / "mask.png"), "mask.png", "expected a mask of the picture's shape, 300 x 200"
    )
    refused(run(*words, "--roi", tmp_path / "none.geojson"), "none.geojson", "there is none")


@pytest.mark.slow
def test_frames_of_a_video(run: Run, tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    dark_clip(tmp_path / "clip.mp4", 4, (128, 192))
    words = ["predict", tiny, tmp_path / "clip.mp4", "--slice", "64", "--project", tmp_path / "runs", "--no-images"]
    counts = []
    for more in ([], ["--refresh", "2"], ["--refresh", "6"], ["--max-tiles", "4"]):
        code, said, wrong = run(*words, *more, "--conf", "1", "--name", "clip")
        assert (code, wrong) == (0, "")
        counts.append(int(said.split(" of 48 computed")[0].rsplit("(", 1)[1]) if more else 48)
    # A budget spreads the first look at all tiles over frames; then two have their turn in each.
    assert counts == [48, 12 + 3 * 6, 12 + 3 * 2, 4 + 4 + 4 + 2]
    code, said, wrong = run(*words, "--refresh", "2", "--view-windows", "--conf", "1", "--name", "figures")
    assert (code, wrong) == (0, "")
    assert "GFLOPs a picture where all tiles take" in said
    rows = json.loads((tmp_path / "runs" / "figures" / "windows.json").read_text())
    assert [row["windows"] for row in rows] == [12, 6, 6, 6]
    assert not (tmp_path / "runs" / "figures" / "windows").exists()
    refused(run(*words, "--refresh", "2", "--view-windows", "--line-width", "2"), "line-width")


@pytest.mark.slow
def test_what_has_no_effect_is_refused(
    run: Run, tiny: Path, picture: Path, tmp_path: Path, seeker: list[tuple[str, int]], dataset: Path
) -> None:
    words = ["predict", tiny, picture, "--project", tmp_path / "runs"]
    refused(run(*words, "--seeker", "s"), "seeker: chooses tiles, but nothing is cut; give --slice too, as 640")
    refused(run(*words, "--slice", "0", "--seeker", "s"), "seeker: chooses tiles, but nothing is cut")
    refused(run(*words, "--slice", "64", "--max-tiles", "3"), "max-tiles: has no effect where all tiles are looked at")
    refused(run(*words, "--slice", "64", "--budget-ms", "0", "--seeker", "s"), "budget-ms: expected more than 0")
    refused(run(*words, "--slice", "64", "--uniform-above", "1"), "uniform-above: has no effect without a seeker")
    refused(run(*words, "--slice", "64", "--view-windows"), "this network does not choose windows", "--seeker")
    refused(
        run("val", tiny, "--data", f"coco:{dataset}", "--seeker", "s", "--project", tmp_path / "runs"),
        "seeker: chooses tiles, but nothing is cut",
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_validation(run: Run, tiny: Path, dataset: Path, tmp_path: Path, seeker: list[tuple[str, int]]) -> None:
    for name in "ab":
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[5:15, 5:15] = 255 if name == "a" else 0
        Image.fromarray(pixels).save(dataset / "images" / "val" / f"{name}.png")
    words = ["val", tiny, "--data", f"coco:{dataset}", "--slice", "32", "--no-plots", "--project", tmp_path / "runs"]
    words += ["--overwrite", "--seeker", "hit-uav-seeker", "--coverage"]
    code, said, wrong = run(*words)
    assert (code, wrong) == (0, "")
    assert "92 % of tiles skipped (1 of 12 computed), 50.0 % of objects lost on val" in said
    assert "lost, their centers in no tile, by side in pixels: 8 to 16 50.0 %" in said
    report = json.loads((tmp_path / "runs" / "run" / "report.json").read_text())
    assert (report["skipping"]["tiles"], report["skipping"]["lost"]) == (1, 0.5)
    assert report["coverage"]["values"]["BPR center"] == 0.5
    assert report["savings"]["gflops"] > 0
    assert "GFLOPs a picture, seeker included, where all tiles take" in said
    looks = tmp_path / "runs" / "run" / "looks"
    assert not looks.exists()
    assert "(6 of 12 computed)" in run(*words, "--uniform-above", "0")[1]
    assert run(*(word for word in words if word != "--no-plots"))[0] == 0
    for name in "ab":
        page = np.asarray(Image.open(looks / f"{name}.jpg"))
        truth, found = (part[:40, :60] > 40 for part in np.split(page, 2, 1))
        # Both have an object of their own; the seeker sees the bright one.
        assert truth.any()
        assert found.any() == (name == "a")
    ring = [[20, 0], [60, 0], [60, 40], [20, 40], [20, 0]]
    (tmp_path / "area.json").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    code, said, _ = run(*words[:-3], "--roi", tmp_path / "area.json")
    assert code == 0
    assert "2 of 2 objects lie outside of the region and do not count" in said
    for name in "ab":
        Image.new("RGB", (60, 40), "white").save(dataset / "images" / "val" / f"{name}.png")
    computed = []
    for more in ([], ["--max-tiles", "2"], ["--budget-ms", "0.001"]):
        assert run(*words, *more)[0] == 0
        computed.append(json.loads((tmp_path / "runs" / "run" / "report.json").read_text())["skipping"]["tiles"])
    assert computed[:2] == [12, 4]
    assert computed[2] < 12
