"""Claims: read strictly, told beside our scores with all that differs, and not at all where the data are others."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from finespot.errors import FineSpotError
from finespot.training import run as running
from finespot.training import settings, train
from finespot.training.choice import choose_recipe, recipe_beside
from finespot.training.claim import Claim, Other, Scored, beside
from finespot.training.keeper import RunFiles
from finespot.training.recipe import Recipe, differences, load_recipe, read_recipe, write_recipe
from finespot.training.recipe_text import annotated

ROOT = Path(__file__).parents[2]
DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
CLAIM = Claim(
    scores={"AP": 27.5, "AP50": 46.1},
    costs={"parameters": 13560000.0},
    protocol="coco",
    data="ai-tod,version=2",
    split="test",
    model="yolov5s",
    imgsz=800,
    source="a paper",
    note="one run",
    hours="8.6 on one GPU",
)
OURS = Scored("ai-tod,version=2:DIR", "test", "coco", "yolov5s", 800, 300, "last weights")


def told(claim: Claim, ours: Scored, scores: dict[str, float | None]) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(beside(claim, ours, scores), markup=False, soft_wrap=True)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def changed(**keys: Any) -> Scored:
    return Scored(**{**OURS.__dict__, **keys})


def test_both_stand_side_by_side_in_percent() -> None:
    lines = told(CLAIM, OURS, {"AP": 0.1234, "AP50": None, "AR": 0.5})
    cells = [line.replace("│", " ").split() for line in lines]
    assert ["AP", "12.3", "27.5"] in cells
    assert ["AP50", "-", "46.1"] in cells
    assert not any("AR" in line for line in lines)
    assert "claimed with it: parameters 13,560,000" in lines
    assert "note: one run" in lines
    assert "hours of the claimed training: 8.6 on one GPU" in lines
    assert lines[-1] == "not said of the claim: epochs"
    assert not any(line.startswith("not the same") for line in lines)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", "val"),
        ("protocol", "ai-tod"),
        ("model", "yolov5n"),
        ("imgsz", 640),
        ("data", "ai-tod:DIR"),
        ("data", "ai-tod,version=2,other=1:DIR"),
    ],
)
def test_each_difference_is_said(key: str, value: Any) -> None:
    lines = told(CLAIM, changed(**{key: value}), {"AP": 0.1})
    shown = str(value).partition(":")[0]
    assert any(line.startswith(f"not the same in {key}: ") for line in lines)
    assert any(line.startswith("ours: ") and f"{key} {shown}" in line for line in lines)
    assert any(line.startswith("claimed: ") and f"{key} {getattr(CLAIM, key)}" in line for line in lines)


@pytest.mark.parametrize("data", ["visdrone:DIR", "ai-tod,version=1:DIR", "my.yaml", "hit-uav:a:b"])
def test_other_data_are_told_in_one_line_without_our_scores(data: str) -> None:
    (line,) = told(CLAIM, changed(data=data), {"AP": 0.1234})
    assert "AP 27.5, AP50 46.1 on ai-tod,version=2 test (a paper): not for these data" in line
    assert line.endswith(f"({data.partition(':')[0]}), so not comparable")
    assert "12.3" not in line


def test_without_scores_of_ours_or_theirs_it_is_one_line() -> None:
    assert told(CLAIM, OURS, {}) == ["claimed: AP 27.5, AP50 46.1 on ai-tod,version=2 test (a paper)"]
    nothing = Claim(source="a paper", note="no accuracy is published")
    assert told(nothing, OURS, {"AP": 0.1}) == ["claimed: no scores (no accuracy is published; a paper)"]


SEVERAL = Claim(
    scores={"AP": 36.0},
    costs={"gflops": 119.5},
    protocol="coco",
    data="visdrone",
    split="val",
    model="esod-yolov5m-published",
    imgsz=1536,
    source="a paper",
    note="of the first",
    others=[
        Other(model="esod-yolov5m-published", imgsz=1920, scores={"AP": 37.9}),
        Other(model="esod-yolov8m", imgsz=1536, scores={"AP": 35.5}, costs={"gflops": 90.0}, note="of the third"),
    ],
)


@pytest.mark.parametrize(
    ("model", "imgsz", "scores", "note"),
    [
        ("esod-yolov5m", 1536, {"AP": 36.0}, "of the first"),
        ("esod-yolov5m-published", 1920, {"AP": 37.9}, "of the first"),
        ("esod-yolov5m", 640, {"AP": 36.0}, "of the first"),
        ("esod-yolov8m", 1920, {"AP": 35.5}, "of the third"),
        (
            "esod-yolov5l",
            1536,
            {},
            "of esod-yolov5l none are known, only of esod-yolov5m-published, esod-yolov8m",
        ),
    ],
)
def test_of_several_networks_only_the_own_claim_is_told(
    model: str, imgsz: int, scores: dict[str, float], note: str
) -> None:
    own = SEVERAL.of(model, imgsz)
    assert (own.scores, own.note) == (scores, note)
    lines = told(SEVERAL, changed(model=model, imgsz=imgsz, data="visdrone:DIR", split="val"), {"AP": 0.1})
    if not scores:
        assert lines == [f"claimed: no scores ({note}; a paper)"]
        return
    assert ["AP", "10.0", str(scores["AP"])] in [line.replace("\u2502", " ").split() for line in lines]
    assert any(line.startswith("claimed with it: ") for line in lines) == bool(own.costs)
    differs = next((line for line in lines if line.startswith("not the same in ")), "")
    assert ("imgsz" in differs) == (imgsz != own.imgsz)
    assert ("model" in differs) == (model != own.model)


def test_a_claim_of_one_network_is_told_beside_any() -> None:
    assert CLAIM.of("yolov5n", 320) is CLAIM


def recipe_file(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        ("{scores: {AP: 270}, protocol: x, source: y}", r"mine.yaml:2: claimed.scores=.*expected keys with values"),
        ("{scores: {AP: 27}, source: y}", "claimed: expected a protocol with the scores"),
        ("{source: y}", "claimed: expected a note where nothing is claimed"),
        (
            "{note: x, source: y, others: [{model: yolov5n, scores: {}}]}",
            "claimed: expected a model where there are others",
        ),
        (
            "{note: x, source: y, model: a, others: [{model: b, scores: {AP: 270}}]}",
            r"mine.yaml:2: claimed.others=.*expected a list of keys with values",
        ),
        ("{note: x}", "claimed: Missing required argument 'source'"),
        ("{source: '', note: x}", "claimed: expected a source"),
        ("{scorse: {AP: 27}}", "mine.yaml:2: unknown recipe key 'claimed.scorse'; did you mean claimed.scores"),
        ("27", "expected a section with keys at 'claimed' but got 27"),
    ],
)
def test_what_is_wrong_with_a_claim_is_said(claimed: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=message):
        load_recipe(recipe_file(tmp_path, f"epochs: 3\nclaimed: {claimed}\n"))


def test_a_claim_is_one_value_and_takes_no_bare_name_away(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "claimed: {scores: {AP: 27.5}, protocol: theirs, source: paper, data: visdrone}\n")
    recipe = load_recipe(path, ["protocol=ai-tod"])
    assert (recipe.val.protocol, recipe.claimed.protocol if recipe.claimed else None) == ("ai-tod", "theirs")
    assert load_recipe(path, ["claimed=null"]).claimed is None
    other = load_recipe(path, values={"claimed": {"note": "none", "source": "thesis"}}).claimed
    assert other == Claim(note="none", source="thesis"), "replaced, not mixed"
    with pytest.raises(FineSpotError, match=r"unknown recipe key 'claimed\.hours'"):
        load_recipe(path, ["claimed.hours=3"])
    assert differences(recipe, load_recipe(path, ["protocol=ai-tod", "claimed=null"])) == ["claimed"]
    write_recipe(recipe, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == recipe


def test_a_recipe_starts_from_its_base(tmp_path: Path) -> None:
    recipe_file(tmp_path, "base: rtdetr\noptions: {queries: 500}\nclaimed: {note: a, source: b}\n", "first.yaml")
    path = recipe_file(tmp_path, "base: first.yaml\noptimizer: {lr: 0.5}\noptions: {layers: 2}\n")
    recipe, base = load_recipe(path, ["epochs=9"]), load_recipe("rtdetr")
    assert set(differences(base, recipe)) == {
        "optimizer.lr",
        "options.queries",
        "options.layers",
        "claimed",
        "epochs",
    }
    assert (recipe.optimizer.lr, recipe.options) == (0.5, {"queries": 500, "layers": 2})
    assert recipe.claimed == Claim(note="a", source="b")
    recipe_file(tmp_path, "base: first.yaml\nclaimed: null\noptimizer: {name: sgd}\n")
    recipe = load_recipe(path)
    assert (recipe.claimed, recipe.optimizer) == (None, load_recipe().optimizer)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: mine.yaml\n", r"mine.yaml:1: builds on itself \(base: mine.yaml\)"),
        ("base: other.yaml\n", r"other.yaml:1: builds on itself \(base: mine.yaml\)"),
        ("base: rtdtr\n", "unknown recipe 'rtdtr'; did you mean rtdetr"),
        ("base: absent.yaml\n", "absent.yaml: no such recipe file"),
        ("base: 3\n", "mine.yaml:1: expected the name of a recipe as base but got 3"),
        (
            "base: rtdetr\noptimizer:\n  momentum: 0.9\n",
            "mine.yaml:3: unknown recipe key 'optimizer.momentum': adamw",
        ),
    ],
)
def test_what_is_wrong_with_a_base_is_said(text: str, message: str, tmp_path: Path) -> None:
    recipe_file(tmp_path, "base: mine.yaml\n", "other.yaml")
    with pytest.raises(FineSpotError, match=message):
        load_recipe(recipe_file(tmp_path, text))


def test_weights_in_a_run_folder_have_their_recipe(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "weights"
    folder.mkdir(parents=True)
    best, recipe = folder / "best.safetensors", load_recipe("yolo-sod-visdrone")
    best.write_bytes(b"")
    assert recipe_beside(best) is None
    write_recipe(recipe, tmp_path / "run" / "recipe.yaml")
    assert recipe_beside(best) == recipe
    assert recipe_beside("hit-uav-n") is None
    (tmp_path / "run" / "recipe.yaml").write_text("a_key_of_another_version: 3\n")
    assert recipe_beside(best) is None


def test_shown_with_the_recipe() -> None:
    recipe = choose_recipe(recipe="yolo-sod-visdrone", overrides={"data": "visdrone:DIR"})
    text = annotated(recipe)
    assert "\n  scores: {AP: 27.5, AP50: 46.1}\n" in text
    assert settings.build(Recipe, settings.parse(text)) == recipe


@pytest.mark.slow
@pytest.mark.parametrize(("data", "same"), [("hit-uav", True), ("visdrone", False)])
def test_a_run_tells_it_at_its_end(
    data: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RunFiles, "draw", lambda self: None)
    monkeypatch.setattr(running, "draw_report", lambda *args: [])
    monkeypatch.setattr(running, "draw_predictions", lambda *args: [])
    claim = {"scores": {"AP": 27.5}, "protocol": "theirs", "data": data, "split": "val", "source": "paper"}
    keys: dict[str, Any] = {"imgsz": 64, "batch": 4, "epochs": 1, "workers": 0, "claimed": claim}
    made = train("yolov5n", DATA, project=tmp_path, **keys)
    said = capsys.readouterr().out
    assert ("not the same in protocol: " in said) == same
    assert ("claimed: AP 27.5 on visdrone val (paper): not for these data (hit-uav)" in said) == (not same)
    kept = read_recipe(made.folder / "recipe.yaml")
    assert kept.claimed == Claim(**claim)
