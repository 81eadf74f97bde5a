"""Official result files: VisDrone, UAVDT, TinyPerson, DOTA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.structures import Classes, Detections
from finespot.writers import write_dota, write_tinyperson, write_uavdt, write_visdrone, write_visdrone_vid
from finespot.writers.official import by_sequence

FOUND = [([10.126, 20, 30.5, 44], 0.5, 0), ([0, 0, 3.333333, 2.5], 0.9, 1), ([5, 5, 9, 8], 0.123456789, 1)]


def found(source: str, rows=FOUND, names=("car", "bus"), size=(50, 100)) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ((), (), ())
    return Detections(np.array(boxes), np.array(scores), np.array(labels), size, Classes(tuple(names)), source)


def nothing(source: str, names=("car", "bus")) -> Detections:
    return found(source, [], names)


class TestVisDrone:
    def test_lines_by_falling_score_over_all_classes(self, tmp_path: Path) -> None:
        folder = write_visdrone(tmp_path / "out", [found("x/0000001.jpg"), nothing("x/0000002.jpg")])
        assert (folder / "0000001.txt").read_text() == (
            "0.00,0.00,3.33,2.50,0.900000,9,-1,-1\n"
            "10.13,20.00,20.37,24.00,0.500000,4,-1,-1\n"
            "5.00,5.00,4.00,3.00,0.123457,9,-1,-1\n"
        )
        assert (folder / "0000002.txt").read_text() == "0,0,1,1,0,1,-1,-1\n", "the official program reads no empty file"

    def test_categories_go_by_name(self, tmp_path: Path) -> None:
        write_visdrone(tmp_path, [found("a.jpg", names=("motor", "awning-tricycle"))])
        assert [line.split(",")[5] for line in (tmp_path / "a.txt").read_text().split()] == ["8", "10", "8"]

    def test_other_classes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match=r"expected VisDrone's classes \(pedestrian.*but got boat; rename"):
            write_visdrone(tmp_path, [found("a.jpg", names=("car", "boat"))])

    def test_equal_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match=r"x/a\.jpg: expected different file names but y/a\.png has the same"):
            write_visdrone(tmp_path, [found("x/a.jpg"), found("y/a.png")])

    def test_half_pixels_are_not_lost(self, tmp_path: Path) -> None:
        write_visdrone(tmp_path, [found("a.jpg", [([4.5, 4.5, 10.5, 10.5], 0.5, 0)])])
        assert (tmp_path / "a.txt").read_text().startswith("4.50,4.50,6.00,6.00,")

    def test_video_in_one_file_a_sequence(self, tmp_path: Path) -> None:
        frames = [
            found("sequences/uav1_v/0000010.jpg", FOUND[:1]),
            found("sequences/uav1_v/0000002.jpg", FOUND[:2]),
            nothing("sequences/uav1_v/0000003.jpg"),
            nothing("sequences/uav2_v/0000004.jpg"),
            nothing("sequences/uav2_v/0000007.jpg"),
        ]
        folder = write_visdrone_vid(tmp_path, frames)
        assert (folder / "uav1_v.txt").read_text() == (
            "2,-1,0.00,0.00,3.33,2.50,0.900000,9,-1,-1\n"
            "2,-1,10.13,20.00,20.37,24.00,0.500000,4,-1,-1\n"
            "10,-1,10.13,20.00,20.37,24.00,0.500000,4,-1,-1\n"
        )
        assert (folder / "uav2_v.txt").read_text() == "4,-1,0,0,1,1,0,1,-1,-1\n"


@pytest.mark.parametrize(
    ("source", "sequence", "frame"),
    [
        ("d/uav0000188_00000_v/0000012.jpg", "uav0000188_00000_v", 12),
        ("d/M0203/img000001.jpg", "M0203", 1),
        ("d/M0203/img1/img000345.jpg", "M0203", 345),
        ("out/M0203_img000001.jpg", "M0203", 1),
        ("out/M0203_img1_img000001.jpg", "M0203", 1),
        ("out/uav0000188_00000_v_0000012.jpg", "uav0000188_00000_v", 12),
    ],
)
def test_sequence_and_frame(source: str, sequence: str, frame: int) -> None:
    assert {name: list(frames) for name, frames in by_sequence([nothing(source)]).items()} == {sequence: [frame]}


def test_frames_that_are_none() -> None:
    with pytest.raises(FineSpotError, match=r"d/photo\.jpg: expected a frame number"):
        by_sequence([nothing("d/photo.jpg")])
    with pytest.raises(FineSpotError, match="is frame 1 of M0203, too"):
        by_sequence([nothing("d/M0203/img000001.jpg"), nothing("d/M0203/img01.jpg")])


class TestUavdt:
    def test_one_class_and_frames_from_one(self, tmp_path: Path) -> None:
        frames = [found("M0203/img000002.jpg"), nothing("M0203/img000001.jpg"), nothing("M0801/img000001.jpg")]
        folder = write_uavdt(tmp_path, frames)
        assert (folder / "M0203.txt").read_text() == (
            "2,-1,0.00,0.00,3.33,2.50,0.900000,1,-1\n"
            "2,-1,10.13,20.00,20.37,24.00,0.500000,1,-1\n"
            "2,-1,5.00,5.00,4.00,3.00,0.123457,1,-1\n"
        )
        assert (folder / "M0801.txt").read_text() == ""

    def test_a_place_found_as_two_classes_counts_once(self, tmp_path: Path) -> None:
        rows = [([10, 10, 20, 20], 0.9, 0), ([10, 10, 20, 21], 0.4, 1), ([14, 10, 24, 20], 0.3, 1)]
        for iou, left in ((0.7, 2), (0.95, 3), (0.3, 1)):
            write_uavdt(tmp_path, [found("M0203/img000001.jpg", rows)], iou)
            assert len((tmp_path / "M0203.txt").read_text().split()) == left

    def test_other_classes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(
            FineSpotError, match=r"expected UAVDT's classes \(vehicle, car, truck, bus\) but got person"
        ):
            write_uavdt(tmp_path, [nothing("M0203/img000001.jpg", ("car", "person"))])


class TestTinyPerson:
    def test_persons_on_earth_and_at_sea_are_one_class(self, tmp_path: Path) -> None:
        names = ("sea_person", "earth_person")
        path = write_tinyperson(tmp_path / "r.json", [found("a.jpg", names=names), nothing("b.jpg", names)], [17, 3])
        records = json.loads(path.read_text())
        assert [(one["image_id"], one["category_id"]) for one in records] == [(17, 1)] * 3
        assert records[0]["bbox"] == pytest.approx([0, 0, 3.333333, 2.5])
        assert [one["score"] for one in records] == pytest.approx([0.9, 0.5, 0.123456789])

    def test_other_classes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="expected TinyPerson's classes"):
            write_tinyperson(tmp_path / "r.json", [nothing("a.jpg")], [1])


class TestDota:
    def test_a_file_for_each_class(self, tmp_path: Path) -> None:
        names = ("large vehicle", "ship", "storage_tank")
        write_dota(tmp_path, [found("d/P0001.png", names=names), found("d/P0002.png", FOUND[2:], names)])
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
            "Task2_large-vehicle.txt": "P0001 0.500000 10.13 20.00 30.50 44.00\n",
            "Task2_ship.txt": "P0001 0.900000 0.00 0.00 3.33 2.50\n"
            "P0001 0.123457 5.00 5.00 9.00 8.00\n"
            "P0002 0.123457 5.00 5.00 9.00 8.00\n",
            "Task2_storage-tank.txt": "",
        }

    def test_what_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FineSpotError, match="expected the same classes in all pictures"):
            write_dota(tmp_path, [nothing("a.png"), nothing("b.png", ("ship",))])
        with pytest.raises(FineSpotError, match="expected different file names"):
            write_dota(tmp_path, [nothing("x/a.png"), nothing("y/a.png")])

    def test_class_names_lead_nowhere_else(self, tmp_path: Path) -> None:
        write_dota(tmp_path / "out", [nothing("a.png", ("../a/b",))])
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["Task2_..-a-b.txt"]


@pytest.mark.parametrize("write", [write_visdrone, write_visdrone_vid, write_uavdt, write_dota])
def test_folders_that_cannot_be_written(write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FineSpotError, match="file"):
        write(tmp_path / "file" / "x", [nothing("a/0001.jpg")])
