"""`finespot predict`: its options have effects or are refused, its notes are true; parts of a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from cli_factory import Run, refused

from finespot import weights, zoo


class TestPredict:
    @pytest.mark.slow
    def test_idle_options_are_refused(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["predict", tiny, dataset / "images", "--project", tmp_path / "runs", "--no-images"]
        refused(run(*words, "--line-width", "3"), "line-width", "no picture is drawn")
        refused(run(*words, "--no-labels"), "labels")
        refused(run(*words, "--labels"), "labels")
        refused(run(*words, "--format", "png"), "format")
        refused(run(*words[:-1], "--format", "gif"), "format", "'gif'", "png")
        refused(run(*words[:-1], "--name", "a/b"), "name")
        assert not (tmp_path / "runs").exists()
        assert run(*words, "--format", "png", "--save-crops", "conf=0")[0] == 0
        assert {path.suffix for path in (tmp_path / "runs" / "run" / "crops").rglob("*.*")} <= {".png"}

    @pytest.mark.slow
    def test_format_reaches_pictures_and_crops(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "imgsz=320"]
        assert run(*words, "--save-crops", "--format", "png")[0] == 0
        assert {path.suffix for path in (tmp_path / "run").rglob("*.*")} == {".png", ".json"}

    @pytest.mark.slow
    def test_drawings_of_earlier_runs_are_no_pictures(
        self, run: Run, tiny: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(dataset)
        for number in range(3):
            code, out, _ = run("predict", tiny, "." if number else dataset)
            assert (code, " 2\n" in out) == (0, True)
            assert (f"{2 * number} pictures in runs/predict, where runs draw, are left out\n" in out) == bool(number)
        assert len(list((dataset / "runs" / "predict" / "run3").glob("*.jpg"))) == 2
        # Named themselves they are pictures like others.
        assert run("predict", tiny, "runs/predict/run")[0] == 0
        assert run("predict", tiny, "runs/predict", "--project", "runs/predict")[0] == 0
        for path in (dataset / "images").rglob("*.png"):
            path.unlink()
        refused(run("predict", tiny, "."), ".: ", "all ", "runs/predict, where runs draw")

    @pytest.mark.slow
    def test_next_is_something_new(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "imgsz=320"]

        def following(*more: str) -> str:
            lines = [line for line in run(*words, *more)[1].splitlines() if line.startswith("next: ")]
            return lines[0].partition(f"07716.jpg --project {tmp_path} --imgsz 320")[2] if lines else ""

        assert following() == " --slice 320"
        assert following("--slice", "320") == " --slice 320 --save-txt --save-crops"
        assert following("--slice=320", "--conf=0.4", "--save-txt") == " --slice=320 --conf=0.4 --save-txt --save-crops"
        assert following("--slice", "0", "--save-txt", "--save-crops") == ""

    @pytest.mark.slow
    def test_notes_on_tiles_and_on_what_is_left_out(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        (dataset / "images" / "clip.mp4").write_text("")
        _, out, _ = run("predict", tiny, dataset / "images", "--slice", "128", "--project", tmp_path)
        assert "tiles of 128 px are scaled to 64 px\n" in out
        assert "2 of 2 pictures were not cut" in out
        assert f"skipped {dataset / 'images' / 'clip.mp4'}: a video is read only where" in out
        refused(run("predict", tiny, "", "--project", tmp_path), "source", "empty")

    @pytest.mark.slow
    def test_nms_changes_what_is_found(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "--no-images", "imgsz=256", "conf=0.05"]
        found = {}
        for number, nms in enumerate((None, "greedy", "weighted", "soft(sigma=0.3)", "soft")):
            assert run(*words, "--name", number, *(["--nms", nms] if nms else []))[0] == 0
            found[nms] = (tmp_path / str(number) / "predictions.json").read_text()
        assert found.pop(None) == found["greedy"]
        assert len(set(found.values())) == len(found)
        assert run(*words, "--name", "word", "nms=soft(sigma=0.3)")[0] == 0
        assert (tmp_path / "word" / "predictions.json").read_text() == found["soft(sigma=0.3)"]
        assert "iou 0.5 is left out: nms soft takes no threshold\n" in run(*words, "--nms", "soft", "--iou", "0.5")[1]
        refused(run(*words, "--nms", "gredy", "--name", "none"), "unknown nms 'gredy'", "greedy")
        refused(run(*words, "--nms", "soft(sigm=1)", "--name", "none"), "option of the nms 'soft' 'sigm'", "sigma")
        refused(run(*words, "--nms", "soft(", "--name", "none"), "'soft('")
        assert not (tmp_path / "none").exists()

    @pytest.mark.slow
    def test_classes_come_before_the_limit(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "--no-images", "--max-det", "2"]
        for name, number in (("Person", 0), ("Bicycle", 2), ("Car", 1)):
            run(*words, "--classes", name, "--name", name)
            records = json.loads((tmp_path / name / "predictions.json").read_text())
            assert [record["category_id"] for record in records] == [number] * 2
        run(*words, "--classes", "2, Car", "--name", "two")
        records = json.loads((tmp_path / "two" / "predictions.json").read_text())
        assert {record["category_id"] for record in records} <= {1, 2}
        assert len(records) == 2
        for text, said in (("", "class ''"), (",", "class ''"), ("7", "0 to 3 but got 7"), ("persn", "Person")):
            refused(run(*words, "--classes", text, "--name", "none"), said)
        assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_own_parts(
    run: Run, card: weights.Card, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passing_neck.py").write_text("from finespot.nn.necks import PAFPN as Neck\n")
    monkeypatch.syspath_prepend(tmp_path)
    architecture = zoo.architecture("yolo11n", 2, neck="passing_neck:Neck")
    own = msgspec.structs.replace(card, architecture=architecture)
    path = weights.save(tmp_path / "own.safetensors", zoo.build(architecture), own)
    for words in (
        ["predict", path, dataset / "images", "--project", tmp_path / "p"],
        ["val", path, "--data", f"coco:{dataset}", "--project", tmp_path / "v", "--no-plots"],
    ):
        refused(run(*words), "passing_neck:Neck", "--own-parts")
        assert run(*words, "--own-parts")[0] == 0
