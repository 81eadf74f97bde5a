"""The verbs that need no training, end to end: what they print and write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import finespot.cli


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_bundled_weights_find_objects_on_the_samples(samples: Path, tmp_path: Path) -> None:
    assert call("predict", "hit-uav-n", samples / "images" / "val", "--project", tmp_path, "save_txt=true") == 0
    records = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert len(records) > 20
    assert {path.suffix for path in (tmp_path / "run").glob("*.*")} == {".jpg", ".json"}
    assert len(list((tmp_path / "run" / "labels").glob("*.txt"))) == 4


@pytest.mark.slow
def test_predict_options_have_effects(samples: Path, tmp_path: Path) -> None:
    picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"

    def found(name: str, *words: str) -> list[dict[str, object]]:
        assert call("predict", "hit-uav-n", picture, "--project", tmp_path, "--name", name, "images=false", *words) == 0
        return json.loads((tmp_path / name / "predictions.json").read_text())

    plain = found("plain")
    assert {record["category_id"] for record in found("persons", "--classes", "Person")} == {0}
    assert len(found("sure", "conf=0.6")) < len(plain)
    assert len(found("few", "max_det=2")) == 2
    assert found("small", "imgsz=320") != plain
    assert found("sliced", "--slice", "320") != plain
    assert not list((tmp_path / "plain").glob("*.jpg"))
    found("cut", "--save-crops")
    assert list((tmp_path / "cut" / "crops").rglob("*.jpg"))


@pytest.mark.slow
def test_val_suppresses_as_told(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["val", "hit-uav-n", "--data", f"hit-uav:{samples}", "--no-plots", "imgsz=320", "conf=0.05"]
    found = {}
    for number, nms in enumerate((None, "greedy", "soft(sigma=0.3)", "weighted")):
        results = tmp_path / f"{number}.json"
        more = ["--nms", nms] if nms else []
        assert call(*words, "--project", tmp_path / "runs", "--save-json", results, *more) == 0
        found[nms] = results.read_text()
    assert found.pop(None) == found["greedy"]
    assert len(set(found.values())) == 3
    out = capsys.readouterr().out
    assert out.count("made with conf 0.05, iou 0.7, nms greedy, imgsz 320") == 2
    assert out.count("iou 0.7 is left out: nms soft(sigma=0.3) takes no threshold\n") == 1


@pytest.mark.slow
def test_val_writes_numbers_detections_and_plots(samples: Path, tmp_path: Path) -> None:
    numbers, detections = tmp_path / "v.json", tmp_path / "d.json"
    words = ["--json", numbers, "--save-json", detections, "--project", tmp_path / "runs", "imgsz=320"]
    assert call("val", "hit-uav-n", "--data", f"hit-uav:{samples}", "--split", "val", *words) == 0
    report = json.loads(numbers.read_text())
    assert (report["protocol"], report["split"], report["images"]) == ("coco", "val", 4)
    assert 0 < report["values"]["AP"] < 1
    assert set(report["per_class"]) == {"Person", "Car", "Bicycle", "OtherVehicle"}
    assert {path.name for path in (tmp_path / "runs" / "run").iterdir()} >= {"report.json", "pr_curves.png"}
    again = tmp_path / "s.json"
    assert call("score", "--gt", samples / "annotations" / "val.json", "--dt", detections, "--json", again) == 0
    assert json.loads(again.read_text())["values"] == pytest.approx(report["values"], abs=1e-6)


@pytest.mark.slow
def test_val_by_several_protocols(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--no-plots", "--json", tmp_path / "v.json", "--project", tmp_path / "runs", "imgsz=320", "--sizes", "16"]
    data = ["--data", f"hit-uav:{samples}", "--protocol", "ai-tod,coco", "--max-dets", "1,10,100"]
    assert call("val", "hit-uav-n", *data, *words) == 0
    made = json.loads((tmp_path / "v.json").read_text())["reports"]
    names = [f"{name} maxDets 1/10/100 sizes 16" for name in ("ai-tod", "coco")]
    names[1] = "coco sizes 16"
    assert [one["protocol"] for one in made] == names
    assert all("AP_16+" in one["values"] for one in made)
    assert [line in capsys.readouterr().out for line in (f"{names[0]}, split val",)] == [True]
