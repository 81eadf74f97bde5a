"""Networks on windows at the command line: drawings of where they looked, choices in a run, the threshold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cli_factory import Run, dark_clip, refused
from PIL import Image

from finespot import weights, zoo
from finespot.cli.window_views import WindowViews, choose_windows
from finespot.errors import FineSpotError
from finespot.inference import WindowView
from finespot.structures import Classes
from finespot.zoo import Savings
from raster_factory import write_raster


@pytest.fixture(scope="module")
def on_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network whose seeker fires at random."""
    return written(tmp_path_factory.mktemp("weights") / "windows.safetensors", "esod-yolov8n")


def written(path: Path, name: str) -> Path:
    torch.manual_seed(0)
    architecture = zoo.architecture(name, 2, core=8, halo=4, dense_above=None)
    detector = zoo.build(architecture)
    with torch.no_grad():
        detector.relay.predict.weight.mul_(40)
        detector.relay.predict.bias.zero_()
    card = weights.Card(architecture=architecture, classes=Classes(("a", "b")), imgsz=256, conf=0.0, max_det=20)
    return weights.save(path, detector, card)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (160, 256, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def figures(folder: Path) -> dict[str, object]:
    (row,) = json.loads((folder / "windows.json").read_text())
    return row


@pytest.fixture(scope="module")
def network() -> zoo.WindowedDetector:
    made = zoo.build(zoo.architecture("esod-yolov8n", 2))
    assert isinstance(made, zoo.WindowedDetector)
    return made


def session_of(network: zoo.WindowedDetector, **stored: object) -> Any:
    """A session of a network whose weights store these choices."""
    network.windows = replace(zoo.Windows(), **stored)  # type: ignore[arg-type]
    return SimpleNamespace(network=network)


@pytest.mark.parametrize(
    ("stored", "text", "told"),
    [
        ("all", "threshold=0.3", "windows, threshold: has no effect with select=all"),
        ("all", "budget=2", "windows, budget: has no effect with select=all"),
        ("oracle", "threshold=0.3", "windows, threshold: has no effect with select=oracle"),
        ("seeker", "select=all,budget=2", "windows, budget: has no effect with select=all"),
        ("oracle", "dense_above=0.5", "windows: an oracle needs the truth"),
    ],
)
def test_choices_without_effect_on_what_the_weights_store(
    network: zoo.WindowedDetector, stored: str, text: str, told: str
) -> None:
    session = session_of(network, select=stored)
    with pytest.raises(FineSpotError, match=told):
        choose_windows(session, text)
    assert network.windows == zoo.Windows(select=stored)
    choose_windows(session, f"{text},select=seeker" if "select" not in text else "budget=2")
    assert network.windows.select == "seeker"


@pytest.mark.parametrize(
    ("text", "dense_above"),
    [
        ("select=all", None),
        ("select=all,dense_above=1.5", 1.5),
        ("select=oracle", 1.0),
        ("budget=2", 1.0),
        ("dense_above=null", None),
    ],
)
def test_all_windows_are_not_the_whole_map(network: zoo.WindowedDetector, text: str, dense_above: float | None) -> None:
    choose_windows(session_of(network), text, labelled=True)
    assert network.windows.dense_above == dense_above


@pytest.mark.parametrize(
    ("saved", "told"), [(50.0, "100.00 (50 % saved)"), (0.3, "100.00 (as much)"), (-2.0, "100.00 (2 % more)")]
)
def test_the_saving_is_said_in_words(saved: float, told: str) -> None:
    views = WindowViews()
    nothing = np.zeros((0, 4), np.float32)
    savings = Savings(1, 4, 0.5, 0.5, 100 - saved, saved, dense=False)
    views.note(WindowView((8, 8), np.zeros((1, 1), np.float32), nothing, nothing, savings, {"selection": 1.0}))
    assert f"{100 - saved:.2f} GFLOPs where the dense network takes {told}" in views.summary()[0]


def test_times_by_part_without_the_first_batch() -> None:
    """The time of a batch is shared by its pictures, so setting up is in all of the first."""
    nothing, views = np.zeros((0, 4), np.float32), WindowViews()
    savings = Savings(1, 4, 0.5, 0.5, 50, 50, dense=False)
    one = WindowView((8, 8), np.zeros((1, 1), np.float32), nothing, nothing, savings, {})
    for ms in (900.0, 900.0, 900.0, *range(1, 101)):
        views.note(replace(one, milliseconds={"selection": ms}, first=ms == 900))
        if ms == 900:
            assert views.times() == {"selection": {"median": 900, "95 %": 900}}
    assert views.times() == {"selection": {"median": 50.5, "95 %": pytest.approx(95.05)}}
    assert "(95 % take no longer): selection 50.5 (95.0)" in views.summary()[1]


@pytest.mark.slow
def test_where_the_network_looked(run: Run, on_windows: Path, picture: Path, tmp_path: Path) -> None:
    words = ["predict", on_windows, picture, "--project", tmp_path / "runs", "--view-windows"]
    code, said, wrong = run(*words, "--name", "all", "--windows", "select=all", "--no-images", "--format", "png")
    assert (code, wrong) == (0, "")
    assert "windows: 8.0 of 8.0 in a picture" in said
    assert "GFLOPs where the dense network takes" in said
    assert "stem and seeker" in said
    everything = figures(tmp_path / "runs" / "all")
    assert everything["picture"] == str(picture)
    assert (everything["windows"], everything["possible"], everything["dense"]) == (8, 8, False)
    assert set(everything["ms"]) == {"stem and seeker", "selection", "gathering", "tail and head"}
    drawn = np.asarray(Image.open(tmp_path / "runs" / "all" / "windows" / "one.png"))
    assert drawn.shape[0] > 160
    assert (drawn == (60, 255, 120)).all(2).sum() > 500
    assert run(*words, "--name", "few", "--windows", "threshold=0,budget=2")[0] == 0
    few = figures(tmp_path / "runs" / "few")
    assert few["windows"] == 2
    assert few["gflops"] < everything["gflops"]
    assert run(*words, "--name", "none", "--windows", "threshold=1")[0] == 0
    assert figures(tmp_path / "runs" / "none")["windows"] == 0
    assert run(*words, "--name", "whole", "--windows", "select=all,dense_above=0.1")[0] == 0
    assert figures(tmp_path / "runs" / "whole")["dense"] is True


@pytest.mark.slow
def test_what_is_saved_on_a_video(run: Run, on_windows: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    dark_clip(tmp_path / "clip.mp4", 3, (160, 256))
    words = ["predict", on_windows, tmp_path / "clip.mp4", "--project", tmp_path / "runs", "--no-images"]
    code, said, wrong = run(*words, "--view-windows", "--windows", "select=all")
    assert (code, wrong) == (0, "")
    assert "windows: 8.0 of 8.0 in a picture" in said
    rows = json.loads((tmp_path / "runs" / "run" / "windows.json").read_text())
    assert [row["windows"] for row in rows] == [8, 8, 8]
    assert len({row["picture"] for row in rows}) == 3
    assert not (tmp_path / "runs" / "run" / "windows").exists()


@pytest.mark.slow
def test_what_is_saved_on_a_raster(run: Run, on_windows: Path, tmp_path: Path) -> None:
    field = write_raster(tmp_path / "a.tif", np.random.default_rng(0).integers(1, 256, (256, 512, 3), np.uint8))
    words = ["--raster", "--slice", "256", "--overlap", "0", "--imgsz", "256", "--project", tmp_path / "runs"]
    words += ["--no-images", "--overwrite"]
    code, said, wrong = run("predict", on_windows, field, *words, "--view-windows", "--windows", "select=all")
    assert (code, wrong) == (0, "")
    assert "windows: 16.0 of 16.0 in a picture" in said
    assert "windows: " not in run("predict", on_windows, field, *words)[1]
    refused(run("predict", "hit-uav-n", field, *words, "--view-windows"), "this network does not choose windows")
    refused(
        run("predict", on_windows, field, *words, "--view-windows", "--seeker", "hit-uav-seeker"),
        "view-windows: has no effect where a seeker chooses parts",
    )


@pytest.mark.slow
def test_validation_by_each_choice(run: Run, on_windows: Path, picture: Path, tmp_path: Path) -> None:
    """All windows, those of the truth, the best ones: as many are computed as are asked for."""
    (tmp_path / "set").mkdir()
    Image.open(picture).save(tmp_path / "set" / "one.png")
    (tmp_path / "set" / "one.txt").write_text("0 0.1 0.1 0.05 0.05\n1 0.9 0.9 0.05 0.05\n")
    (tmp_path / "set.yaml").write_text(f"path: {tmp_path}\ntrain: set\nval: set\nnames: [a, b]\n")
    words = ["val", on_windows, "--data", tmp_path / "set.yaml", "--project", tmp_path / "runs", "--coverage"]
    for choice, windows, reached in (
        ("select=all", 8, 1.0),
        ("select=oracle", 2, 1.0),
        ("threshold=0", 8, 1.0),
        ("threshold=0,budget=3", 3, None),
    ):
        code, said, wrong = run(*words, "--no-plots", "--windows", choice, "--name", "one", "--overwrite")
        assert (code, wrong) == (0, "")
        assert f"windows: {windows}.0 of 8.0 in a picture" in said
        assert "heat of the seeker" in said
        report = json.loads((tmp_path / "runs" / "one" / "report.json").read_text())
        assert report["savings"]["windows"] == report["coverage"]["windows"] == windows
        assert reached in (None, report["coverage"]["values"]["BPR center"])
        assert report["heat"]["images with hot cells"] == 1
        assert report["savings"]["ms"]["tail and head"]["median"] > 0
    refused(run(*words, "--windows", "budget=0"), "budget: expected 1 or more")
    dense = ["val", "hit-uav-n", *words[2:]]
    refused(run(*dense, "--windows", "budget=2"), "this network does not choose windows")
    refused(run(*words, "--windows", "cells=seeker"), "cells: the head AnchorFreeHead computes all cells")


@pytest.mark.slow
def test_single_cells_by_each_choice(run: Run, picture: Path, tmp_path: Path) -> None:
    """No cells, those of one object, those of maxima (of noise, so nearly all), all: each computes more."""
    path = written(tmp_path / "cells.safetensors", "esod-yolov5s")
    (tmp_path / "set").mkdir()
    Image.open(picture).save(tmp_path / "set" / "one.png")
    (tmp_path / "set" / "one.txt").write_text("0 0.1 0.1 0.05 0.05\n")
    (tmp_path / "set.yaml").write_text(f"path: {tmp_path}\ntrain: set\nval: set\nnames: [a, b]\n")
    words = ["val", path, "--data", tmp_path / "set.yaml", "--project", tmp_path / "runs", "--coverage", "--no-plots"]
    spent = []
    for choice in ("cells=seeker,cell_threshold=1", "cells=oracle", "cells=seeker", "cells=all"):
        code, _, wrong = run(*words, "--windows", f"select=all,{choice}", "--name", "one", "--overwrite")
        assert (code, wrong) == (0, "")
        savings = json.loads((tmp_path / "runs" / "one" / "report.json").read_text())["savings"]
        assert savings["windows"] == 8
        spent.append(savings["gflops"])
    nothing, objects, maxima, everything = spent
    assert nothing < objects < maxima <= everything
    predict = ["predict", path, picture, "--project", tmp_path / "runs", "--windows"]
    refused(run(*predict, "cells=oracle"), "an oracle needs the truth")
    refused(run(*predict, "cell_threshold=0.2"), "windows, cell_threshold: has no effect with cells=all")
    refused(run(*predict, "cells=some"), "unknown cells of windows 'some'")


@pytest.mark.slow
def test_tiles_of_a_network_on_windows_have_no_cost_of_their_own(
    run: Run, on_windows: Path, picture: Path, tmp_path: Path
) -> None:
    words = ["predict", on_windows, picture, "--slice", "128", "--seeker", "hit-uav-seeker"]
    code, said, _ = run(*words, "--view-windows", "--project", tmp_path / "runs")
    assert code == 0
    assert "GFLOPs" not in said
    row = figures(tmp_path / "runs" / "run")
    assert row["possible"] == 6
    assert "gflops" not in row


@pytest.mark.slow
def test_what_has_no_windows_is_told_so(run: Run, tiny: Path, on_windows: Path, picture: Path, tmp_path: Path) -> None:
    words = ["--project", tmp_path / "runs"]
    refused(run("predict", tiny, picture, *words, "--view-windows"), "this network does not choose windows")
    refused(run("predict", tiny, picture, *words, "--windows", "budget=2"), "this network does not choose windows")
    refused(run("predict", on_windows, picture, *words, "--windows", "core=8"), "unknown choice of windows 'core'")
    refused(run("predict", on_windows, picture, *words, "--windows", "select=oracle"), "an oracle needs the truth")
    refused(run("predict", on_windows, picture, *words, "--windows", "budget=0"), "budget: expected 1 or more")
    refused(run("predict", on_windows, picture, *words, "--windows", "few"), "windows: expected choices as key=value")
    words += ["--windows", "select=all,budget=2"]
    refused(run("predict", on_windows, picture, *words), "windows, budget: has no effect with select=all")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_cannot_be_timed_is_refused_before_the_pass(
    run: Run, on_windows: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[object] = []
    monkeypatch.setattr("finespot.inference.calibrate_threshold", lambda *given, **options: passes.append(given))
    words = ["weights", "calibrate", on_windows, tmp_path / "out.safetensors", "--data", f"coco:{dataset}", "--dense"]
    refused(run(*words, "--imgsz", "128"), "dense: expected a picture of several windows but got 96 x 128")
    tiles = [*words, "--slice", "32", "--imgsz", "64"]
    refused(run(*tiles), "dense: expected a picture of several windows but got 64 x 64")
    assert passes == []


@pytest.mark.slow
def test_the_threshold_is_stored(run: Run, on_windows: Path, dataset: Path, tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "out.safetensors"
    words = ["weights", "calibrate", on_windows, out, "--data", f"coco:{dataset}", "--imgsz", "128"]
    code, said, wrong = run(*words, "--recall", "0.5")
    assert (code, wrong) == (0, "")
    threshold = weights.read_card(out).architecture.options["threshold"]
    assert f"threshold {threshold:.4g}" in said
    detector, _ = weights.load(out)
    assert detector.windows.threshold == threshold
    before = weights.load(on_windows)[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert weights.read_card(out).architecture.options["dense_above"] is None
    refused(run(*words, "--overwrite", "--dense"), "dense: expected a picture of several windows but got 96 x 128")
    assert run(*words[:-1], "384", "--overwrite", "--dense")[0] == 0
    dense_above = weights.read_card(out).architecture.options["dense_above"]
    assert dense_above > 0
    assert weights.load(out)[0].windows.dense_above == dense_above
    refused(run(*words), "out.safetensors")
    refused(run("weights", "calibrate", tiny, tmp_path / "x.safetensors", *words[4:]), "does not choose windows")
