"""`finespot compare`: folders, sheets and detections of several weights; bad input is said before anything is done."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cli_factory import STRANGE, Run, refused
from PIL import Image

from finespot import weights
from finespot.cli.compare import model_names, tiling_notes, tilings_of
from finespot.errors import FineSpotError
from finespot.inference import model as prediction
from finespot.structures import Classes, Tiling
from finespot.tiling import windows

OWN = Tiling(32, 0.25, whole=True, merge="nmm", metric="ios")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The same network, whose classes have another order and one a name of its own."""
    detector, card = weights.load(tiny)
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    return weights.save(path, detector, msgspec.structs.replace(card, classes=Classes((STRANGE[1], "boat"))))


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """The same network, whose file stores a tiling."""
    detector, card = weights.load(tiny)
    path = tmp_path_factory.mktemp("tiled") / "tiled.safetensors"
    return weights.save(path, detector, msgspec.structs.replace(card, tiling=OWN))


@pytest.fixture
def asked(run: Run, tiled: Path, tiny: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How the tiled model and the other one are asked to cut by some words, and what is printed."""
    seen = []

    def walk(session, entries, settings, timing):
        seen.append(settings.scaling.tiling)
        return iter(())

    monkeypatch.setattr(prediction, "walk", walk)

    def call(*words: str) -> tuple[Tiling | None, Tiling | None, str]:
        seen.clear()
        code, out, said = run(
            "compare", tiled, tiny, "--source", dataset / "images", "--project", tmp_path / "r", *words
        )
        assert code == 2, said  # no picture comes
        assert said == ""
        return seen[0], seen[1], out

    return call


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def found(path: Path) -> list[dict[str, object]]:
    return json.loads((path / "predictions.json").read_text())


@pytest.mark.slow
def test_folders_sheets_and_detections(run: Run, tiny: Path, other: Path, dataset: Path, tmp_path: Path) -> None:
    words = [tiny, other, "--source", dataset / "images", "--project", tmp_path, "conf=0", "max_det=5"]
    code, out, _ = run("compare", *words)
    assert code == 0
    names = {"a.jpg", "b.jpg"}
    expected = {f"{place}/{name}" for place in ("tiny", "other", "sheets") for name in names}
    assert files(tmp_path / "run") == expected | {"tiny/predictions.json", "other/predictions.json"}
    # Each finds what it finds alone.
    for path in (tiny, other):
        run("predict", path, dataset / "images", "--project", tmp_path, "--name", "p", "--overwrite", *words[-2:])
        assert found(tmp_path / "p") == found(tmp_path / "run" / path.stem)
        assert len(found(tmp_path / "p")) == 2
    assert np.asarray(Image.open(tmp_path / "run" / "sheets" / "a.jpg")).shape[1] == 2 * 64 - 4
    # One line a class, all classes of both.
    counts = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in out.splitlines() if len(line) > 20}
    assert counts["class"] == ["tiny", "other"]
    assert counts["all"] == ["2", "2"]
    assert counts[STRANGE[0]][1] == "-"
    assert counts["boat"][0] == "-"
    assert f"wrote {tmp_path / 'run'}\n" in out
    # A second run has a folder of its own; --overwrite takes the first.
    assert run("compare", *words)[0] == 0
    assert files(tmp_path / "run2") == files(tmp_path / "run")
    assert run("compare", *words, "--overwrite", "--no-images", "--names", "x,y", "--format", "png")[0] == 0
    more = {"x/predictions.json", "y/predictions.json", "sheets/a.png", "sheets/b.png"}
    assert files(tmp_path / "run") == files(tmp_path / "run2") | more


@pytest.mark.slow
def test_truth_has_a_panel(run: Run, tiny: Path, other: Path, dataset: Path, tmp_path: Path) -> None:
    words = ["compare", tiny, "--data", f"coco:{dataset}", "--project", tmp_path, "conf=0.9", "--format", "png"]
    assert run(*words)[0] == 0
    page = np.asarray(Image.open(tmp_path / "run" / "sheets" / "a.png"))
    assert page.shape[1] == 2 * 64 - 4
    left, right = page[17:57, :60], page[17:57, 64:]
    assert (left.max(2).astype(int) - left.min(2) > 100).any(), "the box of the truth"
    assert (right.max(2) == right.min(2)).all(), "nothing found"
    assert run(*words, other, "--name", "two")[0] == 0
    assert np.asarray(Image.open(tmp_path / "two" / "sheets" / "a.png")).shape[1] == 3 * 64 - 4
    # Pictures without truth are shown, and counted.
    more = Path(shutil.copytree(dataset / "images", tmp_path / "more"))
    code, out, _ = run(*words, "--source", dataset, "--name", "some")
    assert (code, "have no truth" in out) == (0, False)
    shutil.copy(more / "val" / "a.png", dataset / "images" / "c.png")
    code, out, _ = run(*words, "--source", dataset / "images", "--name", "three")
    assert f"1 of 3 pictures are not in coco:{dataset} and have no truth\n" in out
    assert len(list((tmp_path / "three" / "sheets").iterdir())) == 3
    # Other classes are left out of the truth too: the object in "a" is of the first.
    assert run(*words, "--classes", STRANGE[1], "--name", "second")[0] == 0
    page = np.asarray(Image.open(tmp_path / "second" / "sheets" / "a.png"))
    assert (page[17:57].max(2) == page[17:57].min(2)).all()
    refused(run(*words, "--source", more), "holds none of the 2 pictures")


@pytest.mark.slow
def test_options_have_effects(run: Run, samples: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copy(weights.resolve("hit-uav-n"), tmp_path / "copied.safetensors"))
    picture = samples / "images" / "val" / "1_70_70_0_07716.jpg"
    words = ["compare", "hit-uav-n", copied, "--source", picture, "--project", tmp_path, "imgsz=320"]
    made = {}
    for number, more in enumerate(
        (
            [],
            ["conf=0.6"],
            ["--iou", "0.2"],
            ["--nms", "weighted"],
            ["--max-det", "2"],
            ["--classes", "Car"],
            ["--imgsz", "256"],
            ["--slice", "256"],
            ["--slice", "256", "--overlap", "0.5"],
            ["--line-width", "4"],
            ["--no-labels"],
            ["--columns", "1"],
            ["--panel", "300"],
            ["--names", "first,second"],
        )
    ):
        assert run(*words, "--name", number, *more)[0] == 0
        made[(tmp_path / str(number) / "sheets" / picture.name).read_bytes()] = more
    assert len(made) == 14
    records = [found(tmp_path / "0" / name) for name in ("hit-uav-n", "copied")]
    assert records[0] == records[1] != []
    assert {record["category_id"] for record in found(tmp_path / "5" / "copied")} == {1}


@pytest.mark.slow
def test_an_option_replaces_what_it_names_in_each_file(asked) -> None:
    first, second, out = asked("--overlap", "0")
    assert (first, second) == (replace(OWN, overlap=0.0), None)
    assert [len(windows((40, 60), one)) for one in (OWN, first)] == [7, 5]
    assert "tiled: tiles of 32 px with an overlap of 0, the whole picture too, merged by nmm (ios)\n" in out
    assert "tiny: whole pictures, on which --overlap has no effect\n" in out
    first, second, out = asked("--slice", "48")
    assert (first, second) == (replace(OWN, size=48), Tiling(48))
    assert "tiny: tiles of 48 px with an overlap of 0.2\n" in out


@pytest.mark.parametrize(
    ("size", "overlap", "merge", "first", "second"),
    [
        (None, None, None, OWN, None),
        (None, 0.1, None, replace(OWN, overlap=0.1), None),
        (None, None, "greedy", replace(OWN, merge="greedy", metric=None), None),
        (64, None, "soft", replace(OWN, size=64, merge="soft", metric=None), Tiling(64, merge="soft")),
        (0, None, None, Tiling(None), Tiling(None)),
    ],
)
def test_tilings_of_two_files(size, overlap, merge, first: Tiling, second: Tiling | None) -> None:
    assert tilings_of({"a": OWN, "b": None}, size, overlap, merge=merge) == {"a": first, "b": second}


def test_tilings_that_are_refused() -> None:
    with pytest.raises(FineSpotError, match=r"^overlap: has no effect on whole pictures; give --slice too"):
        tilings_of({"a": None, "b": None}, None, 0.1)
    with pytest.raises(FineSpotError, match=r"^merge-metric: unknown metric"):
        tilings_of({"a": OWN, "b": OWN}, None, None, metric="giou")
    # 40 px are more than the tiles of one file have: the error names it.
    with pytest.raises(FineSpotError, match=r"^b: overlap: expected .* below 32"):
        tilings_of({"a": Tiling(64), "b": OWN}, None, 40)


def test_different_tilings_are_said() -> None:
    assert tiling_notes({"a": OWN, "b": OWN}, ["--overlap"]) == {}
    assert tiling_notes({"a": None, "b": Tiling(None)}, []) == {}
    said = tiling_notes({"a": Tiling(64, 16), "b": None}, ["--overlap", "--merge"])
    assert said["a"] == ["tiles of 64 px with an overlap of 16 px"]
    assert said["b"] == ["whole pictures, on which --overlap and --merge have no effect"]


@pytest.mark.slow
def test_a_bad_file_is_said_before_anything_is_done(run: Run, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no weights at all")
    words = ["--source", dataset / "images", "--project", tmp_path / "runs"]
    refused(run("compare", tiny, bad, *words), "bad.safetensors")
    refused(run("compare", tiny, "nothing-like-it", *words), "nothing-like-it")
    refused(run("compare", tiny, *words), "expected weights to compare with", "--data")
    refused(run("compare", tiny, tiny, *words), "given twice")
    two = ["compare", tiny, "hit-uav-n"]
    refused(run(*two, "--project", tmp_path / "runs"), "--source or --data")
    refused(run(*two, *words, "--split", "val"), "split", "no effect without --data")
    refused(run(*two, *words, "--format", "gif"), "'gif'")
    refused(run(*two, *words, "--overlap", "0.3"), "overlap", "--slice")
    refused(run(*two, *words, "--classes", "boat"), "tiny: unknown class 'boat'")
    refused(run(*two, *words, "--names", "a"), "expected 2 names")
    refused(run(*two, *words, "--names", "a,b/c"), "plain folder name")
    refused(run(*two, *words, "--names", "a,A"), "different names")
    refused(run(*two, *words, "--names", "a,Truth"), "different names")
    refused(run(*two, "--source", tmp_path / "none", *words[2:]), "none")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    refused(run(*two, "--source", broken, *words[2:]), "broken.png")
    assert not (tmp_path / "runs").exists()
    code, out, _ = run(*two, "--source", tmp_path / "b*.png", *words[2:])
    assert code == 2
    assert f"skipped {broken}: " in out


@pytest.mark.slow
def test_a_video_is_refused(run: Run, tiny: Path, other: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    refused(run("compare", tiny, other, "--source", tmp_path / "clip.mp4"), "expected pictures but got a video")


def test_input_is_not_written_over(run: Run, tiny: Path, other: Path, dataset: Path) -> None:
    images = dataset / "images"
    words = ["compare", tiny, other, "--source", images, "--project", dataset, "--name", "images", "--overwrite"]
    refused(run(*words), "holds input of this command")


def test_names_of_models() -> None:
    assert model_names(["hit-uav-n", "a/b/v1.2.safetensors"], None) == ["hit-uav-n", "v1.2"]
    runs = ["runs/one/weights/best.safetensors", "runs/two/weights/best.safetensors", "x.safetensors"]
    assert model_names(runs, None) == ["one-best", "two-best", "x"]
    assert model_names(["a/best.safetensors", "a/Best.safetensors"], None) == ["best", "Best_2"]
    assert model_names(["sheets.safetensors", "truth"], None) == ["sheets_2", "truth_2"]
    assert model_names(["a", "b"], "old model, new") == ["old model", "new"]
    assert model_names(["a"], None, alone=True) == ["a"]
    with pytest.raises(FineSpotError, match="weights to compare"):
        model_names(["a"], None)
