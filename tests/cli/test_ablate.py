"""`finespot ablate`: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_factory import Run, refused

from finespot.errors import FineSpotError
from finespot.studies import cells

STUDY = """
title: Two [rows]
base: {model: yolo11n, device: cpu}
seeds: [0, 1]
rows:
  plain: {}
  slow: {set: {lr: 0.001}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.slow
def test_show_prints_the_plan_and_trains_nothing(run: Run, study: Path, samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--data", f"hit-uav:{samples}", "epochs=7", "imgsz=100", "--seeds", "4,5", "--out", out, "--show")
    code, said, _ = run("ablate", study, *words)
    assert code == 0
    assert "Two [rows]" in said
    assert "optimizer.lr=0.001" in said
    assert "2,582,932" in said
    assert "7 epochs without early stop; coco; compared with 'plain'" in said
    assert "4 trainings, row (seed): plain (4), slow (4), plain (5), slow (5)" in said
    assert not out.exists()


@pytest.mark.slow
def test_failed_cells_are_told_by_the_exit_code(
    run: Run, study: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def train(**options: Any) -> None:
        asked.append(options)
        raise FineSpotError("no memory", where="cuda")

    monkeypatch.setattr(cells, "train", train)
    words = ("--data", f"hit-uav:{samples}", "--rows", "slow", "--quiet", "--out", tmp_path / "out", "imgsz=64")
    code, said, _ = run("ablate", study, *words, "--json", tmp_path / "a.json")
    assert code == 1
    assert "cell 2 of 2: slow, seed 1" in said
    assert "failed: slow, seed 0: cuda: no memory" in said
    assert [(one["recipe"].seed, one["recipe"].optimizer.lr, one["quiet"]) for one in asked] == [
        (0, 0.001, True),
        (1, 0.001, True),
    ]
    data = json.loads((tmp_path / "a.json").read_text())
    assert [one["error"] for one in data["rows"][0]["cells"]] == ["cuda: no memory"] * 2
    assert data == json.loads((tmp_path / "out" / "ablation.json").read_text())
    refused(run("ablate", study, *words, "--json", tmp_path / "a.json"), "there is such a file already")
    assert len(asked) == 2


@pytest.mark.slow
def test_bad_words_are_refused(run: Run, study: Path) -> None:
    refused(run("ablate", "pp2", "--show"), "unknown study 'pp2'")
    refused(run("ablate", study), "data: no data set is named")
    refused(run("ablate", study, "--show", "--seeds", "a"), "seeds: expected whole numbers with commas but got 'a'")
    refused(run("ablate", study, "--show", "--rows", "plian"), "unknown row 'plian'", "plain")
    refused(run("ablate", study, "--show", "epochs=3", "--set", "epochs=4"), "epochs: is given twice: 3 and 4")
    refused(run("ablate", study, "--show", "patience=5"), "patience cannot be set here")
    refused(run("ablate", study, "--show", "lr=0.1"), "row 'slow': changes optimizer.lr itself")
    refused(run("ablate", study, "--show", "--protocol", "voc"), "unknown protocol 'voc'")
    refused(run("ablate", study, "--show", "--threads", "0"), "threads: expected 1")
