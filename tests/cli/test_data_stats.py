"""`finespot data stats`, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import finespot.cli


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(["data", "stats", *(str(word) for word in words)])
    return int(stop.value.code or 0)


def numbers(samples: Path, tmp_path: Path, *words: str | Path) -> dict[str, object]:
    file = tmp_path / "stats.json"
    assert call(f"hit-uav:{samples}", "--json", file, "--overwrite", *words) == 0
    found: dict[str, object] = json.loads(file.read_text())
    return found


def test_prints_numbers_and_advice(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = numbers(samples, tmp_path)
    printed = capsys.readouterr().out
    assert found["data"] == f"hit-uav:{samples}"
    assert found["splits"]["train"]["objects"] == 191  # type: ignore[index]
    assert found["splits"]["val"]["ignore_regions"] == 1  # type: ignore[index]
    for text in ("OtherVehicle", "640x512 (12)", "finest level: ", "NWD: take the constant C = ", "stats.json"):
        assert text in printed


@pytest.mark.slow
def test_options_have_effects(samples: Path, tmp_path: Path) -> None:
    plain = numbers(samples, tmp_path)

    def median(found: dict[str, object]) -> float:
        return float(found["all"]["side_px_network"]["spread"]["p50"])  # type: ignore[index]

    assert list(plain["splits"]) == ["train", "val"]  # type: ignore[call-overload]
    assert list(numbers(samples, tmp_path, "--splits", "val")["splits"]) == ["val"]  # type: ignore[call-overload]
    assert median(numbers(samples, tmp_path, "imgsz=320")) == pytest.approx(median(plain) / 2)
    tiled = numbers(samples, tmp_path, "--slice", "320", "--overlap", "0.5")
    assert (tiled["slice"], tiled["overlap"]) == (320, 0.5)
    assert median(tiled) == pytest.approx(2 * median(plain))
    assert tiled["all"]["network_inputs"] == 12 * 9  # type: ignore[index]


@pytest.mark.slow
def test_plots(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(f"hit-uav:{samples}", "--plots", tmp_path / "plots") == 0
    assert len(list((tmp_path / "plots").glob("*.png"))) == 6
    assert "sides.png" in capsys.readouterr().out


def test_notes_of_reading_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import PIL.Image

    PIL.Image.new("L", (100, 50)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("train: .\nnames: [thing]\n")
    assert call(tmp_path / "data.yaml") == 0
    assert "train: 1 box repeats an equal one (kept)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("imgsz=650",), "try 640"),
        (("--splits", "vall"), "no split 'vall'"),
        (("--splits", ","), "at least one split"),
        (("--overlap", "0.3"), "give --slice too"),
        (("--slice", "8"), "expected a tile size of 32 pixels or more"),
        (("imgszz=640",), "did you mean imgsz"),
    ],
)
def test_bad_input_is_one_line(
    samples: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert call(f"hit-uav:{samples}", *words) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


@pytest.mark.slow
def test_plots_that_cannot_be_written(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    assert call(f"hit-uav:{samples}", "--plots", taken) == 2
    assert "cannot be written" in capsys.readouterr().err
