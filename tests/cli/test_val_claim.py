"""`finespot val` on the weights of a run tells what its recipe claims, beside what was scored here and now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_factory import Run

from finespot.training.recipe import load_recipe, write_recipe


@pytest.fixture
def best(tiny: Path, tmp_path: Path) -> Path:
    """Weights in a run folder whose recipe claims something."""
    claim = {"scores": {"AP": 27.5}, "protocol": "coco", "data": "coco", "split": "val", "source": "paper"}
    folder = tmp_path / "run" / "weights"
    folder.mkdir(parents=True)
    write_recipe(load_recipe(values={"claimed": claim, "epochs": 7}), folder.parent / "recipe.yaml")
    return Path(shutil.copy(tiny, folder / "best.safetensors"))


@pytest.mark.slow
def test_beside_the_scores(best: Path, dataset: Path, tmp_path: Path, run: Run) -> None:
    words = ["val", best, "--no-plots", "--project", tmp_path / "val", "--data", f"coco:{dataset}"]
    code, said, _ = run(*words)
    assert code == 0
    ours = "ours: data coco; split val; protocol coco; model yolo11n; imgsz 64; epochs 7; weights best.safetensors"
    assert ours in said.splitlines()
    assert "claimed: data coco; split val; protocol coco; paper" in said.splitlines()
    assert "not the same" not in said
    code, said, _ = run(*words, "--protocol", "ai-tod", "imgsz=96")
    assert (code, "protocol ai-tod; model yolo11n; imgsz 96" in said) == (0, True)
    assert "not the same in protocol: " in said


@pytest.mark.slow
def test_not_for_weights_elsewhere_or_without_a_claim(
    best: Path, tiny: Path, dataset: Path, tmp_path: Path, run: Run
) -> None:
    words = ["--no-plots", "--project", tmp_path / "val", "--data", f"coco:{dataset}"]
    assert "claimed" not in run("val", tiny, *words)[1]
    write_recipe(load_recipe(), best.parent.parent / "recipe.yaml")
    code, said, _ = run("val", best, *words)
    assert (code, "claimed" in said) == (0, False)
