"""Names and paths of weights."""

from __future__ import annotations

import pytest

from finespot import weights
from finespot.errors import FineSpotError
from finespot.weights import catalog


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "bundled")
    (tmp_path / "bundled").mkdir()
    for name in ("hit-uav-n", "hit-uav-n-p2", "visdrone-s"):
        (tmp_path / "bundled" / f"{name}.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "bundled"


def test_bundled_names(folder) -> None:
    assert weights.bundled() == ["hit-uav-n", "hit-uav-n-p2", "visdrone-s"]
    assert weights.resolve("hit-uav-n") == folder / "hit-uav-n.safetensors"
    assert weights.resolve("hit-uav-n.safetensors") == folder / "hit-uav-n.safetensors"


def test_a_file_goes_before_a_name(folder, tmp_path) -> None:
    (tmp_path / "hit-uav-n").write_bytes(b"mine")
    assert weights.resolve("hit-uav-n").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hit-uav", "unknown weights 'hit-uav'; did you mean hit-uav-n"),
        ("runs/train/best.safetensors", "there is none"),
        ("runs/train/first/weights/best.safetensors", "there is none; the training 'first' writes it"),
        ("runs/train/first/weights/last.safetensors", "there is none; the training 'first' writes it"),
        ("runs/train/first/weights/abc.safetensors", "there is none; did you mean hit-uav-n, "),
        ("weights/best.safetensors", "there is none; did you mean hit-uav-n, "),
        ("weights/abc.safetensors", "there is none; did you mean hit-uav-n, "),
        ("bundled/visdrone.safetensors", "did you mean bundled/visdrone-s.safetensors"),
        ("bundled", "got a folder"),
        ("", "weights: expected a weight file or a name but got an empty text"),
        ("yolo11n", "'yolo11n' is an architecture.*weights in the package: hit-uav-n, "),
    ],
)
def test_what_is_not_there(folder, name, words) -> None:
    with pytest.raises(FineSpotError, match=words):
        weights.resolve(name)
