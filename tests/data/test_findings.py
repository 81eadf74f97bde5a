"""What a reader notes instead of refusing, windows of files, and options of formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_factory import MakeCoco, MakeYolo, save_picture

from finespot.data import open_dataset
from finespot.data.builder import Builder
from finespot.data.findings import Findings
from finespot.errors import FineSpotError
from finespot.images import crop, open_image
from finespot.structures import Classes


def test_yolo_notes_every_faulty_record_and_keeps_the_rest(make_yolo: MakeYolo) -> None:
    text = "0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n0 nan 0.5 0.1 0.1\n1 0.99 0.5 0.1 0.1\n1 0.99 0.5 0.1 0.1\n"
    file = make_yolo({"a": text, "b": "0 0.5 0.5 0.1\n", "c": "0 0.2 0.2 0.1 0.1"})
    (file.parent / "images/train/c.png").write_bytes(b"no picture")
    with pytest.raises(FineSpotError, match="expected a class from 0 to 1 but got 7"):
        open_dataset(file, "train")
    findings = Findings()
    dataset = open_dataset(file, "train", findings)
    assert [Path(dataset.path(i)).name for i in range(len(dataset))] == ["a.png", "b.png"]
    assert [len(dataset.annotations(i)) for i in range(2)] == [3, 0]
    assert findings.counts == {"record": 3, "broken": 1, "clipped": 2, "twice": 1}
    labels = file.parent / "labels/train"
    assert [one.where for one in findings.of("record")] == [
        f"{labels / 'a.txt'}:2",
        f"{labels / 'a.txt'}:3",
        f"{labels / 'b.txt'}:1",
    ]
    assert [Path(one.picture).name for one in findings.of("record")] == ["a.png", "a.png", "b.png"]
    broken = findings.of("broken")[0]
    assert broken.where == broken.picture == str(file.parent / "images/train/c.png")
    assert findings.of("record")[0].box is None
    assert findings.of("clipped")[0].box == pytest.approx((188, 45, 208, 55))


def test_coco_notes_every_faulty_record_and_keeps_the_rest(make_coco: MakeCoco) -> None:
    good = {"id": 1, "image_id": 3, "category_id": 4, "bbox": [1, 1, 5, 5]}
    bad = [
        {**good, "id": 2, "image_id": 99},
        {**good, "id": 3, "category_id": 5},
        {**good, "id": 4, "bbox": [1, 2, 3]},
        {**good, "id": 1},
    ]
    folder = make_coco([good, *bad])
    findings = Findings()
    dataset = open_dataset(f"coco:{folder}", "train", findings)
    assert [len(dataset.annotations(i)) for i in range(len(dataset))] == [1, 0]
    assert findings.counts == {"record": 4}


def test_a_finding_about_no_picture_names_none(make_yolo: MakeYolo) -> None:
    file = make_yolo({f"{number:02}": None if number else "0 2 2 1 1\n" for number in range(20)})
    (file.parent / "labels/train/lost.txt").write_text("")
    findings = Findings()
    open_dataset(file, "train", findings)
    assert findings.counts == {"orphan": 1, "record": 1, "absent": 1}
    assert [Path(findings.of(kind)[0].picture).name for kind in ("orphan", "record", "absent")] == ["", "00.png", ""]


def test_a_guard_gives_the_kind(tmp_path: Path) -> None:
    findings = Findings()
    builder = Builder("set", "train", Classes(("car",)), findings)
    with builder.guard("here", "missing"):
        raise FineSpotError("gone", hint="look")
    with builder.guard(kind="missing"):
        builder.picture(str(tmp_path / "none.png"), 1)
    with builder.guard():
        builder.picture(str(save_picture(tmp_path / "a.png", (9, 9))), 1)
        with builder.guard("there"):
            raise FineSpotError("bad")
    found = [(one.kind, one.what, one.where, Path(one.picture).name) for one in findings]
    assert found[0] == ("missing", "gone; look", "here", "")
    assert (found[1][0], found[1][3]) == ("broken", "none.png")
    assert found[2] == ("record", "bad", "there", "a.png")


def test_a_missing_picture_of_a_list_is_left_out(make_yolo: MakeYolo) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1\n", "b": ""}, "train: train.txt\nnames: [person, car]\n")
    (file.parent / "train.txt").write_text("./images/train/a.png\n\n./images/train/gone.png\n./images/train/B.png\n")
    with pytest.raises(FineSpotError, match=r"train\.txt:3: the picture \./images/train/gone\.png does not exist"):
        open_dataset(file, "train")
    findings = Findings()
    dataset = open_dataset(file, "train", findings)
    assert [Path(dataset.path(i)).name for i in range(len(dataset))] == ["a.png"]
    assert findings.counts == {"missing": 1, "case": 1}
    (file.parent / "train.txt").write_text("gone.png\n")
    assert len(open_dataset(file, "train", Findings())) == 0


@pytest.mark.parametrize("name", ["visdrone", "dota", "voc"])
def test_two_pictures_of_one_stem(name: str, tmp_path: Path) -> None:
    folder, labels, text = {
        "visdrone": ("images", "annotations/a.txt", "1,1,3,3,1,4,0,0\n"),
        "dota": ("images", "labelTxt/a.txt", "1 1 3 1 3 3 1 3 ship 0\n"),
        "voc": (
            "JPEGImages",
            "Annotations/a.xml",
            "<annotation><object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax>"
            "</bndbox></object></annotation>",
        ),
    }[name]
    for file in ("a.jpg", "a.png"):
        save_picture(tmp_path / folder / file, (20, 20))
    (tmp_path / labels).parent.mkdir()
    (tmp_path / labels).write_text(text)
    with pytest.raises(FineSpotError, match=r"a\.jpg: .*a\.png has the same stem, so both would share a label file"):
        open_dataset(f"{name}:{tmp_path}", "all")
    findings = Findings()
    dataset = open_dataset(f"{name}:{tmp_path}", "all", findings)
    assert (len(dataset), len(dataset.annotations(0)), findings.counts) == (1, 1, {"record": 1})


def test_findings_keep_the_first_of_a_kind_and_count_all() -> None:
    findings = Findings(most=2)
    for number in range(5):
        findings.add("kind", "what", number)
    assert len(findings) == 5
    assert [one.where for one in findings] == ["0", "1"]


def test_a_picture_may_be_a_window_of_its_file(tmp_path: Path) -> None:
    path = str(save_picture(tmp_path / "a.png", (100, 200)))
    builder = Builder("set", "train", Classes(("car",)))
    assert builder.picture(path, 1, group="scene", window=(150, 20, 200, 90)) == (70, 50)
    builder.box((40, 0, 60, 10), 0, where="x")
    builder.picture(path, 2)
    dataset = builder.build()
    assert [dataset.window(i) for i in range(2)] == [(150, 20, 200, 90), None]
    assert [dataset.group(i) for i in range(2)] == ["scene", path]
    assert dataset.annotations(0).boxes.tolist() == [[40, 0, 50, 10]]
    whole = open_image(path).read(None)
    assert np.array_equal(dataset.image(0).read(None), whole[20:90, 150:200])
    assert np.array_equal(dataset.image(0).read((10, 5, 20, 30)), whole[25:50, 160:170])
    with pytest.raises(FineSpotError, match="expected a window inside 200x100"):
        crop(open_image(path), (0, 0, 201, 100))


def test_options_of_a_format_that_takes_none(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="the format 'coco' takes no options but got 'one_based'"):
        open_dataset(f"coco,one-based=true:{tmp_path}", "train")
    with pytest.raises(FineSpotError, match="expected options as key=value but got 'x'"):
        open_dataset(f"coco,x:{tmp_path}", "train")
