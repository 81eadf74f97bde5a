"""What leaks from one split into another by name or group, and the evidence for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from check_factory import CocoSet, YoloSet, check, scene

from finespot.data.check.names import _numbered

HIT_UAV = Path(__file__).parents[4] / "shared" / "data" / "hit-uav"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/film_0012.jpg", (("film_", ""), 12)),
        ("b/film_0012.jpg", (("film_", ""), 12)),
        ("a/0_100_30_0_03280.jpg", (("0_100_30_0_", ""), 3280)),
        ("a/frame12_ir.png", (("frame", "_ir"), 12)),
        ("a/0012.jpg", (("a/", ""), 12)),
        ("a/plain.jpg", None),
        ("a/12345678901234567890.jpg", (("12", ""), 345678901234567890)),
    ],
)
def test_numbers_in_names(name: str, expected: tuple[tuple[str, str], int] | None) -> None:
    assert _numbered(name) == expected


def test_frames_up_to_the_distance_asked_for(yolo: YoloSet) -> None:
    for number, seed in ((24, 50), (37, 51), (53, 52)):
        yolo.new("val", f"north_{number:04}", scene(seed))
    counts = {apart: check(yolo.data, apart=apart).counts() for apart in (0, 2, 3, 4, 5)}
    assert counts == {0: {}, 2: {}, 3: {"leak-frames": 2}, 4: {"leak-frames": 3}, 5: {"leak-frames": 3}}
    row = check(yolo.data).rows()[0]
    assert row.by_split == {"val": 3}
    assert row.examples[0][1].what == "is 4 apart by number from one of train"
    assert row.examples[0][1].where == str(yolo.picture("train", "north_0020"))


def numbered(data: YoloSet, drift: bool) -> None:
    """Pictures 1, 2, 3 ... dealt to the splits in turns: of one film whose view drifts, or of as many places."""
    film = scene(900, (96, 900))
    for number in range(60):
        pixels = film[:, 10 * number : 10 * number + 128] if drift else scene(1000 + number)
        data.new("val" if number % 3 == 2 else "train", f"img_{number:04}", np.ascontiguousarray(pixels))


def test_pictures_that_are_only_numbered_are_no_film(yolo: YoloSet) -> None:
    numbered(yolo, drift=False)
    report = check(yolo.data)
    assert report.counts() == {}
    assert len(report.notes) == 1
    assert report.notes[0].startswith(
        "val: 20 pictures are within 5 numbers of one of an earlier split, but look no more"
    )
    assert check(yolo.data, decode=False).counts() == {"leak-frames": 20}


def test_frames_of_a_drifting_film_are(yolo: YoloSet) -> None:
    numbered(yolo, drift=True)
    assert check(yolo.data).counts()["leak-frames"] == 20


def test_parts_of_a_group_in_two_splits(coco: CocoSet) -> None:
    names = {"train": "0_100_30_0_{:05}", "val": "0_100_30_0_1{:04}"}
    for split, content in coco.content.items():
        for number, image in enumerate(content["images"]):
            if split == "train" or number % 2:
                new = names[split].format(100 * number)
                coco.picture(split, image["file_name"].removesuffix(".png")).rename(coco.picture(split, new))
                image["file_name"] = f"{new}.png"
    report = check(coco.data.replace("coco:", "hit-uav:"))
    assert report.counts() == {"leak-group": 3}
    assert report.rows()[0].examples[0][1].what == "belongs to 0_100_30_0, of which train has a part"


def test_a_split_within_another_is_said_once(yolo: YoloSet) -> None:
    (yolo.root / "some.txt").write_text("images/train/north_0000.png\nimages/train/north_0010.png\n")
    yolo.yaml(val="some.txt")
    report = check(yolo.data)
    assert report.counts() == {"same-split": 1}
    assert report.rows()[0].examples[0][1].what == "of 2 pictures of val, 2 are also in train"


@pytest.mark.skipif(not HIT_UAV.is_dir(), reason="the data set is not here")
@pytest.mark.slow
def test_hit_uav() -> None:
    counts = check(f"yolo:{HIT_UAV}", workers=None).counts()
    assert counts == {"leak-near": 84, "leak-frames": 201, "unlabeled": 12, "near": 192}
