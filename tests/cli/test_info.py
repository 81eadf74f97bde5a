"""`finespot info` and `finespot models`: figures of networks on the terminal and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from finespot import cli, zoo
from finespot.training import recipe_names


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_an_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "info.json"
    assert run("info", "yolo11n-p2", "--classes", "10", "--imgsz", "96x352", "--json", str(out)) == 0
    said = capsys.readouterr().out
    assert "yolo11n-p2, 10 classes, 352x96 px" in said
    assert "neck.top_down.p2" in said
    report = json.loads(out.read_text())
    assert report["name"] == "yolo11n-p2"
    assert report["size"] == [96, 352]
    assert report["parameters"] > report["parameters_fused"] > 2e6
    assert report["gflops"] == report["gflops_fused"] == pytest.approx(sum(s["gflops"] for s in report["stages"]))
    assert report["rule"].startswith("counted: 2 x multiply-adds")


@pytest.mark.slow
def test_weights_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "hit-uav-n", "--rule", "thop", "--imgsz", "64") == 0
    said = capsys.readouterr().out
    assert "classes: Person, Car, Bicycle, OtherVehicle" in said
    assert "no attention products" in said
    assert run("info", "yolo11n", "--imgsz", "64", "neck=finespot.nn.necks.pafpn:PAFPN") == 0
    assert "yolo11n (neck=finespot.nn.necks.pafpn:PAFPN)" in capsys.readouterr().out


@pytest.mark.slow
def test_none_takes_a_part_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "esod-yolov5s", "--imgsz", "64", "--classes", "10", "--set", "relay=none") == 0
    assert "parameters: 13,630,407" in capsys.readouterr().out


@pytest.mark.slow
def test_models_lists_what_the_recipes_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    said = capsys.readouterr().out
    assert re.search(r"yolo-sod-uavvaste\W+yolo-sod\W+300\W+1024", said)
    assert all(name in said for name in recipe_names())


@pytest.mark.slow
def test_times_part_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "yolov8n", "--profile", "1", "--imgsz", "64", "--device", "cpu", "--threads", "1") == 0
    said = capsys.readouterr().out
    assert "timed on cpu (asked for), fp32, 1 threads, median of 1 runs" in said
    assert " ms " in said
    _, layers = said.split("the slowest of")
    assert len(re.findall(r"(?:backbone|neck|head)\.\S+ .* \d+\.\d\d ", layers)) > 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["yolo11q"], "yolo11q"),
        (["yolo11n", "--imgsz", "100"], "imgsz: expected multiples of 32 but got 100 x 100"),
        (["yolo11n", "--imgsz", "64x64x64"], "expected a side or HEIGHTxWIDTH in pixels but got '64x64x64'"),
        (["yolo11n", "--rule", "mine"], "unknown rule 'mine'"),
        (["yolo11n", "--set", "nek=x"], "unknown yolo11 option 'nek'"),
        (["yolo11n", "--set", "nek"], "set: expected key=value but got 'nek'"),
        (["hit-uav-n", "--classes", "3"], "hit-uav-n: --classes belongs to an architecture"),
        (["hit-uav-n", "p2=true"], "hit-uav-n: --set belongs to an architecture"),
    ],
)
def test_wrong_words(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_models_by_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "models.json"
    assert run("models", "yolov8n*", "--json", str(out)) == 0
    report = json.loads(out.read_text())
    assert [row["name"] for row in report["architectures"]] == ["yolov8n", "yolov8n-p2"]
    first = report["architectures"][0]
    assert {"name", "parameters", "parameters_fused", "gflops", "gflops_fused", "rule"} <= first.keys()
    assert first["gflops"] == pytest.approx(8.744, abs=6e-4)
    assert report["weights"] == ["hit-uav-n"]
    capsys.readouterr()
    assert run("models") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in zoo.names())
    assert "2,624,080" not in said
    assert "CC BY 4.0" in said
    assert "GFLOPs" not in said
    assert run("models", "yolo11n") == 0
    assert "2,624,080" in capsys.readouterr().out
    assert run("models", "yolov8n", "--cost", "--rule", "thop", "--classes", "3") == 0
    assert "8 a value of batch norm" in capsys.readouterr().out
    assert run("models", "nothing*") == 2
    assert "no architecture is called 'nothing*'" in capsys.readouterr().err
