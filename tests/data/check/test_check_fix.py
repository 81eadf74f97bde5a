"""The corrected copy: what is repaired, what stays, and that the original is left alone."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from check_factory import BOXES, CocoSet, YoloSet, check, line, scene

from finespot.data import open_dataset
from finespot.data.check.fix import write_fixed
from finespot.data.convert import Handling, open_target
from finespot.errors import FineSpotError


def state(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stems(spec: str, split: str) -> list[str]:
    dataset = open_dataset(spec, split)
    return [Path(dataset.path(index)).stem for index in range(len(dataset))]


def spoil(data: YoloSet) -> None:
    """All that a copy can repair."""
    data.add("train", "north_0000", "9 0.5 0.5 0.1 0.1\n", "0 nan 0.5 0.1 0.1\n")
    data.add("train", "north_0010", "0 0.99 0.5 0.1 0.1\n", "0 0.5 0.5 0 0.1\n")
    data.add("train", "north_0020", line(*BOXES[0]), line(*BOXES[0]))
    data.write("train", "lost", line(*BOXES[0]))
    data.picture("train", "north_0030").write_bytes(b"no picture")
    path = data.picture("train", "north_0040")
    path.write_bytes(path.read_bytes()[:-400])
    for split, stem in (("train", "east"), ("val", "west")):
        shutil.copy(data.picture("train", "north_0050"), data.picture(split, stem))
        shutil.copy(data.label("train", "north_0050"), data.label(split, stem))


def test_a_copy_has_none_of_the_faults_that_it_repairs(yolo: YoloSet, tmp_path: Path) -> None:
    spoil(yolo)
    before = state(yolo.root)
    report = check(yolo.data)
    assert report.counts() == {
        "record": 2, "orphan": 1, "broken": 1, "truncated": 1, "leak-copy": 1, "clipped": 1, "empty": 1, "twice": 2,
        "copy": 1,
    }  # fmt: skip
    written = write_fixed(report, open_target(f"yolo:{tmp_path / 'new'}"))
    assert state(yolo.root) == before
    new = f"yolo:{tmp_path / 'new'}"
    assert check(new).counts() == {}
    gone = {"north_0030", "north_0040", "north_0050", "east"}
    expected = {f"north_{number:04}" for number in range(0, 120, 10)} - gone
    # Of the picture in both splits the one in val stays, under its name.
    assert set(stems(new, "train")) == expected
    assert "west" in stems(new, "val")
    dataset = open_dataset(new, "train")
    counts = {Path(dataset.path(index)).stem: len(dataset.annotations(index)) for index in range(len(dataset))}
    assert (counts["north_0000"], counts["north_0010"], counts["north_0020"]) == (3, 4, 3)
    assert "twice (2): copies left out" in written.notes
    assert "truncated (1): left out" in written.notes
    assert "leak-copy (1): left out of the earlier split" in written.notes
    record = (tmp_path / "new" / "ORIGIN.md").read_text()
    assert "twice (2): copies left out" in record
    assert f"`data check {yolo.data} --fix yolo:{tmp_path / 'new'}`" in record


def test_what_needs_a_decision_stays_and_is_said(yolo: YoloSet, tmp_path: Path) -> None:
    yolo.add("train", "north_0000", line((20, 30, 32, 44.5)), line(BOXES[1][0], 0), line((50, 50, 51.5, 56)))
    shutil.copy(yolo.picture("train", "north_0050"), yolo.picture("train", "east"))
    yolo.write("train", "east", line(*BOXES[0]))
    report = check(yolo.data)
    counts = {"double": 1, "conflict": 1, "tiny": 1, "copy": 1, "contradiction": 1}
    assert report.counts() == counts
    written = write_fixed(report, open_target(f"yolo:{tmp_path / 'new'}"))
    assert check(f"yolo:{tmp_path / 'new'}").counts() == counts
    for name in ("double", "conflict", "tiny", "contradiction"):
        assert f"{name} (1): left as it is" in written.notes


def leaking(data: YoloSet) -> None:
    data.new("val", "north_0025", scene(50))
    data.new("val", "nearly", np.clip(scene(2) * 1.1 + 10, 0, 255).astype(np.uint8))


def test_leaks_stay_unless_they_are_to_be_dropped(yolo: YoloSet, tmp_path: Path) -> None:
    leaking(yolo)
    report = check(yolo.data)
    assert report.counts() == {"leak-near": 1, "leak-frames": 1}
    kept = write_fixed(report, open_target(f"yolo:{tmp_path / 'kept'}"))
    assert len(stems(f"yolo:{tmp_path / 'kept'}", "val")) == 8
    assert "leak-frames (1): left as it is" in kept.notes
    dropped = write_fixed(report, open_target(f"yolo:{tmp_path / 'dropped'}"), drop_leaks=True)
    assert len(stems(f"yolo:{tmp_path / 'dropped'}", "val")) == 6
    assert len(stems(f"yolo:{tmp_path / 'dropped'}", "train")) == 12
    assert check(f"yolo:{tmp_path / 'dropped'}").counts() == {}
    assert "leak-frames (1): left out of the later split" in dropped.notes


def test_a_split_is_never_emptied(yolo: YoloSet, tmp_path: Path) -> None:
    for number in range(6):
        yolo.picture("val", f"south_{10 * number:04}").unlink()
        yolo.label("val", f"south_{10 * number:04}").unlink()
    leaking(yolo)
    with pytest.raises(FineSpotError, match="every picture of 'val' would be left out"):
        write_fixed(check(yolo.data), open_target(f"yolo:{tmp_path / 'new'}"), drop_leaks=True)
    assert not (tmp_path / "new").exists()


def test_train_within_val_is_not_emptied(yolo: YoloSet, tmp_path: Path) -> None:
    for stem in [f"north_{number:04}" for number in range(0, 120, 10)]:
        shutil.copy(yolo.picture("train", stem), yolo.picture("val", stem))
        shutil.copy(yolo.label("train", stem), yolo.label("val", stem))
    report = check(yolo.data)
    assert report.counts() == {"leak-copy": 12, "collide": 12}
    written = write_fixed(report, open_target(f"yolo:{tmp_path / 'new'}"))
    assert len(stems(f"yolo:{tmp_path / 'new'}", "train")) == 12
    assert any(note.startswith("train: all its pictures are in a later split") for note in written.notes)


def test_class_tables_are_joined_by_name(coco: CocoSet, tmp_path: Path) -> None:
    coco.content["val"]["categories"] = [{"id": 0, "name": "car"}, {"id": 1, "name": "person"}]
    written = write_fixed(check(coco.data), open_target(f"coco:{tmp_path / 'new'}"))
    assert "classes (1): joined by name" in written.notes
    assert check(f"coco:{tmp_path / 'new'}").counts() == {}
    old, new = open_dataset(coco.data, "val"), open_dataset(f"coco:{tmp_path / 'new'}", "val")
    assert [old.classes[label] for label in old.annotations(0).labels] == [
        new.classes[label] for label in new.annotations(0).labels
    ]


def test_a_split_that_cannot_be_opened_is_said(yolo: YoloSet, tmp_path: Path) -> None:
    yolo.yaml(val="images/valid")
    written = write_fixed(check(yolo.data), open_target(f"yolo:{tmp_path / 'new'}"))
    assert "val was not opened and is not in the copy" in written.notes
    assert list(written.splits) == ["train"]


def test_never_in_place(yolo: YoloSet) -> None:
    with pytest.raises(FineSpotError, match="exists and is not empty"):
        open_target(f"yolo:{yolo.root}")
    with pytest.raises(FineSpotError, match="expected a folder outside the data set"):
        write_fixed(check(yolo.data), open_target(f"yolo:{yolo.root / 'images' / 'new'}"))


def test_pictures_are_placed_as_asked(yolo: YoloSet, tmp_path: Path) -> None:
    for way, link in (("link", True), ("copy", False)):
        write_fixed(check(yolo.data), open_target(f"yolo:{tmp_path / way}"), handling=Handling(way))
        assert (tmp_path / way / "images/train/north_0000.png").is_symlink() == link
