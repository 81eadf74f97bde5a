"""Bad input through the command line: exit code 2, one line that names what and where, never a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import finespot.cli
from finespot import weights, zoo
from finespot.structures import Classes

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line that must fail, and return its one line on standard error."""

    def fail(*words: str | Path) -> str:
        with pytest.raises(SystemExit) as stop:
            finespot.cli.main([str(word) for word in words])
        said = capsys.readouterr().err.strip()
        assert stop.value.code == 2
        assert said.startswith("error: ")
        assert "\n" not in said
        return said

    return fail


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A YOLO data set of two pictures with one object each; returns its YAML file."""
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(tmp_path / f"images/{split}/a.png")
        (tmp_path / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    yaml = tmp_path / "set.yaml"
    yaml.write_text("train: images/train\nval: images/val\nnames: [person, car]\n")
    return yaml


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network of two classes."""
    detector = zoo.build(zoo.architecture("yolo11n", 2))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    card = weights.Card(architecture=detector.architecture, classes=Classes(("person", "car")), imgsz=64)
    weights.save(path, detector, card)
    return path


def train(run: Run, data: Path | str, *words: str | Path) -> str:
    return run("train", "yolo11n", "--data", data, "--epochs", "1", "--imgsz", "64", "device=cpu", *words)


def test_data_that_is_not_there(run: Run, tmp_path: Path) -> None:
    assert "nothing.yaml" in train(run, tmp_path / "nothing.yaml")
    assert "no data set is named" in run("train", "yolo11n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.2 0.2", "class"),
        ("0 1.5 0.5 0.2 0.2", "1.5"),
        ("0 0.5 0.5 -0.2 0.2", "-0.2"),
        ("0 0.5 nan 0.2 0.2", "nan"),
        ("0 0.5 0.5 0.2", "4"),
        ("person 0.5 0.5 0.2 0.2", "person"),
    ],
)
def test_label_line(run: Run, dataset: Path, line: str, said: str) -> None:
    (dataset.parent / "labels/train/a.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    message = train(run, dataset)
    assert "a.txt:2" in message
    assert said in message.lower()


def test_yaml_without_names(run: Run, dataset: Path) -> None:
    dataset.write_text("train: images/train\nval: images/val\n")
    assert "names" in train(run, dataset)


def test_label_without_picture(run: Run, dataset: Path) -> None:
    (dataset.parent / "labels/train/b.txt").write_text("")
    assert "b.txt" in train(run, dataset)


def test_truncated_picture(run: Run, dataset: Path) -> None:
    picture = dataset.parent / "images/train/a.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert "a.png" in train(run, dataset)


@pytest.mark.slow
def test_unknown_names_offer_the_nearest(run: Run, dataset: Path, tiny: Path) -> None:
    assert "yolo11n" in run("train", "yolo11nn", "--data", dataset)
    assert "epochs" in train(run, dataset, "epoch=3")
    assert "optimizer.lr" in train(run, dataset, "--set", "optimizer.lrr=3")
    assert "coco" in run("val", tiny, "--data", dataset, "--protocol", "cocoo")
    assert "val" in run("val", tiny, "--data", dataset, "--split", "vall")
    assert "did you mean conf" in run("predict", tiny, dataset.parent / "images", "confd=0.3")


def test_a_key_that_is_given_twice(run: Run, dataset: Path) -> None:
    assert "model: is given twice: yolo11n and yolov8n" in train(run, dataset, "model=yolov8n")
    assert "epochs: is given twice: 1 and 3" in train(run, dataset, "--set", "epochs=3")
    assert "unknown model ''" in run("train", "", "--data", dataset)


def test_model_and_data_as_words(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(["train", "model=yolov8n", f"data={dataset}", "epochs=3", "--show-recipe"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "model: yolov8n " in shown
    assert str(dataset) in shown


@pytest.mark.slow
def test_weights_that_do_not_fit(run: Run, dataset: Path, tiny: Path, tmp_path: Path) -> None:
    for broken in (tiny.read_bytes()[:5000], b"not a weight file", b""):
        path = tmp_path / "broken.safetensors"
        path.write_bytes(broken)
        assert "broken.safetensors" in run("predict", path, dataset.parent / "images")
        assert "broken.safetensors" in train(run, dataset, "--weights", path)
    assert "nothing.safetensors" in run("predict", tmp_path / "nothing.safetensors", dataset.parent)


def test_resume_that_is_no_run(run: Run, tmp_path: Path) -> None:
    assert "recipe.yaml" in run("train", "--resume", tmp_path)


@pytest.mark.slow
def test_named_picture_that_is_none(run: Run, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_text("no picture")
    assert "a.jpg" in run("predict", tiny, path, "--project", tmp_path / "runs")
    assert "missing.jpg" in run("predict", tiny, tmp_path / "missing.jpg")


@pytest.mark.slow
def test_output_that_cannot_be_written(run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    assert "file" in run("predict", tiny, dataset.parent / "images", "--project", taken / "runs")
    assert "file" in train(run, dataset, "--project", taken / "runs")
    assert "file" in run("val", tiny, "--data", dataset, "--no-plots", "--json", taken / "report.json")


def test_score_refuses_what_is_no_truth(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "gt.json"
    bad.write_text("[]")
    assert "gt.json" in run("score", "--gt", bad, "--dt", bad)


@pytest.mark.slow
def test_folder_goes_on_past_a_broken_picture(
    tiny: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(dataset.parent / "images/val/a.png", folder / "a.png")
    (folder / "b.png").write_text("no picture")
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(["predict", str(tiny), str(folder), "--project", str(tmp_path / "runs")])
    assert stop.value.code == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.slow
def test_image_size_is_rounded_up_and_said(
    tiny: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(
            ["predict", str(tiny), str(dataset.parent / "images/val"), "imgsz=70", "--project", str(tmp_path / "runs")]
        )
    assert stop.value.code == 0
    assert "rounded up to 96" in capsys.readouterr().out


@pytest.mark.slow
def test_overlap_needs_tiles(run: Run, tiny: Path, dataset: Path) -> None:
    assert "give --slice too" in run("predict", tiny, dataset.parent / "images", "--overlap", "0.3")


@pytest.mark.slow
def test_devices_that_are_not_there(run: Run, tiny: Path, dataset: Path) -> None:
    for device in ("meta", "vulkan", "99", "nothing"):
        assert "device" in run("predict", tiny, dataset.parent / "images", "--device", device)


@pytest.mark.slow
def test_no_folder_is_made_for_a_picture_that_cannot_be_read(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    run("predict", tiny, tmp_path / "a.jpg", "--project", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
