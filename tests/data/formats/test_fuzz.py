"""Label files with random damage: one line that says what is wrong, or boxes that lie in their pictures."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from coco_sets import make_ai_tod, make_soda_d, make_tinyperson, make_uavvaste
from data_factory import save_picture
from round_trip import Row, dataset_of, written

from finespot.data import dataset_splits, open_dataset
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS
from finespot.registry import names

ROWS: list[Row] = [
    ((10.0, 20.0, 30.0, 40.0), 0, False, {}),
    ((50.5, 20.25, 60.0, 44.0), 1, False, {}),
    ((100.0, 50.0, 140.0, 90.0), 1, True, {}),
    ((0.0, 0.0, 20.0, 10.0), -1, True, {}),
]
# What one byte more or less rarely becomes.
TOKENS = (
    *(b"nan", b"-1", b"1e999", b"99999999999999999999", b"0.5", b"-", b"null", b"true", b'""', b"[]", b"{}", b"[[[["),
    *(b"<", b"</a>", b"&amp;", b"\x00", b"\xff\xfe", b"\r\n", b"\t", b" ", b",", b",,,,", b":", b'"', b"_", b"12.0"),
)

Make = Callable[[Path], str]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def of_writer(word: str) -> Make:
    def make(root: Path) -> str:
        classes = ("pedestrian", "car")  # VisDrone writes its own classes only
        return written(word, [dataset_of(root / "from", "train", [ROWS, ROWS[:1]], classes)], root / "set")

    return make


def visdrone_vid(root: Path) -> str:
    folder = root / "VisDrone2019-VID-val"
    for frame in (1, 2):
        save_picture(folder / f"sequences/a/{frame:07}.png", seed=frame)
    write(folder / "annotations/a.txt", "1,0,93,43,74,19,0,0,0,0\n2,7,80,1,47,22,1,4,1,2,\n")
    return f"visdrone-vid:{root}"


def uavdt(root: Path) -> str:
    for frame in (1, 2):
        save_picture(root / f"UAV-benchmark-M/M0101/img{frame:06}.png", seed=frame)
    write(root / "UAV-benchmark-M/GT/M0101_gt_whole.txt", "1,1,10,20,30,20,1,2,1\n2,1,11,20,30,20,1,2,3\n")
    write(root / "UAV-benchmark-M/GT/M0101_gt_ignore.txt", "1,1,100,20,30,20,1,-1,-1\n")
    return f"uavdt:{root}"


def yolo_obb(root: Path) -> str:
    save_picture(root / "images/train/a.png")
    write(root / "labels/train/a.txt", "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n1 0.5 0.5 0.6 0.5 0.6 0.7 0.5 0.7\n")
    write(root / "data.yaml", "train: images/train\nval: images/train\nnames: [person, car]\n")
    return f"yolo-obb:{root / 'data.yaml'}"


def label_studio(root: Path) -> str:
    save_picture(root / "images/a.png")
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 30, "rectanglelabels": ["car"]}
    sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    done = {"was_cancelled": False, "result": [{"type": "rectanglelabels", **sizes, "value": value}]}
    task = {"id": 1, "data": {"image": "/data/upload/3/1a2b3c4d-a.png"}, "annotations": [done]}
    write(root / "export.json", json.dumps([task]))
    return f"label-studio:{root}"


def ass(root: Path) -> str:
    save_picture(root / "yolo_dataset1/images/train/a.png")
    save_picture(root / "yolo_dataset1/images/val/b.png", seed=1)
    for name in ("train/a", "val/b"):
        write(root / f"yolo_dataset1/labels/{name}.txt", "1 0.5 0.5 0.5 0.5\n")
    write(root / "ASS2.yaml", "path: yolo_dataset1\ntrain: images/train\nval: images/val\nnames: [airplane, truck]\n")
    return f"ass,set=2:{root}"


SETS: dict[str, Make] = {
    **{word: of_writer(word) for word in ("yolo", "darknet", "coco", "hit-uav", "voc", "visdrone", "dota", "labelme")},
    **{word: of_writer(word) for word in ("cvat", "csv")},
    "visdrone-vid": visdrone_vid,
    "uavdt": uavdt,
    "yolo-obb": yolo_obb,
    "label-studio": label_studio,
    "ass": ass,
    "tinyperson": lambda root: f"tinyperson:{make_tinyperson(root)}",
    "ai-tod": lambda root: f"ai-tod:{make_ai_tod(root)}",
    "soda-d": lambda root: f"soda-d:{make_soda_d(root)}",
    "uavvaste": lambda root: f"uavvaste:{make_uavvaste(root)}",
}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three small changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + rng.choice((1, 1, 2, 8, 40)))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at:end] = b""
        elif kind == 1:
            changed[at:end] = rng.choice(TOKENS)
        elif kind == 2:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 3:
            changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
        elif kind == 4 and changed:
            changed[min(at, len(changed) - 1)] = rng.randrange(256)
        else:
            del changed[at:]
    return bytes(changed)


def read_all(spec: str) -> int:
    """Boxes of all splits; what comes back must lie in its picture and name a class."""
    found = 0
    for split in dataset_splits(spec):
        dataset = open_dataset(spec, split)
        for index in range(len(dataset)):
            truth = dataset.annotations(index)
            height, width = truth.size
            assert np.isfinite(truth.boxes).all()
            assert (truth.boxes >= 0).all()
            assert (truth.boxes[:, [0, 2]] <= width).all()
            assert (truth.boxes[:, [1, 3]] <= height).all()
            assert (truth.labels < len(dataset.classes)).all()
            assert (truth.ignore | (truth.labels >= 0)).all()
            found += len(truth)
    return found


def survive(word: str, root: Path, rounds: int, seed: int) -> None:
    spec = SETS[word](root)
    assert read_all(spec) > 0, "the whole set is read"
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix not in EXTENSIONS and (root / "from") not in path.parents
    ]
    whole = {path: path.read_bytes() for path in files}
    rng = random.Random(f"{word} {seed}")
    messages = []
    for _ in range(rounds):
        file = rng.choice(files)
        file.write_bytes(damaged(whole[file], rng))
        try:
            read_all(spec)
        except FineSpotError as error:
            messages.append(str(error))
        finally:
            file.write_bytes(whole[file])
    assert len(messages) > rounds / 20, "the damage is noticed"
    assert not [message for message in messages if "\n" in message or len(message) > 2000]


def test_every_format_is_here() -> None:
    assert set(SETS) | {"synthetic"} == set(names("format"))


@pytest.mark.slow
@pytest.mark.parametrize("word", SETS)
def test_a_little_damage(word: str, tmp_path: Path) -> None:
    survive(word, tmp_path, rounds=60, seed=0)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("word", SETS)
def test_a_hundred_thousand_damaged_sets(word: str, seed: int, tmp_path: Path) -> None:
    """19 formats x 3 x 1,800 sets; FUZZ_ROUNDS asks for more."""
    survive(word, tmp_path, rounds=int(os.environ.get("FUZZ_ROUNDS", "1800")), seed=1 + seed)
