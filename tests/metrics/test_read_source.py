"""Which format files are: found from what lies there, or said in front; and no damage that is not told in one line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from text_files import pictures, write

from finespot.errors import FineSpotError
from finespot.metrics import Results, Truth
from finespot.metrics.reading import KINDS, find_kind, read_results, read_truth
from finespot.structures import Annotations, Classes

Pair = tuple[str | Path, str | Path]
COCO = {
    "images": [{"id": 3, "file_name": "x/a.jpg", "width": 60, "height": 40}, {"id": 1, "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4], "uncertain": True, "logo": None, "ignore": 0}
    ],
}
FOUND = [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}]


def coco(root: Path) -> Pair:
    root.mkdir(exist_ok=True)
    (root / "t.json").write_text(json.dumps(COCO))
    (root / "d.json").write_text(json.dumps(FOUND))
    return root / "t.json", root / "d.json"


def visdrone(root: Path) -> Pair:
    pictures(root / "images", "a", "b")
    write(root / "annotations", a="1,2,3,4,1,4,0,0\n0,0,9,9,0,0,0,0\n", b="5,6,7,8,0,11,0,0\n")
    return root, write(root / "found", a="1,2,3,4,0.5,4,-1,-1\n", b="5,6,7,8,0.25,1,-1,-1\n")


def uavdt(root: Path) -> Pair:
    write(root / "GT", M9_gt_whole="1,1,10,20,30,20,1,1,3\n2,2,10,20,30,20,1,1,1\n", M9_gt_ignore="1,1,0,0,9,9,1,1,1\n")
    return root, write(root / "found", M9="1,-1,10,20,30,20,0.5,1,1\n2,-1,10,20,30,20,0.25,1,1\n")


def dota(root: Path) -> Pair:
    write(root / "labelTxt", a="gsd:null\n1 1 5 1 5 5 1 5 plane 1\n", b="1 1 5 1 5 5 1 5 ship 0\n")
    return root, write(root / "found", Task2_plane="a 0.5 1 1 5 5\n", Task2_ship="b 0.25 1 1 5 5\n")


def yolo(root: Path) -> Pair:
    pictures(root / "images", "a", "b")
    write(root / "labels", a="0 .5 .5 .5 .5\n1 .1 .1 .2 .1 .2 .2\n", b="", a__ignore="-1 .5 .5 .1 .1\n")
    return root / "labels", write(root / "found", a="0 .5 .5 .5 .5 .5\n1 .5 .5 .5 .5 .5\n")


def tinyperson(root: Path) -> Pair:
    truth, found = coco(root)
    window = {"id": 3, "file_name": "a.jpg", "corner": [0, 0, 9, 9]}
    (root / "corners.json").write_text(
        json.dumps({"images": [window], "old_images": [{"id": 3, "file_name": "a.jpg"}]})
    )
    return truth, f"tinyperson:{found}"


SETS: dict[str, Callable[[Path], Pair]] = {
    "coco": coco,
    "visdrone": visdrone,
    "uavdt": uavdt,
    "dota": dota,
    "yolo": yolo,
    "tinyperson": tinyperson,
}


def read(gt: str | Path, dt: str | Path) -> tuple[Truth, Results]:
    truth = read_truth(gt)
    corners = Path(str(dt).removeprefix("tinyperson:")).parent / "corners.json"
    return truth, read_results(dt, truth, corners=corners if str(dt).startswith("tinyperson:") else None)


@pytest.mark.parametrize("kind", SETS)
def test_formats_are_found(tmp_path: Path, kind: str) -> None:
    gt, dt = SETS[kind](tmp_path / "set")
    truth, results = read(gt, dt)
    assert len(truth) + len(truth.regions) > 0
    assert len(results) > 0
    if kind != "tinyperson":
        assert find_kind(gt)[0] == find_kind(dt, truth=truth)[0] == kind
        forced = read_truth(f"{kind}:{gt}")
        assert forced.image_ids == truth.image_ids
        np.testing.assert_array_equal(forced.boxes, truth.boxes)
        np.testing.assert_array_equal(read_results(dt, truth, kind).boxes, results.boxes)
        np.testing.assert_array_equal(Results.read(dt, Truth.read(gt)).boxes, results.boxes)
    assert (f"truth read as {kind} files" in truth.notes) == (kind not in ("coco", "tinyperson"))
    assert (f"detections read as {kind} files" in results.notes) == (kind != "coco")


def test_every_format_is_here() -> None:
    assert set(SETS) == set(KINDS)


def test_empty_files_tell_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", a="", b="")
    with pytest.raises(FineSpotError, match=r"nothing tells the format of the files; say it, as in visdrone:"):
        read_truth(folder)
    assert read_truth(f"visdrone:{folder}").image_ids == ("a", "b")


@pytest.mark.parametrize("text", ["a,b\n", "1,2,3\n", "one two\n", "1 2\n", "x 1 1 1 1\n"])
def test_other_text_is_no_format(tmp_path: Path, text: str) -> None:
    with pytest.raises(FineSpotError, match="nothing tells the format"):
        read_truth(write(tmp_path / "x", a=text))


def test_wrong_words(tmp_path: Path) -> None:
    gt, dt = coco(tmp_path / "set")
    with pytest.raises(FineSpotError, match=r"unknown format 'voc'; did you mean"):
        read_truth(gt, "voc")
    with pytest.raises(FineSpotError, match="expected yolo files but the path says coco"):
        read_truth(f"coco:{gt}", "yolo")
    with pytest.raises(FineSpotError, match=r"nothing.json: cannot be read \(No such file"):
        read_truth(f"coco:{tmp_path / 'nothing.json'}")
    with pytest.raises(FineSpotError, match="expected a folder of text files"):
        read_truth(f"visdrone:{gt}")
    with pytest.raises(FineSpotError, match="cannot be read"):
        read_truth(f"coco:{tmp_path}")
    with pytest.raises(FineSpotError, match="images: has no effect on truth in coco files"):
        read_truth(gt, images=tmp_path)
    with pytest.raises(FineSpotError, match="names: has no effect on truth in coco files"):
        read_truth(gt, names=["a"])
    with pytest.raises(FineSpotError, match="fix-id0: has no effect: visdrone files have no annotation ids"):
        read_truth(visdrone(tmp_path / "v")[0], fix_id0=True)
    assert str(dt)


def test_what_coco_files_say_of_pictures_and_objects(tmp_path: Path) -> None:
    truth = read_truth(coco(tmp_path)[0])
    assert truth.stems == ("a", "b"), "in the order of the file"
    assert truth.sizes is None, "the file has not all of them"
    assert {name: flags.tolist() for name, flags in truth.marks.items()} == {"uncertain": [True]}
    (tmp_path / "t.json").write_text(json.dumps({**COCO, "images": COCO["images"][:1]}))
    assert read_truth(tmp_path / "t.json").sizes.tolist() == [[40, 60]]
    (tmp_path / "t.json").write_text(json.dumps({**COCO, "images": [{"id": 3, "width": 60, "height": -1}]}))
    with pytest.raises(FineSpotError, match="image 3: expected a width and height above 0 but got 60 and -1"):
        read_truth(tmp_path / "t.json")


def test_pictures_by_file_name(tmp_path: Path) -> None:
    gt, dt = coco(tmp_path)
    dt.write_text(json.dumps([{**FOUND[0], "image_id": "a"}]))
    assert read_results(dt, read_truth(gt)).image.tolist() == [0]
    doubled = [{"id": 3, "file_name": "x/a.jpg"}, {"id": 4, "file_name": "y/a.jpg"}]
    gt.write_text(json.dumps({**COCO, "images": doubled}))
    with pytest.raises(FineSpotError, match="image_id 'a' is not the id of any image of the truth"):
        read_results(dt, read_truth(gt))


def test_attributes_of_a_data_set_become_marks() -> None:
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]], np.float32)
    one = Annotations(
        boxes,
        np.array([0, -1, -1]),
        (10, 10),
        ignore=np.array([False, True, True]),
        attributes={
            "others": np.array([0, 1, 0]),
            "difficult": np.array([2, 0, 0]),
            "occlusion": np.array([1, 1, 1]),
            "own": np.array([True, False, False]),
        },
    )
    truth = Truth.from_annotations([one], Classes(("car",)), ["a"])
    assert {name: flags.tolist() for name, flags in truth.marks.items()} == {"difficult": [True], "own": [True]}
    assert truth.others.boxes.tolist() == [[1, 1, 4, 4]]
    assert truth.regions.boxes.tolist() == [[2, 2, 4, 4]]


# What one byte more or less rarely becomes.
TOKENS = (
    *(b"nan", b"-1", b"1e999", b"99999999999999999999", b"0.5", b"-", b"null", b"true", b'""', b"[]", b"{}", b"[[[["),
    *(b"\x00", b"\xff\xfe", b"\r\n", b"\t", b" ", b",", b",,,,", b":", b"_", b"12.0", b"\xc2\x85", b"\xd9\xa1"),
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + rng.choice((1, 1, 2, 8, 40)))
        kind = rng.randrange(5)
        if kind == 0:
            changed[at:end] = b""
        elif kind == 1:
            changed[at:end] = rng.choice(TOKENS)
        elif kind == 2:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 3 and changed:
            changed[min(at, len(changed) - 1)] = rng.randrange(256)
        else:
            del changed[at:]
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_damage_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    gt, dt = SETS[kind](tmp_path / "set")
    files = [path for path in sorted((tmp_path / "set").rglob("*")) if path.suffix in (".txt", ".json")]
    whole = {path: path.read_bytes() for path in files}
    rng = random.Random(kind)
    told = []
    for _ in range(250):
        file = rng.choice(files)
        file.write_bytes(damaged(whole[file], rng))
        try:
            truth, results = read(gt, dt)
        except FineSpotError as error:
            told.append(str(error))
        else:
            for boxes in (truth.boxes, results.boxes, truth.regions.boxes, truth.others.boxes):
                assert np.isfinite(boxes).all()
                assert (boxes[:, 2:] >= 0).all()
            assert np.isfinite(results.scores).all()
            assert (results.label < len(truth.classes)).all()
            assert ((results.image >= 0) & (results.image < len(truth.image_ids))).all()
        finally:
            file.write_bytes(whole[file])
    assert len(told) > 25
    assert not [message for message in told if "\n" in message or len(message) > 2000]
