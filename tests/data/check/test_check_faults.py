"""Every kind of fault, planted in a clean set: it is found as often as it was planted, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from check_factory import BOXES, CocoSet, YoloSet, check, line, scene

from finespot.data.check import KINDS, open_survey
from finespot.errors import FineSpotError

GRAY = scene(77)[..., 0]


def class_out_of_range(data: YoloSet) -> None:
    data.add("train", "north_0000", "2 0.5 0.5 0.1 0.1\n")


def not_a_number(data: YoloSet) -> None:
    data.add("val", "south_0000", "0 nan 0.5 0.1 0.1\n")


def wrong_fields(data: YoloSet) -> None:
    data.add("train", "north_0010", "0 0.5 0.5 0.1\n", "0 0.5 0.5 0.1 0.1 0.9\n")


def no_text(data: YoloSet) -> None:
    data.label("train", "north_0010").write_bytes(b"\xff\xfe\x00 0.5\n")


def label_without_picture(data: YoloSet) -> None:
    data.write("train", "lost", line((10, 10, 30, 30)))


def label_in_other_case(data: YoloSet) -> None:
    data.label("train", "north_0020").rename(data.label("train", "North_0020"))


def no_picture_file(data: YoloSet) -> None:
    data.picture("train", "north_0030").write_bytes(b"no picture")


def empty_picture_file(data: YoloSet) -> None:
    data.picture("val", "south_0030").write_bytes(b"")


def cut_off(data: YoloSet) -> None:
    data.new("train", "north_0040", scene(4), "jpg")
    data.picture("train", "north_0040").unlink()
    file = data.picture("train", "north_0040", "jpg")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def over_the_edge(data: YoloSet) -> None:
    data.add("train", "north_0000", "0 0.99 0.5 0.1 0.1\n", "1 0.5 0.02 0.1 0.1\n")


def without_area(data: YoloSet) -> None:
    data.add("val", "south_0000", "0 0.5 0.5 0 0.1\n")


def outside(data: YoloSet) -> None:
    data.add("train", "north_0010", "0 1 0.5 0 0.1\n0 -0.00005 0.5 0.00002 0.1\n")


def repeated(data: YoloSet) -> None:
    data.add("train", "north_0000", line(*BOXES[0]), line(*BOXES[0]))


def nearly_equal(data: YoloSet) -> None:
    data.add("train", "north_0000", line((20, 30, 32, 44.5), 0))


def two_classes(data: YoloSet) -> None:
    data.add("val", "south_0010", line(BOXES[0][0], 1))


def below_two_px(data: YoloSet) -> None:
    data.add("train", "north_0000", line((50, 50, 51.5, 56)))


def whole_picture(data: YoloSet) -> None:
    data.add("train", "north_0000", line((1, 1, 127, 95), 1))


def long_and_thin(data: YoloSet) -> None:
    data.add("train", "north_0000", line((10, 60, 70, 62.5), 1))


def one_based(data: YoloSet) -> None:
    whole = [(1, 30, 12, 44), (60, 1, 84, 36), (100, 70, 128, 80)]
    for number in range(12):
        data.write("train", f"north_{10 * number:04}", *(line(box, n % 2) for n, box in enumerate(whole)))


def no_objects(data: YoloSet) -> None:
    data.write("train", "north_0050")
    data.label("train", "north_0060").unlink()


def most_without_objects(data: YoloSet) -> None:
    for number in range(4):
        data.write("val", f"south_{10 * number:04}")


def nearly_all_labels_absent(data: YoloSet) -> None:
    for number in range(11):
        data.label("train", f"north_{10 * number:04}").unlink()


def split_without_objects(data: YoloSet) -> None:
    for file in (data.root / "labels" / "val").iterdir():
        file.write_text("")


def class_without_objects(data: YoloSet) -> None:
    data.yaml(names="[person, car, boat]")


def train_is_val(data: YoloSet) -> None:
    data.yaml(val="images/train")


def copied_file(data: YoloSet) -> None:
    shutil.copy(data.picture("train", "north_0000"), data.picture("train", "east"))
    shutil.copy(data.label("train", "north_0000"), data.label("train", "east"))


def linked_file(data: YoloSet) -> None:
    data.picture("train", "east").symlink_to(data.picture("train", "north_0000"))
    shutil.copy(data.label("train", "north_0000"), data.label("train", "east"))


def saved_anew(data: YoloSet) -> None:
    data.new("train", "east", scene(0), "png", compress_level=0)


def copied_with_other_labels(data: YoloSet) -> None:
    shutil.copy(data.picture("train", "north_0000"), data.picture("train", "east"))
    data.write("train", "east", line(*BOXES[0]), line((60, 20, 84, 34), 1), line(*BOXES[2]))


def nearly_the_same(data: YoloSet) -> None:
    data.new("train", "east", scene(0), "jpg", quality=50)


def copied_to_val(data: YoloSet) -> None:
    shutil.copy(data.picture("train", "north_0020"), data.picture("val", "east"))
    shutil.copy(data.label("train", "north_0020"), data.label("val", "east"))


def nearly_copied_to_val(data: YoloSet) -> None:
    brighter = np.clip(scene(2) * 1.1 + 10, 0, 255).astype(np.uint8)
    data.new("val", "east", brighter, "jpg", quality=60)


def neighboring_frames(data: YoloSet) -> None:
    data.new("val", "north_0025", scene(50))
    data.new("val", "north_0036", scene(51))
    data.new("val", "north_0126", scene(52))


def same_stem(data: YoloSet) -> None:
    data.new("train", "east", scene(60))
    data.new("train", "east", scene(61), "jpg")


def stem_in_other_case(data: YoloSet) -> None:
    data.new("train", "east", scene(60))
    data.new("train", "East", scene(61))


def same_name_elsewhere(data: YoloSet) -> None:
    data.new("train", "east", scene(60))
    data.new("val", "east", scene(61))


def turned_by_exif(data: YoloSet) -> None:
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data.new("train", "east", scene(60, (128, 96)), "jpg", exif=exif)


def sixteen_bit(data: YoloSet) -> None:
    for number in range(12):
        path = data.picture("train", f"north_{10 * number:04}")
        data.new("train", path.stem, scene(number)[..., 0])
    for number in range(6):
        data.new("val", f"south_{10 * number:04}", scene(12 + number)[..., 0])
    data.new("train", "east", GRAY.astype(np.uint16) * 257)


def palette(data: YoloSet) -> None:
    import PIL.Image

    data.new("train", "east", scene(60))
    PIL.Image.fromarray(scene(60)).quantize(64).save(data.picture("train", "east"))


def one_gray(data: YoloSet) -> None:
    data.new("val", "east", GRAY)


def wrong_extension(data: YoloSet) -> None:
    data.new("val", "east", scene(60), "jpg", format="PNG")


def folder_missing(data: YoloSet) -> None:
    data.yaml(val="images/valid")


def all_pictures_broken(data: YoloSet) -> None:
    for file in (data.root / "images" / "val").iterdir():
        file.write_bytes(b"")


YOLO: list[tuple[Callable[[YoloSet], None], dict[str, int]]] = [
    (class_out_of_range, {"record": 1}),
    (not_a_number, {"record": 1}),
    (wrong_fields, {"record": 2}),
    (no_text, {"record": 1, "unlabeled": 1}),
    (label_without_picture, {"orphan": 1}),
    (label_in_other_case, {"case": 1, "unlabeled": 1}),
    (no_picture_file, {"broken": 1}),
    (empty_picture_file, {"broken": 1}),
    (cut_off, {"truncated": 1}),
    (over_the_edge, {"clipped": 2}),
    (without_area, {"empty": 1}),
    (outside, {"empty": 1, "outside": 1}),
    (repeated, {"twice": 2}),
    (nearly_equal, {"double": 1}),
    (two_classes, {"conflict": 1}),
    (below_two_px, {"tiny": 1}),
    (whole_picture, {"huge": 1}),
    (long_and_thin, {"sliver": 1}),
    (one_based, {"one-based": 1}),
    (no_objects, {"unlabeled": 2}),
    (most_without_objects, {"unlabeled": 4, "mostly-empty": 1}),
    (nearly_all_labels_absent, {"absent": 1, "unlabeled": 11, "mostly-empty": 1}),
    (split_without_objects, {"no-objects": 1, "unlabeled": 6, "mostly-empty": 1}),
    (class_without_objects, {"class-empty": 2}),
    (train_is_val, {"same-split": 1}),
    (copied_file, {"copy": 1}),
    (linked_file, {"copy": 1}),
    (saved_anew, {"copy": 1}),
    (copied_with_other_labels, {"copy": 1, "contradiction": 1}),
    (nearly_the_same, {"near": 1}),
    (copied_to_val, {"leak-copy": 1}),
    (nearly_copied_to_val, {"leak-near": 1}),
    (neighboring_frames, {"leak-frames": 2}),
    (same_stem, {"shared-stem": 1}),
    (stem_in_other_case, {"shared-stem": 1}),
    (same_name_elsewhere, {"collide": 1}),
    (turned_by_exif, {"exif": 1}),
    (sixteen_bit, {"sixteen-bit": 1}),
    (palette, {"odd-mode": 1}),
    (one_gray, {"channels": 1}),
    (wrong_extension, {"extension": 1}),
    (folder_missing, {"unreadable": 1}),
    (all_pictures_broken, {"broken": 6, "no-pictures": 1}),
]


def picture_missing(data: CocoSet) -> None:
    data.picture("train", "north_0000").unlink()


def picture_in_other_case(data: CocoSet) -> None:
    path = data.picture("val", "south_0000")
    path.rename(path.with_name("South_0000.png"))


def other_size(data: CocoSet) -> None:
    data.content["train"]["images"][2]["width"] = 256


def unknown_category(data: CocoSet) -> None:
    data.content["train"]["annotations"][0]["category_id"] = 7


def other_classes(data: CocoSet) -> None:
    data.content["val"]["categories"] = [{"id": 0, "name": "car"}, {"id": 1, "name": "person"}]


COCO: list[tuple[Callable[[CocoSet], None], dict[str, int]]] = [
    (picture_missing, {"missing": 1}),
    (picture_in_other_case, {"case": 1}),
    (other_size, {"size": 1}),
    (unknown_category, {"record": 1}),
    (other_classes, {"classes": 1}),
]


def named(fault: object) -> str:
    return getattr(fault, "__name__", "")


@pytest.mark.slow
@pytest.mark.parametrize(("plant", "expected"), YOLO, ids=named)
def test_yolo(yolo: YoloSet, plant: Callable[[YoloSet], None], expected: dict[str, int]) -> None:
    plant(yolo)
    report = check(yolo.data)
    assert report.counts() == expected
    assert report.passed() == (not any(KINDS[name].severity == "error" for name in expected))
    assert report.passed(accept=list(expected))


@pytest.mark.parametrize(("plant", "expected"), COCO, ids=named)
def test_coco(coco: CocoSet, plant: Callable[[CocoSet], None], expected: dict[str, int]) -> None:
    plant(coco)
    assert check(coco.data).counts() == expected


def test_a_clean_set(yolo: YoloSet, coco: CocoSet) -> None:
    for data in (yolo.data, coco.data):
        for decode in (True, False):
            report = check(data, decode=decode)
            assert report.counts() == {}
            assert report.verdict() == "nothing found"
            assert report.passed()


def test_every_kind_is_planted() -> None:
    planted = {name for _, expected in [*YOLO, *COCO] for name in expected}
    # Groups are known to formats of films alone: see the test of splits.
    assert planted | {"leak-group"} == set(KINDS)


def test_all_faults_at_once(yolo: YoloSet) -> None:
    faults = [
        class_out_of_range,
        label_without_picture,
        over_the_edge,
        two_classes,
        copied_to_val,
        whole_picture,
        cut_off,
    ]
    for plant in faults:
        plant(yolo)
    assert check(yolo.data).counts() == {
        "record": 1, "orphan": 1, "clipped": 2, "conflict": 1, "leak-copy": 1, "huge": 1, "truncated": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "kind", "where"),
    [
        (class_out_of_range, "record", "labels/train/north_0000.txt:4"),
        (over_the_edge, "clipped", "labels/train/north_0000.txt:4"),
        (two_classes, "conflict", "labels/val/south_0010.txt:4"),
        (nearly_equal, "double", "labels/train/north_0000.txt:4"),
        (below_two_px, "tiny", "labels/train/north_0000.txt:4"),
        (cut_off, "truncated", "images/train/north_0040.jpg"),
        (label_without_picture, "orphan", "labels/train/lost.txt"),
        (copied_to_val, "leak-copy", "images/train/north_0020.png"),
    ],
    ids=named,
)
def test_findings_name_file_and_line(yolo: YoloSet, plant: Callable[[YoloSet], None], kind: str, where: str) -> None:
    plant(yolo)
    row = next(row for row in check(yolo.data).rows() if row.name == kind)
    assert row.examples[0][1].where == str(yolo.root / where)


def test_objects_of_other_layouts_are_named_by_picture(coco: CocoSet) -> None:
    coco.content["train"]["annotations"][1]["bbox"] = [60, 20, 1, 16]
    row = check(coco.data).rows()[0]
    assert row.name == "tiny"
    assert row.examples[0][1].where == f"{coco.picture('train', 'north_0000')}: object 2"
    assert row.examples[0][1].what.startswith("car (60, 20, 61, 36) is 1 x 16 px")


def test_a_case_difference_says_both_names(coco: CocoSet) -> None:
    picture_in_other_case(coco)
    finding = check(coco.data).rows()[0].examples[0][1]
    assert finding.what == "expected south_0000.png but the file is called South_0000.png; rename one of the two"
    assert (finding.picture, finding.box) == ("", None)


def test_a_label_file_in_capitals_is_named_with_its_line(yolo: YoloSet) -> None:
    below_two_px(yolo)
    file = yolo.label("train", "north_0000")
    file.rename(file.with_suffix(".TXT"))
    rows = {row.name: row for row in check(yolo.data).rows()}
    finding = rows["tiny"].examples[0][1]
    assert finding.where == f"{file.with_suffix('.TXT')}:4"
    assert finding.box == pytest.approx((50, 50, 51.5, 56), abs=1e-3)


def test_what_cannot_be_opened_at_all(yolo: YoloSet, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="there is no such file"):
        open_survey(str(tmp_path / "nothing.yaml"))
    with pytest.raises(FineSpotError, match="no split 'dev'; it has train, val"):
        open_survey(yolo.data, ["train", "dev"])
    yolo.yaml(val="images/train")
    (yolo.root / "images" / "train").rename(yolo.root / "images" / "elsewhere")
    with pytest.raises(FineSpotError, match="'images/train' does not exist"):
        open_survey(yolo.data)


def test_only_the_splits_asked_for(yolo: YoloSet) -> None:
    class_out_of_range(yolo)
    not_a_number(yolo)
    assert [split.name for split in open_survey(yolo.data, ["val"]).splits] == ["val"]
    assert [split.findings.counts for split in open_survey(yolo.data, ["val"]).splits] == [{"record": 1}]


def test_ignore_regions_are_no_faults(yolo: YoloSet) -> None:
    lines = ["-1 0.5 0.5 1 1\n", "0 0.5 0.5 0.01 0.01\n", line(BOXES[0][0], 1), line((2, 50, 126, 52.5))]
    yolo.label("train", "north_0000").with_suffix(".ignore.txt").write_text("".join(lines))
    assert check(yolo.data).counts() == {}


def test_test_splits_may_have_no_labels(yolo: YoloSet) -> None:
    (yolo.root / "set.yaml").write_text("train: images/train\ntest: images/val\nnames: [person, car]\n")
    split_without_objects(yolo)
    assert check(yolo.data).counts() == {"unlabeled": 6}
