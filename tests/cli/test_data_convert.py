"""`finespot data convert`, `split` and `results`, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import finespot.cli
from finespot.data import dataset_splits, open_dataset


def call(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert call(*words) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "\n" not in said
    return said


def picture(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, np.uint8)).save(path)
    return path


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Six pictures of two flights in train, one in val; returns the YAML file."""
    folder = tmp_path / "set"
    for split, stems in (("train", [f"f{flight}_{k}" for flight in range(2) for k in range(3)]), ("val", ["g0_1"])):
        for number, stem in enumerate(stems):
            picture(folder / f"images/{split}/{stem}.png")
            (folder / f"labels/{split}").mkdir(parents=True, exist_ok=True)
            (folder / f"labels/{split}/{stem}.txt").write_text(f"{number % 2} 0.5 0.5 0.1 0.2\n")
    (folder / "labels/train/f0_0.ignore.txt").write_text("-1 0.25 0.25 0.5 0.5\n")
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [car, bus]\n")
    return folder / "data.yaml"


def test_convert(yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert call("data", "convert", yolo, f"voc:{tmp_path / 'out'}", "--images", "copy", "--json", report) == 0
    printed = capsys.readouterr().out
    assert "voc holds no ignore regions: 1 dropped; --paint-ignore gray paints them" in printed
    assert "1 -> 0" in printed
    assert f"wrote {tmp_path / 'out'}" in printed
    assert dataset_splits(f"voc:{tmp_path / 'out'}") == ["train", "val"]
    assert json.loads(report.read_text())["written"]["train"]["objects"] == {"car": 3, "bus": 3}
    said = (tmp_path / "out/ORIGIN.md").read_text()
    assert f"finespot data convert {yolo} voc:{tmp_path / 'out'} --images copy" in said
    assert "there is such a file already" in refused(
        capsys, "data", "convert", yolo, f"voc:{tmp_path / 'new'}", "--json", report
    )
    assert not (tmp_path / "new").exists(), "known before the work"


def test_convert_options_have_effects(yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--splits", "test=train", "--classes", "vehicle=*", "paint_ignore=85", "--workers", "1"]
    assert call("data", "convert", yolo, f"coco:{tmp_path / 'out'}", *words) == 0
    data = open_dataset(f"coco:{tmp_path / 'out'}", "test")
    assert data.classes.names == ("vehicle",)
    assert (data.image(0).read((0, 0, 20, 10)) == 85).all()
    said = (tmp_path / "out/ORIGIN.md").read_text()
    assert "--splits test=train --classes 'vehicle=*' --other-classes drop --images link --paint-ignore 85" in said
    out = f"coco:{tmp_path / 'out'}"
    assert "--overwrite replaces it" in refused(capsys, "data", "convert", yolo, out)
    assert call("data", "convert", yolo, out, "--overwrite", "--classes", "bus", "--other-classes", "ignore") == 0
    assert dataset_splits(out) == ["train", "val"]
    assert (open_dataset(out, "train").rows.labels == -1).sum() == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "move"], "unknown way to place pictures 'move'"),
        (["--paint-ignore", "grey"], "expected gray, mean or a value from 0 to 255 but got 'grey'"),
        (["--paint-objects"], "painting ignored objects has no effect"),
        (["--classes", "cart"], "unknown class 'cart'; did you mean car"),
        (["--splits", "vall"], "unknown split 'vall'; did you mean val"),
        (["--other-classes", "keep"], "unknown choice for the classes not kept 'keep'"),
    ],
)
def test_convert_refuses(
    words: list[str], said: str, yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "data", "convert", yolo, f"coco:{tmp_path / 'out'}", *words)
    assert not (tmp_path / "out").exists()


def test_split(yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--ratios", "train=0.5,val=0.5", "--group-by", "prefix", "seed=3"]
    assert call("data", "split", yolo, f"yolo:{out}", *words) == 0
    printed = capsys.readouterr().out
    assert "grouped by file name without number: 3 groups" in printed
    stems = [{path.stem[:2] for path in (out / f"images/{split}").iterdir()} for split in ("train", "val")]
    assert stems[0] | stems[1] == {"f0", "f1", "g0"}
    assert not stems[0] & stems[1]
    said = (out / "ORIGIN.md").read_text()
    assert f"data split {yolo} yolo:{out} --ratios train=0.5,val=0.5 --seed 3 --group-by prefix --images link" in said


def test_split_options_have_effects(yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in {
        "gap": ["--gap", "0", "--ratios", "train=0.7,val=0.3"],
        "few": ["--splits", "train", "--ratios", "a=0.5", "--ratios", "b=0.5", "--group-by", "file"],
    }.items():
        assert call("data", "split", yolo, f"coco:{tmp_path / name}", *words) == 0
    printed = capsys.readouterr().out
    assert "7 groups, numbers at most 0 apart" in printed
    assert "grouped by file: 6 groups" in printed
    assert dataset_splits(f"coco:{tmp_path / 'few'}") == ["a", "b"]
    out = f"coco:{tmp_path / 'x'}"
    assert "add up to 1" in refused(capsys, "data", "split", yolo, out, "--ratios", "train=0.5,val=0.4")
    assert "names no videos" in refused(
        capsys, "data", "split", yolo, out, "--ratios", "a=0.5,b=0.5", "--group-by", "video"
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What was found in the train pictures of `yolo`."""
    records = [
        {"image_id": "f0_1", "category_id": 0, "bbox": [1, 2, 10, 12.5], "score": 0.25},
        {"image_id": "f0_1", "category_id": 1, "bbox": [1, 2, 10, 12.5], "score": 0.75},
        {"image_id": "f1_2", "category_id": 1, "bbox": [3, 4, 5, 6], "score": 0.5},
    ]
    file = tmp_path / "found.json"
    file.write_text(json.dumps(records))
    return file


def test_results_for_every_program(
    yolo: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", yolo, "--split", "train"]
    for kind in ("visdrone", "visdrone-vid", "uavdt", "dota", "yolo", "coco"):
        assert call("data", "results", results, tmp_path / kind, "--format", kind, *data) == 0
    assert "3 detections of 6 pictures" in capsys.readouterr().out
    assert (tmp_path / "visdrone/f0_1.txt").read_text() == (
        "1.00,2.00,10.00,12.50,0.750000,9,-1,-1\n1.00,2.00,10.00,12.50,0.250000,4,-1,-1\n"
    )
    assert len(list((tmp_path / "visdrone").iterdir())) == 6
    assert (tmp_path / "visdrone-vid/f1.txt").read_text() == "2,-1,3.00,4.00,5.00,6.00,0.500000,9,-1,-1\n"
    assert (tmp_path / "uavdt/f0.txt").read_text() == "1,-1,1.00,2.00,10.00,12.50,0.750000,1,-1\n"
    assert (tmp_path / "dota/Task2_bus.txt").read_text().splitlines()[1] == "f1_2 0.500000 3.00 4.00 8.00 10.00"
    assert (tmp_path / "yolo/labels/f0_1.txt").read_text().startswith("0 0.100000 0.206250")
    assert json.loads((tmp_path / "coco/results.json").read_text())[2] == {
        "image_id": "f1_2", "category_id": 1, "bbox": [3, 4, 5, 6], "score": 0.5,
    }  # fmt: skip
    again = tmp_path / "again"
    words = ["--format", "visdrone", *data]
    assert call("data", "results", tmp_path / "yolo/labels", again, *words) == 0
    for file in again.iterdir():
        assert file.read_text().splitlines()[-1] == (tmp_path / "visdrone" / file.name).read_text().splitlines()[-1]


def test_results_by_the_data_sets_ids_or_by_stem(yolo: Path, results: Path, tmp_path: Path) -> None:
    coco = tmp_path / "coco"
    assert call("data", "convert", yolo, f"coco:{coco}") == 0
    ids = {one["file_name"]: one["id"] for one in json.loads((coco / "annotations/train.json").read_text())["images"]}
    by_id = tmp_path / "by_id.json"
    records = json.loads(results.read_text())
    by_id.write_text(json.dumps([{**one, "image_id": ids[one["image_id"] + ".png"]} for one in records]))
    for name, file in (("one", by_id), ("two", results)):
        words = ["--format", "coco", "--data", f"coco:{coco}", "--split", "train"]
        assert call("data", "results", file, tmp_path / f"{name}.json", *words) == 0
    assert json.loads((tmp_path / "one.json").read_text()) == json.loads((tmp_path / "two.json").read_text())
    assert [one["image_id"] for one in json.loads((tmp_path / "two.json").read_text())] == [
        ids["f0_1.png"], ids["f0_1.png"], ids["f1_2.png"],
    ]  # fmt: skip


def test_results_under_other_class_names(
    yolo: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", yolo, "--split", "train", "--format", "tinyperson"]
    assert "expected TinyPerson's classes" in refused(capsys, "data", "results", results, tmp_path / "t.json", *data)
    assert call("data", "results", results, tmp_path / "t.json", *data, "--classes", "person=bus") == 0
    assert [one["score"] for one in json.loads((tmp_path / "t.json").read_text())] == [0.75, 0.5]


def test_results_that_are_refused(
    yolo: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "out", ["--data", yolo, "--split", "train"]
    words = ["data", "results", results, out]
    assert "unknown result format 'visdron'; did you mean visdrone" in refused(
        capsys, *words, "--format=visdron", *data
    )
    assert "no split 'vall'" in refused(capsys, *words, "--format", "coco", "--data", yolo, "--split", "vall")
    assert "image_id 'f0_1' is not the id" in refused(
        capsys, *words, "--format", "coco", "--data", yolo, "--split", "val"
    )
    assert "whole: it has no effect" in refused(capsys, *words, "--format", "coco", *data, "--whole", "val")
    out.mkdir()
    (out / "old.txt").touch()
    assert "expected a new or empty folder" in refused(capsys, *words, "--format", "visdrone", *data)
    assert call(*words, "--format", "visdrone", *data, "--overwrite") == 0
    assert (out / "old.txt").exists()
    labels = tmp_path / "labels"
    labels.mkdir()
    for text, said in (
        ("0 0.5 0.5 0.1 0.1", "f0_0.txt:1: expected 6 fields (class cx cy w h score) but got 5"),
        ("\n2 0.5 0.5 0.1 0.1 0.5", "f0_0.txt:2: expected a class from 0 to 1 but got 2"),
        ("0 0.5 0.5 0.1 nan 0.5", "expected a finite number as height"),
        ("0 0.5 0.5 0.1 -0.1 0.5", "expected a width and height of 0 or more"),
    ):
        (labels / "f0_0.txt").write_text(text)
        assert said in refused(capsys, "data", "results", labels, tmp_path / "new", "--format", "dota", *data)
    (labels / "f0_0.txt").rename(labels / "other.txt")
    assert "other.txt: no picture of the split, or more than one, is called 'other'" in refused(
        capsys, "data", "results", labels, tmp_path / "new", "--format", "dota", *data
    )


@pytest.fixture
def tiny_set(tmp_path: Path) -> Path:
    """A TinyPerson folder of one picture, whole in one file and in two pieces that overlap in another."""
    place = tmp_path / "tiny_set"
    picture(place / "test/labeled_images/a_V0001_I0000001.png", (50, 100))
    name = {"file_name": "labeled_images/a_V0001_I0000001.png", "height": 50}
    category = [{"id": 1, "name": "person"}]
    box = {"id": 1, "category_id": 1, "bbox": [45, 10, 10, 20], "area": 200, "iscrowd": 0}
    task = place / "annotations/task"
    corner = place / "annotations/corner/task"
    for folder, file, images, image in (
        (task, "tiny_set_test_all", [{**name, "id": 40, "width": 100}], 40),
        (
            corner,
            "tiny_set_test_sw60_sh50_all",
            [
                {**name, "id": 7, "width": 60, "corner": [0, 0, 60, 50]},
                {**name, "id": 8, "width": 60, "corner": [40, 0, 100, 50]},
            ],
            7,
        ),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        content = {"images": images, "categories": category, "annotations": [{**box, "image_id": image}]}
        (folder / f"{file}.json").write_text(json.dumps(content))
    return place


def test_pieces_come_back_to_their_pictures(tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        {"image_id": 7, "category_id": 1, "bbox": [45, 10, 10, 20], "score": 0.6},
        {"image_id": 8, "category_id": 1, "bbox": [5, 10, 10, 20], "score": 0.9},
        {"image_id": 8, "category_id": 1, "bbox": [50, 10, 10, 20], "score": 0.3},
    ]
    found = tmp_path / "found.json"
    found.write_text(json.dumps(records))
    words = ["--format", "tinyperson", "--data", f"tinyperson:{tiny_set}", "--split", "test_sw60_sh50_all"]
    assert "give --whole" in refused(capsys, "data", "results", found, tmp_path / "r.json", *words)
    assert call("data", "results", found, tmp_path / "r.json", *words, "--whole", "test_all") == 0
    assert "2 windows joined to 1 picture" in capsys.readouterr().out
    assert [
        (one["image_id"], one["bbox"], round(one["score"], 3)) for one in json.loads((tmp_path / "r.json").read_text())
    ] == [(40, [45, 10, 10, 20], 0.9), (40, [90, 10, 10, 20], 0.3)]
    words += ["--whole", "test_all", "--iou", "1"]
    assert call("data", "results", found, tmp_path / "all.json", *words) == 0
    assert len(json.loads((tmp_path / "all.json").read_text())) == 3
