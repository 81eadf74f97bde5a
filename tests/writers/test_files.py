"""COCO, YOLO and crop files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Pillow

from finespot.errors import FineSpotError
from finespot.structures import Classes, Detections
from finespot.writers import CocoWriter, CropWriter, Names, Writer, YoloWriter, coco_results, write_coco
from finespot.writers.yolo import yolo_lines

CLASSES = Classes(("car", "a/b", ".."), (4, 9, 11))


def found(source: str = "in/a.jpg", count: int = 2) -> Detections:
    boxes = [[10.125, 20, 30.375, 44], [0, 0, 3.3333333, 2.5], [90, 40, 100, 50]][:count]
    return Detections(boxes, [0.9, 0.123456789, 0.5][:count], [0, 1, 2][:count], (50, 100), CLASSES, source)


def empty(source: str) -> Detections:
    return Detections.empty((50, 100), CLASSES, source)


def test_names_are_unique_and_stable() -> None:
    names = Names()
    assert [names.of(s) for s in ("x/a.jpg", "y/a.jpg", "x/a.jpg", "a_2.png", "y/a.jpg")] == [
        "a", "a_2", "a", "a_2_2", "a_2",
    ]  # fmt: skip
    assert names.of("no_suffix") == "no_suffix"
    assert names.of("C:\\b\\c.jpg") == "c"
    assert [names.of(s) for s in ("x/DJI.jpg", "y/dji.jpg", "x/DJI.jpg")] == ["DJI", "dji_2", "DJI"]


class TestCoco:
    def test_records(self, tmp_path) -> None:
        records = coco_results([found(), empty("b.jpg"), found("c.jpg", 1)])
        assert [record["image_id"] for record in records] == ["a", "a", "c"]
        assert records[0]["category_id"] == 4
        assert records[0]["bbox"] == [10.125, 20, 20.25, 24]
        path = write_coco(tmp_path / "r.json", [found()], [17])
        again = json.loads(path.read_text())
        assert [record["image_id"] for record in again] == [17, 17]
        # Not rounded: the very float32 values come back.
        assert np.float32(again[1]["score"]) == found().scores[1]
        assert np.float32(again[1]["bbox"][2]) == found().boxes[1, 2]

    def test_ids_must_match(self) -> None:
        with pytest.raises(ValueError):
            coco_results([found()], [1, 2])

    def test_writer(self, tmp_path) -> None:
        writer: Writer = CocoWriter()
        writer.open(tmp_path / "out")
        for one in (found("x/a.jpg"), found("y/a.jpg"), empty("b.jpg")):
            writer.write(one, None)
        path = writer.close()
        assert path == tmp_path / "out" / "predictions.json"
        assert [record["image_id"] for record in json.loads(path.read_text())] == ["a", "a", "a_2", "a_2"]

    def test_the_old_file_stays_until_the_new_one_is_whole(self, tmp_path) -> None:
        (tmp_path / "predictions.json").write_text("old")
        writer = CocoWriter()
        writer.open(tmp_path)
        writer.write(found("x/a.jpg"))
        assert (tmp_path / "predictions.json").read_text() == "old"
        writer.close()
        assert json.loads((tmp_path / "predictions.json").read_text()) == found("x/a.jpg").to_coco()

    def test_nothing_found_is_an_empty_list(self, tmp_path) -> None:
        writer = CocoWriter("none.json")
        writer.open(tmp_path)
        assert json.loads(writer.close().read_text()) == []


class TestYolo:
    def test_lines(self) -> None:
        assert yolo_lines(found()) == (
            "0 0.202500 0.640000 0.202500 0.480000 0.900000\n1 0.016667 0.025000 0.033333 0.050000 0.123457\n"
        )
        assert yolo_lines(found(), scores=False).splitlines()[0] == "0 0.202500 0.640000 0.202500 0.480000"
        assert yolo_lines(empty("a.jpg")) == ""

    def test_files(self, tmp_path) -> None:
        names = Names()
        writer = YoloWriter(scores=False)
        writer.open(tmp_path, names)
        for one in (found("x/a.jpg"), found("y/a.jpg"), empty("b.jpg")):
            writer.write(one)
        folder = writer.close()
        assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "a_2.txt", "b.txt"]
        assert (folder / "b.txt").read_text() == ""
        assert len((folder / "a.txt").read_text().splitlines()[0].split()) == 5


class TestCrops:
    @pytest.fixture
    def pixels(self):
        return np.random.default_rng(0).integers(0, 255, (50, 100, 3), np.uint8)

    def write(self, tmp_path, pixels, **options):
        writer = CropWriter(**options)
        writer.open(tmp_path)
        writer.write(found(count=3), pixels)
        return writer.close()

    def test_pixels_and_folders(self, tmp_path, pixels) -> None:
        folder = self.write(tmp_path, pixels, extension="png")
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png")) == [
            "_/a_2.png", "a_b/a_1.png", "car/a_0.png",
        ]  # fmt: skip
        np.testing.assert_array_equal(np.asarray(Pillow.open(folder / "car" / "a_0.png")), pixels[20:44, 10:31])

    def test_margin(self, tmp_path, pixels) -> None:
        folder = self.write(tmp_path, pixels, margin=5)
        assert Pillow.open(folder / "car" / "a_0.jpg").size == (31, 34)
        assert Pillow.open(folder / "_" / "a_2.jpg").size == (15, 15)  # ends at the picture's edge

    def test_boxes_without_area_give_one_pixel(self, tmp_path, pixels) -> None:
        writer = CropWriter()
        writer.open(tmp_path)
        writer.write(Detections([[100, 50, 100, 50]], [1], [0], (50, 100), CLASSES, "a.jpg"), pixels)
        assert Pillow.open(writer.close() / "car" / "a_0.jpg").size == (1, 1)

    @pytest.mark.parametrize("options", [{"margin": -1}, {"extension": "gif"}])
    def test_bad_options(self, options) -> None:
        with pytest.raises(FineSpotError):
            CropWriter(**options)


def test_unwritable_folders(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for writer in (CocoWriter(), YoloWriter(), CropWriter()):
        with pytest.raises(FineSpotError):
            writer.open(tmp_path / "file" / "x")
