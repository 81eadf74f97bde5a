"""Seekers at the command line: what they are, their threshold, and that no verb takes one for a detector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from cli_factory import Run, refused

from finespot import weights
from finespot.nn.seeker import SeekerNet


@pytest.fixture(scope="module")
def seeker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random seeker that nobody calibrated."""
    torch.manual_seed(0)
    card = weights.SeekerCard(reduction=2, stride=4, width=4, data_licence="CC BY 4.0 (somebody)")
    return weights.save_seeker(tmp_path_factory.mktemp("weights") / "s.safetensors", SeekerNet(stride=4, width=4), card)


def test_info_says_what_it_is(run: Run, seeker: Path, tmp_path: Path) -> None:
    code, said, wrong = run("info", seeker, "--json", tmp_path / "i.json")
    assert (code, wrong) == (0, "")
    count = sum(one.numel() for one in SeekerNet(stride=4, width=4).parameters())
    for words in ("a seeker: it says where", "--seeker", f"parameters: {count:,}", "cells of 8 x 8 px"):
        assert words in said
    assert "not calibrated: finespot weights calibrate" in said
    assert "licence of the training data: CC BY 4.0 (somebody)" in said
    told = json.loads((tmp_path / "i.json").read_text())
    assert (told["kind"], told["parameters"], told["reduction"], told["cell"]) == ("seeker", count, 2, 8)
    refused(run("info", seeker, "--imgsz", "640"), "imgsz: has no effect on a seeker")
    refused(run("info", seeker, "--profile", "1"), "profile: has no effect on a seeker")


def test_it_is_no_detector(run: Run, seeker: Path, dataset: Path, tmp_path: Path) -> None:
    picture = dataset / "images" / "val" / "a.png"
    words = ("it holds a seeker", "--seeker FILE")
    refused(run("predict", seeker, picture, "--project", tmp_path / "runs"), *words)
    refused(run("val", seeker, "--data", f"coco:{dataset}", "--project", tmp_path / "runs"), *words)
    refused(run("weights", "dump", seeker, tmp_path / "x.pt"), *words)
    assert not (tmp_path / "runs").exists()


def test_the_threshold_is_stored(run: Run, seeker: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    words = ["weights", "calibrate", seeker, out, "--data", f"coco:{dataset}"]
    code, said, wrong = run(*words, "--recall", "0.5")
    assert (code, wrong) == (0, "")
    card = weights.read_seeker_card(out)
    assert card.calibration is not None
    assert (card.calibration.target, card.calibration.objects) == (0.5, 2)
    assert f"threshold {card.calibration.threshold:.4g}" in said
    assert "% lost" in said
    assert "tiny (8 to 16 px): 100.0 % of 2" in said
    assert "verytiny (0 to 8 px): no objects" in said
    before = weights.read_seeker(seeker)[0].state_dict()
    assert all(torch.equal(value, before[name]) for name, value in weights.read_seeker(out)[0].state_dict().items())
    code, said, _ = run("info", out)
    assert code == 0
    assert "% of the area is hot" in said
    refused(run(*words), "out.safetensors")
    refused(run(*words, "--overwrite", "--recall", "0"), "recall: expected a share above 0")
    for option in (
        ("--imgsz", "64"),
        ("--own-parts",),
    ):
        refused(run(*words, "--overwrite", *option), f"{option[0][2:]}: has no effect on a seeker")


def test_the_threshold_by_tiles(run: Run, seeker: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    words = ["weights", "calibrate", seeker, out, "--data", f"coco:{dataset}", "--overwrite"]
    code, said, wrong = run(*words, "--slice", "32", "--overlap", "0.5")
    assert (code, wrong) == (0, "")
    found = weights.read_seeker_card(out).calibration
    assert found is not None
    assert (found.tile, found.overlap, found.margin) == (32, 0.5, None)
    assert found.tiles is not None
    assert "are in the tiles of 32 px that are looked at" in said
    assert f"{100 * found.tiles:.1f} % of the tiles run" in said
    assert "were not cut" not in said
    code, said, _ = run(*words, "--slice", "640")
    assert code == 0
    assert "pictures were not cut: they are no larger than a tile of 640 px; one hot cell" in said
    refused(run(*words, "--overlap", "0.2"), "overlap: has no effect on whole pictures")
    refused(run(*words, "--slice", "0"), "slice: chooses tiles, but nothing is cut")


def test_half_and_full(run: Run, seeker: Path, dataset: Path, tmp_path: Path) -> None:
    for name in ("half", "full"):
        code, _, wrong = run(
            "weights", "calibrate", seeker, tmp_path / f"{name}.safetensors", "--data", f"coco:{dataset}", f"--{name}"
        )
        assert (code, wrong) == (0, "")
    assert (tmp_path / "half.safetensors").stat().st_size < (tmp_path / "full.safetensors").stat().st_size


@pytest.mark.slow
def test_models_lists_what_the_package_has(run: Run, tmp_path: Path) -> None:
    code, said, wrong = run("models", "yolo11n", "--json", tmp_path / "m.json")
    assert (code, wrong) == (0, "")
    assert "seekers in the package" in said
    assert said.count("hit-uav-seeker") == 1
    told = json.loads((tmp_path / "m.json").read_text())
    assert "hit-uav-seeker" in told["seekers"]
    assert "hit-uav-n" in told["weights"]
    assert not set(told["seekers"]) & set(told["weights"])


@pytest.mark.slow
def test_train_makes_one(run: Run, samples: Path, tmp_path: Path) -> None:
    words = ["train", "seeker", "--data", f"hit-uav:{samples}", "--project", tmp_path / "runs", "--epochs", "1"]
    small = ["imgsz=32", "options.width=4", "device=cpu", "workers=0", "mosaic=0"]
    code, said, wrong = run(*words, *small)
    assert (code, wrong) == (0, "")
    for line in ("options.reduction: 3 (99% of the objects", "tile: ", "objects are reached", "tiny (8 to 16 px)"):
        assert line in said
    assert weights.read_seeker_card(tmp_path / "runs" / "seeker" / "weights" / "best.safetensors").calibration
    refused(run(*words, *small, "val.iou=0.5"), "val.iou: has no effect on a seeker")
    refused(run(*words, *small, "options.depth=2"), "unknown option of a seeker 'depth'")
