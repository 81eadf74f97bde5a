"""`finespot data check` end to end: exit codes, files, options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import finespot.cli


def scene(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize((128, 96), PIL.Image.Resampling.BICUBIC))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A clean YOLO set of 4 + 3 pictures; returns its YAML file."""
    root = tmp_path / "set"
    for seed, (split, stem) in enumerate(
        [("train", f"north{n}0") for n in range(4)] + [("val", f"south{n}0") for n in range(3)]
    ):
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(scene(seed)).save(root / f"images/{split}/{stem}.png")
        (root / f"labels/{split}/{stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n")
    (root / "set.yaml").write_text("train: images/train\nval: images/val\nnames: [person, car]\n")
    return root / "set.yaml"


@pytest.fixture
def faulty(data: Path) -> Path:
    """With an error in train, a warning in val and leaks from train to val."""
    root = data.parent
    with (root / "labels/train/north00.txt").open("a") as file:
        file.write("7 0.5 0.5 0.1 0.1\n")
    with (root / "labels/val/south00.txt").open("a") as file:
        file.write("0 0.99 0.5 0.1 0.1\n")
    PIL.Image.fromarray(scene(20)).save(root / "images/val/north12.png")
    (root / "labels/val/north12.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    PIL.Image.fromarray(scene(1)).save(root / "images/val/near.jpg", quality=60)
    (root / "labels/val/near.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    return data


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(["data", "check", *map(str, words)])
    return int(stop.value.code or 0)


def counts(file: Path) -> dict[str, int]:
    return {one["kind"]: one["count"] for one in json.loads(file.read_text())["findings"]}


def test_a_clean_set_passes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(data) == 0
    assert "nothing found" in capsys.readouterr().out


def test_an_error_fails_the_check(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(faulty, "--json", tmp_path / "found.json", "--html", tmp_path / "found.html") == 1
    out = capsys.readouterr().out
    assert "labels/train/north00.txt:3: expected a class from 0 to 1 but got 7" in out
    assert "not fit for training" in out
    assert f"wrote {tmp_path / 'found.json'}" in out
    assert counts(tmp_path / "found.json") == {"record": 1, "clipped": 1, "leak-near": 1, "leak-frames": 1}
    assert "data:image/jpeg" in (tmp_path / "found.html").read_text()


def test_warnings_alone_pass(faulty: Path) -> None:
    assert call(faulty, "--splits", "val") == 0
    assert call(faulty, "splits=train,val") == 1


@pytest.mark.slow
def test_options_have_effects(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def found(*words: str) -> dict[str, int]:
        call(faulty, "--json", tmp_path / "x.json", "--overwrite", *words)
        return counts(tmp_path / "x.json")

    assert call(faulty, "--accept", "record,leak-near") == 0
    assert found("--no-decode") == {"record": 1, "clipped": 1, "leak-frames": 1}
    assert found("decode=false", "frames=1") == {"record": 1, "clipped": 1}
    assert found("--frames", "0") == {"record": 1, "clipped": 1, "leak-near": 1}
    assert found("--workers", "2") == found("--workers", "1")
    capsys.readouterr()
    call(faulty, "--examples", "0")
    assert "north00.txt" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_corrected_copy(faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new"
    assert call(faulty, "--fix", f"yolo:{new}", "--images", "copy") == 1
    out = capsys.readouterr().out
    assert "record (1): left out" in out
    assert "leak-near (1): left as it is" in out
    assert f"wrote {new}" in out
    assert not (new / "images/train/north00.png").is_symlink()
    assert call(f"yolo:{new}") == 0
    assert call(faulty, "--fix", f"yolo:{new}") == 2
    assert call(faulty, "--fix", f"yolo:{new}", "--overwrite", "--drop-leaks") == 1
    capsys.readouterr()
    assert call(f"yolo:{new}") == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--accept", "siz"], "did you mean size"),
        (["--splits", "dev"], "no split 'dev'; it has train, val"),
        (["--drop-leaks"], "give --fix too"),
        (["--images", "copy"], "give --fix too"),
        (["--overwrite"], "give --json, --html or --fix"),
        (["--images", "move", "--fix", "yolo:new"], "did you mean"),
        (["--fix", "nothing:new"], "unknown format 'nothing'"),
        (["--json", "set.yaml/x.json"], "expected a folder but got a file"),
    ],
)
def test_unusable_input(
    data: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    assert call(data, *words) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert said in error
    assert "\n" not in error


def test_data_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path / "nothing.yaml") == 2
    assert call("coco:" + str(tmp_path)) == 2
    assert call("yolo:") == 2
    assert capsys.readouterr().err.count("error: ") == 3
