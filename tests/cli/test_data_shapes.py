"""`finespot data shapes` on the command line, with a segmenter that needs no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_factory import Run, refused
from PIL import Image

from finespot.data import open_dataset
from finespot.data.painting import whole_pixels
from finespot.data.shapes import Shapes, sam


class Fake:
    """Finds the whole box, but nothing in boxes at the left."""

    loaded: list[tuple[str, str]]

    def __init__(self, model: str, device: str) -> None:
        self.name = sam.model_name(model)
        self.loaded.append((model, device))

    def __call__(self, pixels: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
        windows = whole_pixels(boxes, (pixels.shape[0], pixels.shape[1]))
        return [np.full((y2 - y1, x2 - x1), x1 > 10) for x1, y1, x2, y2 in windows]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Two pictures with three objects and an ignore region."""
    for name, text in (("a", "0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.1 0.1\n"), ("b", "1 0.6 0.6 0.2 0.2\n")):
        for kind in ("images", "labels"):
            (tmp_path / kind / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(tmp_path / "images" / "train" / f"{name}.png")
        (tmp_path / "labels" / "train" / f"{name}.txt").write_text(text)
    (tmp_path / "labels" / "train" / "b.ignore.txt").write_text("-1 0.2 0.2 0.2 0.2\n")
    file = tmp_path / "data.yaml"
    file.write_text("train: images/train\nval: images/train\nnames: [person, car]\n")
    return str(file)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The models that were loaded, with the device."""
    monkeypatch.setattr(Fake, "loaded", [], raising=False)
    monkeypatch.setattr(sam, "Sam", Fake)
    return Fake.loaded


def row(printed: str, name: str) -> list[str]:
    line = next(line for line in printed.splitlines() if name in line)
    return [cell.strip() for cell in line.split("│")[2:5]]


def test_shapes_are_made_once_and_counted(run: Run, data: str, tmp_path: Path, loaded: list[tuple[str, str]]) -> None:
    out = tmp_path / "shapes"
    words = ("data", "shapes", data, "--out", out, "--model", "some/sam", "--device", "cpu")
    code, printed, _ = run(*words, "--preview", 1)
    assert code == 0
    assert loaded == [("some/sam", "cpu")]
    assert "some/sam: from the Hugging Face hub, downloaded where it is not in the cache yet" in printed
    assert "device: cpu (asked for)" in printed
    assert row(printed, "pictures") == ["0", "2", "2"]
    assert row(printed, "objects") == ["0", "3", "3"]
    assert row(printed, "masks kept") == ["0", "2", "2"]
    assert row(printed, "not plausible: whole box") == ["0", "1", "1"]
    assert len(list((out / "preview").glob("*.jpg"))) == 1
    code, printed, _ = run(*words)
    assert (code, len(loaded)) == (0, 1)
    assert row(printed, "pictures") == ["2", "0", "2"]
    assert row(printed, "masks kept") == ["2", "0", "2"]
    shapes = Shapes(open_dataset(data, "train"), out)
    assert (shapes.objects, shapes.whole, shapes.models) == (3, 1, ["some/sam"])


def test_the_split_and_the_model_matter(run: Run, data: str, tmp_path: Path, loaded: list[tuple[str, str]]) -> None:
    out = tmp_path / "shapes"
    assert run("data", "shapes", data, "--out", out, "--model", "some/sam", "--split", "val")[0] == 0
    assert [path.parent.name for path in out.rglob("*.shape")] == ["val", "val"]
    assert run("data", "shapes", data, "--out", out, "--model", "some/sam")[0] == 0
    assert len(loaded) == 2
    other = ("data", "shapes", data, "--out", out, "--model", "other/sam")
    refused(run(*other), "shapes already that some/sam made, not other/sam; --overwrite replaces such")
    assert len(loaded) == 2
    code, printed, _ = run(*other, "--overwrite")
    assert code == 0
    assert row(printed, "pictures") == ["0", "2", "2"]
    assert Shapes(open_dataset(data, "train"), out).models == ["other/sam"]
    assert Shapes(open_dataset(data, "val"), out).models == ["some/sam"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "./absent"), "./absent: expected a folder with a model's files but there is none"),
        (("--model", "some/sam", "--device", "warp"), "unknown device 'warp'"),
        (("--model", "some/sam", "--split", "test"), "no split 'test'"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, data: str, tmp_path: Path, loaded: list[tuple[str, str]], words: tuple[str, ...], said: str
) -> None:
    refused(run("data", "shapes", data, "--out", tmp_path / "shapes", *words), said)
    assert not loaded
    assert not (tmp_path / "shapes").exists()


def test_folders_that_do_not_do(run: Run, data: str, tmp_path: Path, loaded: list[tuple[str, str]]) -> None:
    refused(run("data", "shapes", data, "--out", tmp_path, "--model", "some/sam"), "expected a folder of its own")
    refused(run("data", "shapes", data, "--out", data, "--model", "some/sam"), "expected a folder but got a file")
    assert not loaded
