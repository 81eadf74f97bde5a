"""`data tile` and `data untile` end to end: what they write, what their options change, what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import finespot.cli
from finespot.data import Dataset, open_dataset
from finespot.data.tiles import read_index


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A YOLO set with train and val: one picture of 100 x 180 with an object at x 92 to 108, one of 40 x 40."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for stem, size in (("large", (100, 180)), ("small", (40, 40))):
            (tmp_path / "set" / "images" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / "labels" / split).mkdir(parents=True, exist_ok=True)
            picture = PIL.Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8))
            picture.save(tmp_path / "set" / "images" / split / f"{stem}.png")
            (tmp_path / "set" / "labels" / split / f"{stem}.txt").write_text(
                f"0 {100 / 180} 0.15 {16 / 180} 0.1\n" if stem == "large" else ""
            )
    file = tmp_path / "set" / "set.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [person, car]\n")
    return file


def tile(source: Path, *words: str, split: str = "train", layout: str = "yolo") -> Dataset:
    out = source.parent.parent / "tiles"
    assert call("data", "tile", source, f"{layout}:{out}", "--overwrite", "--keep-empty", "1", *words) == 0
    return open_dataset(f"{layout}:{out}", split)


def names(dataset: Dataset) -> list[str]:
    return [Path(dataset.path(i)).name for i in range(len(dataset))]


def truths(dataset: Dataset) -> list[tuple[int, list[float], bool]]:
    return [
        (i, np.round(box, 2).tolist(), bool(ignore))
        for i in range(len(dataset))
        for box, ignore in zip(dataset.columns(i)[0], dataset.columns(i)[2])
    ]


def test_tiles_have_their_pixels_and_labels(source: Path) -> None:
    tiles = tile(source, "--size", "100", "--overlap", "0.2")
    assert names(tiles) == ["large_0_0.png", "large_80_0.png", "small.png"]
    assert truths(tiles) == [(0, [92, 10, 100, 20], False), (1, [12, 10, 28, 20], False)]
    whole = np.asarray(PIL.Image.open(source.parent / "images/train/large.png"))
    for i, x in enumerate((0, 80)):
        assert np.array_equal(tiles.image(i).read(None)[..., 0], whole[:, x : x + 100])
    assert Path(tiles.path(2)).resolve() == source.parent / "images/train/small.png", "linked"
    folder = source.parent.parent / "tiles"
    index = read_index(folder)
    assert index.splits["train"].tiles == {
        "large_0_0": (0, (0, 0, 100, 100)),
        "large_80_0": (0, (80, 0, 180, 100)),
        "small": (1, (0, 0, 40, 40)),
    }
    assert "--size 100 --overlap 0.2 --min-visible 0.4 --cut ignore" in (folder / "ORIGIN.md").read_text()


@pytest.mark.parametrize(
    ("words", "split", "expected"),
    [
        (["--size", "100", "--overlap", "20"], "train", [(0, [92, 10, 100, 20], False), (1, [12, 10, 28, 20], False)]),
        (
            ["--size", "100", "--min-visible", "0.6"],
            "train",
            [(0, [92, 10, 100, 20], True), (1, [12, 10, 28, 20], False)],
        ),
        (["--size", "100", "--min-visible", "0.6", "--cut", "drop"], "train", [(1, [12, 10, 28, 20], False)]),
        (["size=180"], "train", [(0, [92, 10, 108, 20], False)]),
        (["--rule", "tinyperson"], "train", [(0, [92, 10, 108, 20], False)]),
        (["--size", "100", "--splits", "val"], "val", [(0, [92, 10, 100, 20], False), (1, [12, 10, 28, 20], False)]),
    ],
)
def test_options_have_effects(source: Path, words: list[str], split: str, expected: list[object]) -> None:
    assert truths(tile(source, *words, split=split)) == expected


@pytest.mark.slow
def test_only_train_splits_are_thinned_out(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "60", "--overlap", "0", "--keep-empty", "0"]
    assert names(tile(source, *words)) == ["large_60_0.png"]
    assert len(tile(source, *words, split="val")) == 7
    printed = capsys.readouterr().out
    assert "train: 2 pictures cut into 7 tiles: 1 with objects, and 0 of the 6 without kept" in printed
    assert "val: 2 pictures cut into 7 tiles: 1 with objects, and 6 of the 6 without kept" in printed
    some = [*words[:-1], "0.5"]
    first = names(tile(source, *some))
    assert len(first) == 4
    assert first == names(tile(source, *some))
    assert any(first != names(tile(source, *some, "--seed", str(seed))) for seed in (1, 2, 3))


def test_numbers_as_json(source: Path, tmp_path: Path) -> None:
    tile(source, "--size", "100", "--json", str(tmp_path / "numbers.json"))
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["written"]["train"] == {
        "pictures": 3,
        "objects": {"person": 2, "car": 0},
        "ignored objects": 0,
        "ignore regions": 0,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlap", "20.5"], "overlap: expected a share below 1 or whole pixels but got 20.5"),
        (["--overlap", "inf"], "overlap: expected a share below 1 or whole pixels but got inf"),
        (["--size", "64", "--overlap", "64"], "overlap: expected an overlap from 0 to below 1"),
        (["--rule", "tinyperson", "--size", "640"], "size: has no effect beside the rule tinyperson; leave out --size"),
        (["--rule", "tinyman"], "rule: unknown rule 'tinyman'; did you mean tinyperson"),
        (["--cut", "keep"], "cut: unknown treatment of cut objects 'keep'"),
        (["--min-visible", "0"], "min_visible: expected a share from 0.01 to 1"),
        (["--keep-empty", "1.5"], "keep_empty: expected a share from 0 to 1 but got 1.5"),
        (["--splits", "test"], "test"),
    ],
)
def test_what_is_refused(source: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "tile", source, f"yolo:{source.parent.parent / 'tiles'}", *words) == 2
    printed = capsys.readouterr().err.strip()
    assert said in printed
    assert "\n" not in printed
    assert not (source.parent.parent / "tiles").exists()


@pytest.mark.slow
def test_scores_of_tiles_brought_back_are_those_of_slices(samples: Path, tmp_path: Path) -> None:
    """Apart from what encoding tiles as JPEG and cutting boxes at borders change."""
    tiles, found, back = tmp_path / "tiles", tmp_path / "found.json", tmp_path / "back.json"
    cut = ["--size", "320", "--overlap", "0.25"]
    assert call("data", "tile", f"hit-uav:{samples}", f"coco:{tiles}", "--splits", "val", *cut) == 0
    val = ["val", "hit-uav-n", "--split", "val", "--no-plots", "imgsz=320"]
    assert call(*val, "--data", f"coco:{tiles}", "--iou", "1", "--conf", "0.05", "--save-json", found) == 0
    assert call("data", "untile", found, back, "--data", f"coco:{tiles}", "--split", "val") == 0
    sliced = [*val, "--data", f"hit-uav:{samples}", "--slice", "320", "--overlap", "0.25", "--conf", "0.05"]
    assert call(*sliced, "--json", tmp_path / "sliced.json") == 0
    score = [
        "score",
        "--gt",
        samples / "annotations" / "val.json",
        "--dt",
        back,
        "--json",
        tmp_path / "back_score.json",
    ]
    assert call(*score) == 0
    one, other = (json.loads((tmp_path / name).read_text())["values"] for name in ("sliced.json", "back_score.json"))
    assert one["AP50"] > 0.3
    assert other["AP50"] == pytest.approx(one["AP50"], abs=0.03)
    again = ["data", "untile", found, back, "--data", f"coco:{tiles}", "max_det=1"]
    assert call(*again) == 2, "a file that exists is kept"
    assert len(json.loads(back.read_text())) > 4
    assert call(*again, "--overwrite") == 0
    assert len(json.loads(back.read_text())) == 4
