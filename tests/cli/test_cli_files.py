"""Files that verbs write: none is written over by accident, all are checked before the work, all hold what they say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli_factory import STRANGE, Run, process, refused

import finespot.inference
from finespot import images


class TestFilesThatExist:
    def test_score(self, run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
        truth, found = files
        before = truth.read_bytes(), found.read_bytes()
        words = ["score", "--gt", truth, "--dt", found, "--json"]
        for kept in files:
            for more in ([], ["--overwrite"]):
                refused(run(*words, kept, *more), kept.name, "input of this command")
        (tmp_path / "link.json").symlink_to(truth)
        refused(run(*words, tmp_path / "link.json", "--overwrite"), "link.json", "input")
        assert (truth.read_bytes(), found.read_bytes()) == before
        assert run(*words, tmp_path / "out.json")[0] == 0
        refused(run(*words, tmp_path / "out.json"), "out.json", "--overwrite")
        (tmp_path / "out.json").write_text("old")
        assert run(*words, tmp_path / "out.json", "--overwrite")[0] == 0
        assert json.loads((tmp_path / "out.json").read_text())["images"] == 2
        refused(run(*words, tmp_path, "--overwrite"), "a folder")

    @pytest.mark.parametrize("verb", ["check", "stats", "tile", "convert", "split"])
    def test_reports_on_data(self, run: Run, dataset: Path, tmp_path: Path, verb: str) -> None:
        kept = tmp_path / "kept.json"
        kept.write_text("old")
        target = {"tile": [f"coco:{tmp_path / 'new'}", "--size", 64], "convert": [f"coco:{tmp_path / 'new'}"]}
        target["split"] = [f"coco:{tmp_path / 'new'}", "--ratios", "train=0.5,val=0.5"]
        words = ["data", verb, f"coco:{dataset}", *target.get(verb, []), "--json"]
        refused(run(*words, kept), "kept.json", "--overwrite")
        truth = next((dataset / "annotations").glob("*.json"))
        refused(run(*words, truth, "--overwrite"), truth.name, "input of this command")
        assert kept.read_text() == "old"
        assert not (tmp_path / "new").exists()
        assert run(*words, kept, "--overwrite")[0] in (0, 1)
        json.loads(kept.read_text())
        if verb in ("check", "stats"):
            refused(run(*words[:-1], "--overwrite"), "overwrite", "--json")

    @pytest.mark.slow
    def test_val(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path / "runs"]
        truth, out = dataset / "annotations" / "val.json", tmp_path / "o.json"
        before = truth.read_bytes()
        for option in ("--json", "--save-json"):
            for kept in (truth, tiny, dataset / "images" / "val" / "a.png"):
                refused(run(*words, option, kept, "--overwrite"), kept.name, "input of this command")
            out.write_text("old")
            refused(run(*words, option, out), "o.json", "--overwrite")
            assert out.read_text() == "old"
        refused(run(*words, "--json", tmp_path / "n.json", "--save-json", tmp_path / "n.json"), "twice")
        assert not (tmp_path / "runs").exists()
        assert run(*words, "--json", out, "--save-json", tmp_path / "d.json", "--overwrite")[0] == 0
        assert json.loads(out.read_text())["protocol"] == "coco"
        assert truth.read_bytes() == before

    @pytest.mark.slow
    def test_truth_named_by_a_yaml(self, run: Run, tiny: Path, dataset: Path) -> None:
        yaml, truth = dataset / "set.yaml", dataset / "annotations" / "val.json"
        yaml.write_text(f"val: annotations/val.json\nnames: {json.dumps(STRANGE)}\n")
        for kept in (yaml, truth):
            refused(run("val", tiny, "--data", yaml, "--json", kept, "--overwrite"), kept.name, "input")

    @pytest.mark.slow
    def test_models(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "m.json").write_text("old")
        refused(run("models", "yolov8n", "--json", tmp_path / "m.json"), "m.json", "--overwrite")
        assert run("models", "yolov8n", "--json", tmp_path / "m.json", "--overwrite")[0] == 0
        assert "hit-uav-n" in (tmp_path / "m.json").read_text()

    @pytest.mark.slow
    @pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
    def test_devices_hold_nothing_to_keep(self, files: tuple[Path, Path]) -> None:
        truth, found = files
        words = ["score", "--gt", truth, "--dt", found, "--json", "/dev/stdout"]
        done = process(*words, capture_output=True, text=True)
        report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
        assert report["images"] == 2
        assert done.stdout.endswith("wrote /dev/stdout\n")


class TestOverwrite:
    @pytest.mark.slow
    def test_pictures_are_not_drawn_over(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        folder = dataset / "images" / "val"
        before = {path: path.read_bytes() for path in dataset.rglob("*.*")}
        (tmp_path / "list.txt").write_text(f"{folder / 'b.png'}\n")
        (tmp_path / "linked").symlink_to(dataset, target_is_directory=True)
        (tmp_path / "beside").mkdir()
        (tmp_path / "beside" / "a.png").symlink_to(folder / "a.png")
        for source in (folder, folder / "a.png", f"{folder}/*.png", tmp_path / "list.txt"):
            for place in (folder, dataset, tmp_path / "linked" / "images"):
                words = ["predict", tiny, source, "--project", place.parent, "--name", place.name, "--overwrite"]
                refused(run(*words, "--format", "png", "conf=0"), str(place), "input of this command", "--name")
        words = ["predict", tiny, tmp_path / "beside" / "a.png", "--overwrite", "--format", "png"]
        refused(run(*words, "--project", tmp_path, "--name", "beside"), "beside", "input", "a.png")
        assert {path: path.read_bytes() for path in dataset.rglob("*.*")} == before
        # A folder of its own in the one of the pictures is fine, again and again.
        for _ in range(2):
            assert run(*words, "--project", folder, "--name", "found")[0] == 0
        assert sorted(os.listdir(folder / "found")) == ["a.png", "predictions.json"]

    def test_a_video_is_not_drawn_over(self, run: Run, tiny: Path, tmp_path: Path) -> None:
        av = pytest.importorskip("av")
        assert av
        with images.VideoWriter(tmp_path / "clip.mp4", 5, (32, 32)) as video:
            video.write(np.zeros((32, 32, 3), np.uint8))
        before = (tmp_path / "clip.mp4").read_bytes()
        words = ["predict", tiny, tmp_path / "clip.mp4", "--project", tmp_path.parent, "--name", tmp_path.name]
        refused(run(*words, "--overwrite"), "clip.mp4", "input of this command")
        assert (tmp_path / "clip.mp4").read_bytes() == before

    @pytest.mark.slow
    def test_val(self, run: Run, tiny: Path, dataset: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--project", dataset.parent, "--name", dataset.name]
        refused(run(*words, "--overwrite"), str(dataset), "input of this command")
        assert not (dataset / "report.json").exists()


class TestVal:
    @pytest.mark.slow
    def test_outputs_are_checked_before_the_evaluation(
        self, run: Run, tiny: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(finespot.inference, "validate", lambda *args, **options: pytest.fail("was evaluated"))
        (tmp_path / "file").write_text("")
        words = ["val", tiny, "--data", f"coco:{dataset}"]
        refused(run(*words, "--name", "a/b"), "name")
        refused(run(*words, "--name", ""), "name")
        refused(run(*words, "--project", tmp_path / "file"), "file")
        refused(run(*words, "--json", tmp_path / "file" / "x.json"), "file")
        refused(run(*words, "--save-json", tmp_path / "file" / "x.json"), "file")

    @pytest.mark.slow
    def test_a_report_is_written_without_plots_too(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path, "--name", "x"]
        assert run(*words)[0] == run(*words)[0] == 0
        for name in ("x", "x2"):
            assert os.listdir(tmp_path / name) == ["report.json"]
        assert json.loads((tmp_path / "x" / "report.json").read_text())["settings"]["imgsz"] == 64
        assert run(*words, "--overwrite")[0] == 0
        assert not (tmp_path / "x3").exists()

    @pytest.mark.slow
    def test_the_table_says_how_it_was_made(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path]
        _, out, _ = run(*words, "--slice", "32", "--max-det", "7", "conf=0.01")
        assert "made with conf 0.01, iou 0.7, nms greedy, imgsz 64, tiling (size 32, overlap 0.2), max_det 7\n" in out
        assert "at most 7 detections of a picture were kept; coco looks at 100 of each class\n" in out
        assert "tiles of 32 px are scaled to 64 px\n" in out
