"""The recipe as `--show-recipe` prints it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import finespot.cli
from finespot.training import load_recipe, settings
from finespot.training.recipe import FOLDER, Recipe
from finespot.training.recipe_text import annotated


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["optimizer=adamw", "betas=[0.8, 0.9]", "freeze=backbone,neck"],
        ["options.neck=mine:Neck", "options.p2=true", "data=a #b: c", f"name={'long ' * 40}"],
        ["data_licence=x\ny", "name=0815", "workers=2", "cache=disk"],
    ],
)
def test_reads_back_as_the_same_recipe(words: list[str]) -> None:
    recipe = load_recipe("default", words)
    assert settings.build(Recipe, settings.parse(annotated(recipe))) == recipe


def test_every_remark_of_the_default_recipe_stands_beside_its_key() -> None:
    def sections(text: str) -> set[tuple[str, ...]]:
        """(section, its lines) with one blank between value and remark."""
        lines = [" ".join(line.split()) if line.strip() else "" for line in text.splitlines() if line[:1] != "#"]
        indented = [line.startswith(" ") for line in text.splitlines() if line[:1] != "#"]
        heads = [number for number, inner in enumerate(indented) if not inner]
        return {tuple(lines[a:b]) for a, b in zip(heads, [*heads[1:], len(lines)]) if lines[a]}

    assert sections(annotated(load_recipe()).replace("''", '""')) == sections((FOLDER / "default.yaml").read_text())
    assert "imgsz: 640                # long side in pixels" in annotated(load_recipe())
    assert "\n  betas: [0.9, 0.999]\n" in annotated(load_recipe("default", ["optimizer=adamw"]))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(["train", *words])
    said = capsys.readouterr()
    return stop.value.code, said.out + said.err


def test_the_command_line_shows_what_a_run_would_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown = run(capsys, "yolo11s", "--data", "x.yaml", "--imgsz", "1280", "lr=0.5", "--show-recipe")
    wanted = load_recipe("default", ["model=yolo11s", "data=x.yaml", "imgsz=1280", "lr=0.5"])
    assert (code, settings.build(Recipe, settings.parse(shown))) == (0, wanted)
    (tmp_path / "recipe.yaml").write_text(shown)
    code, again = run(capsys, "--resume", ".", "--show-recipe", "workers=3")
    assert (code, again) == (0, shown.replace("workers: auto", "workers: 3   "))
    assert run(capsys, "--show-recipe", "epoch=3") == (2, "error: unknown recipe key 'epoch'; did you mean epochs?\n")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_help_says_where_recipes_and_their_keys_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = run(capsys, "--help")
    assert code == 0
    assert shown.count("--show-recipe") >= 2
    words = re.sub(r"[\s│]+", " ", shown)
    assert "'finespot models' lists" in words
