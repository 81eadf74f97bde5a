"""`finespot score`: formats, several protocols at once, official and clean apart, limits, sizes and classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_factory import Run, refused

from finespot.cli.options import Protocol
from finespot.metrics import PROTOCOLS

Paths = tuple[Path, Path]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture
def visdrone(tmp_path: Path) -> Paths:
    truth = write(
        tmp_path / "annotations",
        a="10,10,20,20,1,4,0,0\n50,50,10,10,1,1,0,0\n",
        b="10,10,20,20,1,4,0,0\n40,40,20,20,0,0,0,0\n",
        c="10,10,20,20,1,4,0,0\n",
    )
    found = write(
        tmp_path / "found",
        a="10,10,20,20,0.9,4,-1,-1\n50,50,10,10,0.8,4,-1,-1\n",
        b="11,10,20,20,0.7,4,-1,-1\n42,42,10,10,0.6,4,-1,-1\n",
    )
    (tmp_path / "sizes.json").write_text(json.dumps({name: [100, 80] for name in "abc"}))
    return truth, found


def report(run: Run, folder: Path, *words: str | Path) -> tuple[dict, str]:
    code, out, error = run("score", *words, "--json", folder / "out.json", "--overwrite")
    assert (code, error) == (0, "")
    return json.loads((folder / "out.json").read_text()), out


def test_one_protocol(run: Run, files: Paths, tmp_path: Path) -> None:
    made, out = report(run, tmp_path, "--gt", files[0], "--dt", files[1], "--split", "val")
    assert (made["protocol"], made["split"], made["images"]) == ("coco", "val", 2)
    assert made["read"] == {"gt": "coco", "dt": "coco"}
    assert "reports" not in made
    assert "truth: coco; detections: coco" in out
    assert "coco, split val" in out


def test_several_protocols(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    words = ["--gt", visdrone[0], "--dt", visdrone[1], "--images", tmp_path / "sizes.json"]
    made, out = report(run, tmp_path, *words, "--protocol", "visdrone,coco, ai-tod")
    assert [one["protocol"] for one in made["reports"]] == ["visdrone", "coco", "ai-tod"]
    assert made["read"] == {"gt": "visdrone", "dt": "visdrone"}
    for line in ("visdrone, split annotations", "visdrone (clean), split annotations", "coco, split annotations"):
        assert line in out.splitlines()
    alone = report(run, tmp_path, *words, "--protocol", "visdrone")[0]
    assert alone["values"] == made["reports"][0]["values"]
    # The class of the pedestrian, never found, weighs a picture of four; without the oddity one class of two.
    assert alone["values"]["AP50"] == pytest.approx(alone["clean"]["values"]["AP50"] * 3 / 2, rel=1e-6)
    assert alone["clean"]["protocol"] == "visdrone (clean)"


def test_a_clean_table_only_where_it_differs(run: Run, files: Paths, tmp_path: Path) -> None:
    made, out = report(run, tmp_path, "--gt", files[0], "--dt", files[1])
    assert "clean" not in made
    assert "(clean)" not in out
    truth = json.loads(files[0].read_text())
    truth["annotations"][0]["id"] = 0
    files[0].write_text(json.dumps(truth))
    made, out = report(run, tmp_path, "--gt", files[0], "--dt", files[1])
    assert made["values"]["AP"] < made["clean"]["values"]["AP"]
    assert "coco (clean), split t" in out
    fixed, _ = report(run, tmp_path, "--gt", files[0], "--dt", files[1], "--fix-id0")
    assert fixed["values"] == made["clean"]["values"]
    assert fixed["settings"] == {"fix_id0": True}


def test_limits_and_sizes(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    words = ["--gt", visdrone[0], "--dt", visdrone[1], "--images", tmp_path / "sizes.json"]
    made, _ = report(run, tmp_path, *words, "--max-dets", "10,100,500")
    assert made["protocol"] == "coco maxDets 10/100/500"
    assert {"AR@10", "AR@500"} <= set(made["values"])
    made, _ = report(run, tmp_path, *words, "--sizes", "8,16")
    assert {"AP_0-8", "AP_8-16", "AP_16+"} <= set(made["values"])
    assert "AP_small" not in made["values"]
    assert made["values"]["AP_0-8"] is None


def test_classes(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    words = ["--gt", visdrone[0], "--dt", visdrone[1], "--images", tmp_path / "sizes.json"]
    every, _ = report(run, tmp_path, *words)
    car, _ = report(run, tmp_path, *words, "--classes", "car")
    assert set(car["per_class"]) == {"car"}
    assert car["values"]["AP"] == every["per_class"]["car"]["AP"] != every["values"]["AP"]
    (tmp_path / "names.txt").write_text("car\npedestrian\n")
    both, _ = report(run, tmp_path, *words, "--classes", tmp_path / "names.txt")
    assert list(both["per_class"]) == ["pedestrian", "car"]


def test_formats_mixed(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    """VisDrone's truth with COCO results, and COCO truth with YOLO files."""
    records = [{"image_id": "a", "category_id": 4, "bbox": [10, 10, 20, 20], "score": 0.9}]
    (tmp_path / "d.json").write_text(json.dumps(records))
    made, _ = report(run, tmp_path, "--gt", f"visdrone:{visdrone[0]}", "--dt", tmp_path / "d.json")
    assert made["read"] == {"gt": "visdrone", "dt": "coco"}
    assert made["per_class"]["car"]["AR@1"] == pytest.approx(1 / 3)


def test_yolo_detections_need_sizes(run: Run, dataset: Path, files: Paths, tmp_path: Path) -> None:
    truth = json.loads(files[0].read_text())
    for one in truth["images"]:
        del one["width"]
    files[0].write_text(json.dumps(truth))
    found = write(tmp_path / "labels", a=f"0 {10 / 60} {10 / 40} {10 / 60} {10 / 40} 0.9\n")
    words = ["--gt", files[0], "--dt", found]
    refused(run("score", *words), "sizes of the pictures", "--images")
    made, _ = report(run, tmp_path, *words, "--images", dataset / "images" / "val")
    assert made["read"] == {"gt": "coco", "dt": "yolo"}
    assert made["values"]["AP"] == pytest.approx(0.5)


def test_names_and_corners(run: Run, tmp_path: Path) -> None:
    labels = write(tmp_path / "labels", a="1 .5 .5 .2 .2\n")
    found = write(tmp_path / "found", a="1 .5 .5 .2 .2 .9\n")
    (tmp_path / "sizes.json").write_text('{"a": [100, 100]}')
    (tmp_path / "n.txt").write_text("dog\ncat\n")
    words = ["--gt", labels, "--dt", found, "--images", tmp_path / "sizes.json", "--names", tmp_path / "n.txt"]
    assert set(report(run, tmp_path, *words)[0]["per_class"]) == {"dog", "cat"}

    image = {"id": 5, "file_name": "a.jpg"}
    box = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [110, 60, 10, 10], "area": 100, "iscrowd": 0}
    truth = {"images": [image], "categories": [{"id": 1, "name": "person"}], "annotations": [box]}
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    window = {"id": 1, "file_name": "a.jpg", "corner": [100, 50, 200, 150]}
    (tmp_path / "corners.json").write_text(json.dumps({"images": [window], "old_images": [image]}))
    records = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 10, 10], "score": 0.5}]
    (tmp_path / "dt.json").write_text(json.dumps(records))
    words = ["--gt", tmp_path / "gt.json", "--dt", tmp_path / "dt.json"]
    refused(run("score", *words), "image_id 1 is not the id of any image")
    made, _ = report(run, tmp_path, *words, "--corners", tmp_path / "corners.json", "--protocol", "tinyperson")
    assert made["read"] == {"gt": "coco", "dt": "tinyperson"}
    assert made["values"]["AP50_tiny"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "coco,coco"], "protocol: expected different protocols but got coco twice"),
        (["--protocol", "coco,"], "unknown protocol ''"),
        (["--protocol", "voc"], "unknown protocol 'voc'"),
        (["--max-dets", "1,x"], "max-dets: expected whole numbers with commas between but got '1,x'"),
        (["--max-dets", "1,1,5"], "max-dets: expected different whole numbers above 0"),
        (["--max-dets", "0,1,5"], "max-dets: expected different whole numbers above 0"),
        (["--sizes", "16,8"], "sizes"),
        (["--sizes", "nan"], "sizes: expected different numbers above 0"),
        (["--classes", "tram"], "unknown class 'tram'"),
        (["--images", "x"], "images: has no effect on coco truth and coco detections"),
        (["--corners", "nothing.json"], "nothing.json: cannot be read"),
    ],
)
def test_wrong_words(run: Run, files: Paths, words: list[str], message: str) -> None:
    refused(run("score", "--gt", files[0], "--dt", files[1], *words), message)


def test_files_that_are_read_are_kept(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    words = ["score", "--gt", f"visdrone:{visdrone[0]}", "--dt", visdrone[1], "--overwrite", "--json"]
    refused(run(*words, visdrone[0] / "a.txt"), "input of this command")
    refused(run(*words, tmp_path / "sizes.json", "--images", tmp_path / "sizes.json"), "input of this command")
    refused(run("score", "--gt", tmp_path / "none", "--dt", visdrone[1]), "none: cannot be read (No such file")


def test_every_protocol_is_told_of() -> None:
    """All on the page, and in the help those that others are variants of."""
    page = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
    assert [name for name in PROTOCOLS if f"`{name}`" not in page] == []
    named = Protocol.__metadata__[0].help.split(" or ")[0].split(", ")
    assert [name for name in PROTOCOLS if not name.startswith(tuple(named))] == []


def test_unknown_classes_are_refused_or_dropped(run: Run, files: Paths, tmp_path: Path) -> None:
    found = json.loads(files[1].read_text())
    path = tmp_path / "strange.json"
    path.write_text(json.dumps([*found, {**found[0], "category_id": 77}]))
    words = ("--gt", files[0], "--dt", path)
    refused(run("score", *words), f"strange.json: record {len(found)}: category_id 77", "drop-unknown")
    made, _ = report(run, tmp_path, *words, "--drop-unknown")
    assert made["values"] == report(run, tmp_path, "--gt", files[0], "--dt", files[1])[0]["values"]
    assert any("1 detections of classes" in note for note in made["notes"])


def test_dropping_has_no_effect_on_other_formats(run: Run, visdrone: Paths, tmp_path: Path) -> None:
    words = ("--gt", visdrone[0], "--dt", visdrone[1], "--images", tmp_path / "sizes.json", "--drop-unknown")
    refused(run("score", *words), "drop-unknown: has no effect on visdrone detections")
