"""`finespot predict --explain`: heat maps beside the drawings, options that have effects or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_factory import Run, refused
from PIL import Image


@pytest.fixture
def picture(samples: Path) -> Path:
    return samples / "images" / "val" / "1_70_70_0_07716.jpg"


def heat(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder / "heat")): path.read_bytes() for path in (folder / "heat").rglob("*.*")}


@pytest.mark.slow
def test_a_heat_map_for_each_class_beside_the_drawing(run: Run, picture: Path, tmp_path: Path) -> None:
    words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "imgsz=320", "conf=0.1"]
    code, out, _ = run(*words, "--explain", "--classes", "Person,Car")
    assert code == 0
    assert f"wrote {tmp_path / 'run' / 'heat'}\n" in out
    assert set(heat(tmp_path / "run")) == {f"{name}/{picture.name}" for name in ("Person", "Car")}
    assert (tmp_path / "run" / picture.name).is_file()
    page = np.asarray(Image.open(tmp_path / "run" / "heat" / "Car" / picture.name))
    assert page.shape[0] > 512
    assert page.shape[1:] == (640, 3)
    # The detections of a run with heat maps are those of one without.
    run(*words, "--name", "plain", "--classes", "Person,Car")
    assert not (tmp_path / "plain" / "heat").exists()
    name = "predictions.json"
    assert (tmp_path / "plain" / name).read_text() == (tmp_path / "run" / name).read_text()


@pytest.mark.slow
def test_options_have_effects(run: Run, picture: Path, tmp_path: Path) -> None:
    words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "--explain", "--no-images", "imgsz=320"]
    made = {}
    for number, more in enumerate(
        (
            [],
            ["--target", "box"],
            ["--target", "both"],
            ["--method", "layercam"],
            ["--method", "gradcam"],
            ["--layers", "backbone.stage3"],
            ["--layers", "neck, backbone.stage3"],
            ["--line-width", "4"],
            ["--no-labels"],
            ["--slice", "256"],
        )
    ):
        assert run(*words, "--name", number, "--classes", "Bicycle", *more)[0] == 0
        made[heat(tmp_path / str(number))[f"Bicycle/{picture.name}"]] = more
        assert not list((tmp_path / str(number)).glob("*.jpg"))
    assert len(made) == 10
    run(*words, "--name", "png", "--format", "png")
    assert {Path(name).suffix for name in heat(tmp_path / "png")} == {".png"}


@pytest.mark.slow
def test_pictures_without_detections_are_said(run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["predict", tiny, dataset / "images", "--project", tmp_path, "--explain", "conf=0.9"]
    code, out, _ = run(*words)
    assert code == 0
    assert "2 pictures have no heat map, as nothing was found (lower conf?): a.png, b.png\n" in out
    assert heat(tmp_path / "run") == {}


@pytest.mark.slow
def test_runs_are_numbered_and_what_is_there_stays(run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["predict", tiny, dataset / "images", "--project", tmp_path, "--explain", "conf=0", "max_det=3"]
    assert run(*words)[0] == 0
    first = heat(tmp_path / "run")
    assert first
    (tmp_path / "run" / "heat" / "kept.txt").write_text("mine")
    assert run(*words)[0] == 0
    assert heat(tmp_path / "run2") == first
    assert run(*words, "--overwrite", "--target", "box")[0] == 0
    again = heat(tmp_path / "run")
    assert again.pop("kept.txt") == b"mine"
    assert again.keys() == first.keys()
    assert again != first


@pytest.mark.slow
def test_what_cannot_be_is_refused_before_there_is_a_folder(
    run: Run, tiny: Path, dataset: Path, tmp_path: Path
) -> None:
    words = ["predict", tiny, dataset / "images", "--project", tmp_path / "runs"]
    for option, value in (("--target", "box"), ("--method", "layercam"), ("--layers", "neck")):
        refused(run(*words, option, value), option[2:], "no effect without --explain")
    words.append("--explain")
    refused(run(*words, "--target", "all"), "unknown target 'all'")
    refused(run(*words, "--method", "gradcm"), "unknown method", "gradcam")
    refused(run(*words, "--layers", "nek"), "unknown layer 'nek'", "neck")
    refused(run(*words, "--layers", "neck,,"), "unknown layer ''")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_video_is_refused(run: Run, tiny: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    words = ["predict", tiny, tmp_path / "clip.mp4", "--project", tmp_path / "runs"]
    refused(run(*words, "--explain"), "explains pictures, not a video")
    assert not (tmp_path / "runs").exists()
