"""What verbs write, refuse to write over, and print: files, class names, help texts, interrupts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import finespot.cli
from finespot import weights, zoo
from finespot.structures import Classes

Run = Callable[..., tuple[int, str, str]]
STRANGE = ("[/red] car", "[class] 3")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; returns its exit code and what it printed on both streams."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            finespot.cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return call


def refused(said: tuple[int, str, str], *words: str) -> None:
    code, _, error = said
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for word in words:
        assert word in error


@pytest.fixture(scope="module")
def card() -> weights.Card:
    architecture = zoo.architecture("yolo11n", 2)
    return weights.Card(architecture=architecture, classes=Classes(STRANGE), imgsz=64)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, card: weights.Card) -> Path:
    """A random network of two classes with brackets in their names."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return weights.save(path, zoo.build(card.architecture), card)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A COCO data set of two pictures with an object each; returns its folder."""
    folder = tmp_path / "set"
    (folder / "images" / "val").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(folder / "images" / "val" / f"{name}.png")
    truth = {
        "images": [{"id": k, "file_name": f"{name}.png", "width": 60, "height": 40} for k, name in enumerate("ab")],
        "categories": [{"id": k, "name": name} for k, name in enumerate(STRANGE)],
        "annotations": [
            {"id": k + 1, "image_id": k, "category_id": k, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
            for k in range(2)
        ],
    }
    (folder / "annotations" / "val.json").write_text(json.dumps(truth))
    return folder


@pytest.fixture
def files(dataset: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A file of truth and one of detections."""
    found = [{"image_id": 0, "category_id": 0, "bbox": [5, 5, 10, 10], "score": 0.5}]
    truth = Path(shutil.copy(dataset / "annotations" / "val.json", tmp_path / "t.json"))
    (tmp_path / "d.json").write_text(json.dumps(found))
    return truth, tmp_path / "d.json"


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

    def test_truth_named_by_a_yaml(self, run: Run, tiny: Path, dataset: Path) -> None:
        yaml, truth = dataset / "set.yaml", dataset / "annotations" / "val.json"
        yaml.write_text(f"val: annotations/val.json\nnames: {json.dumps(STRANGE)}\n")
        for kept in (yaml, truth):
            refused(run("val", tiny, "--data", yaml, "--json", kept, "--overwrite"), kept.name, "input")

    def test_models(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "m.json").write_text("old")
        refused(run("models", "--json", tmp_path / "m.json"), "m.json", "--overwrite")
        assert run("models", "--json", tmp_path / "m.json", "--overwrite")[0] == 0
        assert "hit-uav-n" in (tmp_path / "m.json").read_text()

    @pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
    def test_devices_hold_nothing_to_keep(self, files: tuple[Path, Path]) -> None:
        truth, found = files
        words = ["-m", "finespot", "score", "--gt", truth, "--dt", found, "--json", "/dev/stdout"]
        code = "import sys, finespot.cli; finespot.cli.main(sys.argv[1:])"
        done = subprocess.run([sys.executable, "-c", code, *words[2:]], capture_output=True, text=True, check=True)
        report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
        assert report["images"] == 2
        assert done.stdout.endswith("wrote /dev/stdout\n")


class TestVal:
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

    def test_a_report_is_written_without_plots_too(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path, "--name", "x"]
        assert run(*words)[0] == run(*words)[0] == 0
        for name in ("x", "x2"):
            assert os.listdir(tmp_path / name) == ["report.json"]
        assert json.loads((tmp_path / "x" / "report.json").read_text())["settings"]["imgsz"] == 64
        assert run(*words, "--overwrite")[0] == 0
        assert not (tmp_path / "x3").exists()

    def test_the_table_says_how_it_was_made(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        words = ["val", tiny, "--data", f"coco:{dataset}", "--no-plots", "--project", tmp_path]
        _, out, _ = run(*words, "--slice", "32", "--max-det", "7", "conf=0.01")
        assert "made with conf 0.01, iou 0.7, imgsz 64, tiling (size 32, overlap 0.2), max_det 7\n" in out
        assert "at most 7 detections of a picture were kept; coco looks at 100 of each class\n" in out
        assert "tiles of 32 px are scaled to 64 px\n" in out


class TestPredict:
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

    def test_format_reaches_pictures_and_crops(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "imgsz=320"]
        assert run(*words, "--save-crops", "--format", "png")[0] == 0
        assert {path.suffix for path in (tmp_path / "run").rglob("*.*")} == {".png", ".json"}

    def test_next_is_something_new(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "imgsz=320"]

        def following(*more: str) -> str:
            lines = [line for line in run(*words, *more)[1].splitlines() if line.startswith("next: ")]
            return lines[0].partition("07716.jpg")[2] if lines else ""

        assert following() == " --slice 320"
        assert following("--slice", "320") == " --save-txt --save-crops"
        assert following("--slice", "320", "--save-txt") == " --save-crops"
        assert following("--slice", "0", "--save-txt", "--save-crops") == ""

    def test_notes_on_tiles_and_on_what_is_left_out(self, run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
        (dataset / "images" / "clip.mp4").write_text("")
        _, out, _ = run("predict", tiny, dataset / "images", "--slice", "128", "--project", tmp_path)
        assert "tiles of 128 px are scaled to 64 px\n" in out
        assert "2 of 2 pictures were not cut" in out
        assert f"skipped {dataset / 'images' / 'clip.mp4'}: a video is read only where" in out
        refused(run("predict", tiny, "", "--project", tmp_path), "source", "empty")

    def test_classes_come_before_the_limit(self, run: Run, samples: Path, tmp_path: Path) -> None:
        picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
        words = ["predict", "hit-uav-n", picture, "--project", tmp_path, "--no-images", "--max-det", "2"]
        for name, number in (("Person", 0), ("Bicycle", 2), ("Car", 1)):
            run(*words, "--classes", name, "--name", name)
            records = json.loads((tmp_path / name / "predictions.json").read_text())
            assert [record["category_id"] for record in records] == [number] * 2


def test_own_parts(
    run: Run, card: weights.Card, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passing_neck.py").write_text(
        "from torch import nn\n"
        "class Neck(nn.Module):\n"
        "    def __init__(self, inputs, widths, block, last_block):\n"
        "        super().__init__()\n"
        "        self.inputs = self.levels = tuple(inputs)\n"
        "    def forward(self, features):\n"
        "        return features\n"
    )
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


def test_class_names_are_no_markup(
    run: Run, tiny: Path, dataset: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, found = files
    for words in (
        ["predict", tiny, dataset / "images", "--project", tmp_path],
        ["val", tiny, "--data", f"coco:{dataset}", "--project", tmp_path, "--no-plots"],
        ["score", "--gt", truth, "--dt", found],
    ):
        code, out, _ = run(*words)
        assert code == 0
        for name in STRANGE:
            assert re.search(rf"^{re.escape(name)} +\d", out, re.MULTILINE)
    monkeypatch.setattr(weights, "bundled", lambda: ["tiny"])
    monkeypatch.setattr(weights, "resolve", lambda name: tiny)
    assert ", ".join(STRANGE) in run("models")[1]


def test_help_texts_lose_nothing_to_markup() -> None:
    """What stands in square brackets would be taken for a style and vanish."""
    code = (
        "import sys, finespot.cli\n"
        "try: finespot.cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: assert stop.code == 0"
    )
    for verb in finespot.cli.VERBS:
        done = subprocess.run(
            [sys.executable, "-c", code, *verb.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        written = " ".join(done.stdout.split())
        for text in help_texts(verb):
            assert " ".join(text.split()) in written
            assert "[" not in text
    assert "(default: the weights' own)" in " ".join(help_texts("predict"))


def help_texts(verb: str) -> list[str]:
    import inspect
    from importlib import import_module
    from typing import get_type_hints

    function = import_module(f"finespot.cli.{verb.replace(' ', '.')}").command
    hints = get_type_hints(function, include_extras=True)
    return [hints[name].__metadata__[0].help for name in inspect.signature(function).parameters if name in hints]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("verb", ["predict", "val"])
def test_an_interrupt_is_said(verb: str, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    """The command interrupts itself, as Ctrl-C does, while it works."""
    code = (
        "import os, signal, sys, finespot.cli\n"
        "from finespot.runtimes import Session\n"
        "Session.__call__ = lambda *args: os.kill(os.getpid(), signal.SIGINT)\n"
        "finespot.cli.main(sys.argv[1:])"
    )
    rest = [str(dataset / "images")] if verb == "predict" else ["--data", f"coco:{dataset}"]
    words = [verb, str(tiny), *rest, "--project", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
@pytest.mark.parametrize("words", [["--help"], ["models"], ["score", "--help"]])
def test_a_closed_pipe_gives_no_traceback(words: list[str]) -> None:
    code = "import sys, finespot.cli; finespot.cli.main(sys.argv[1:])"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run([sys.executable, "-c", code, *words], stdout=out, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.parametrize("change", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
def test_ascii_output_gives_no_traceback(files: tuple[Path, Path], change: dict[str, str]) -> None:
    truth, found = files
    truth.write_text(truth.read_text().replace(STRANGE[1], "\u8eca"), encoding="utf-8")
    code = "import sys, finespot.cli; finespot.cli.main(sys.argv[1:])"
    words = ["score", "--gt", str(truth), "--dt", str(found)]
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **change}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False, env=environment)
    assert done.returncode == 0
    assert done.stderr == b""
    assert rb"\u8eca" in done.stdout


def test_a_report_in_a_narrow_terminal_keeps_its_numbers(tiny: Path) -> None:
    from finespot.cli.predict import Tally

    tally = Tally(Classes(("x" * 100,)))
    console = Console(width=40, force_terminal=True, color_system=None)
    with console.capture() as said:
        console.print(tally.table())
    assert "x" * 8 in said.get()
    assert "…" not in said.get()
