"""What the check says: table, JSON and page."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from check_factory import BOXES, YoloSet, check, line, scene
from rich.console import Console

from finespot.data.check import Report, known_kinds, open_survey
from finespot.data.check.examination import MOST_PIXELS, choose_depth
from finespot.data.check.page import write_page
from finespot.data.dataset import Dataset
from finespot.errors import FineSpotError


@pytest.fixture
def report(yolo: YoloSet) -> Report:
    """An error, a warning twice, a note, a copy in two splits."""
    yolo.add("train", "north_0000", "9 0.5 0.5 0.1 0.1\n", line((50, 50, 51.5, 56)))
    yolo.add("val", "south_0000", line((50, 50, 56, 51.5)))
    yolo.write("val", "south_0010")
    yolo.new("val", "east", scene(3))
    return check(yolo.data)


def printed(report: Report, **options: object) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200, highlight=False, soft_wrap=True).print(report.table(**options))  # type: ignore[arg-type]
    return stream.getvalue()


def test_rows_are_sorted_by_severity(report: Report) -> None:
    assert [(row.name, row.kind.severity, dict(row.by_split)) for row in report.rows()] == [
        ("record", "error", {"train": 1}),
        ("leak-copy", "error", {"val": 1}),
        ("tiny", "warning", {"train": 1, "val": 1}),
        ("unlabeled", "note", {"val": 1}),
    ]
    assert report.verdict() == "2 errors, 2 warnings, 1 note: not fit for training"
    assert report.verdict(["record", "leak-copy"]) == "2 errors, 2 warnings, 1 note"


def test_the_table(report: Report, yolo: YoloSet) -> None:
    text = printed(report)
    assert "train: 12 pictures, 37 objects" in text
    assert "pictures are decoded (19 pictures" in text
    assert re.search(r"warning +tiny +2 +train 1, val 1 +box below 2 px", text)
    assert "\n  labels/train/north_0000.txt:4: expected a class from 0 to 1 but got 9" in text
    assert "\n  images/val/east.png is also in train: images/train/north_0030.png" in text
    assert "tiny: no detector finds it" in text
    assert f"file names are those below {yolo.root}" in text
    assert "labels/val/south_0000.txt:4" in text
    assert "labels/val/south_0000.txt:4" not in printed(report, examples=1)
    assert re.search(r"accepted +record", printed(report, accept=["record"]))


def test_names_with_brackets_are_printed_as_they_are(yolo: YoloSet) -> None:
    yolo.write("train", "[red]odd[/]", line(BOXES[0][0]))
    assert "labels/train/[red]odd[/].txt" in printed(check(yolo.data))


def test_json(report: Report, yolo: YoloSet) -> None:
    content = json.loads(json.dumps(report.to_json(["record"]), allow_nan=False))
    assert content["passed"] is False
    assert report.to_json(["record", "leak-copy"])["passed"] is True
    assert content["splits"]["val"] == {
        "pictures": 7, "objects": 19, "ignore_regions": 0, "classes": ["person", "car"], "notes": []
    }  # fmt: skip
    tiny = next(one for one in content["findings"] if one["kind"] == "tiny")
    assert (tiny["severity"], tiny["count"], tiny["splits"]) == ("warning", 2, {"train": 1, "val": 1})
    assert tiny["examples"][0]["where"] == f"{yolo.label('train', 'north_0000')}:5"
    assert tiny["examples"][0]["picture"] == str(yolo.picture("train", "north_0000"))
    assert [one["accepted"] for one in content["findings"]] == [True, False, False, False]


def test_kinds_that_are_accepted_must_exist() -> None:
    assert known_kinds(["size", "tiny"]) == ("size", "tiny")
    with pytest.raises(FineSpotError, match="unknown kind of finding 'sise'; did you mean size"):
        known_kinds(["sise"])


def test_examples_are_limited_and_all_are_counted(yolo: YoloSet) -> None:
    yolo.add("train", "north_0000", *["9 0.5 0.5 0.1 0.1\n"] * 2500)
    report = check(yolo.data)
    assert report.counts() == {"record": 2500}
    (found,) = report.to_json()["findings"]
    assert (found["count"], len(found["examples"])) == (2500, 100)
    assert len(report.rows()[0].examples) == 1000


def test_decoding_by_size(yolo: YoloSet, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = open_survey(yolo.data)
    assert choose_depth(survey).decode
    assert not choose_depth(survey, False).decode
    assert "as asked" in choose_depth(survey, False).reason
    monkeypatch.setattr(Dataset, "size", lambda self, index: (40_000, MOST_PIXELS // 40_000 // 18 + 1))
    assert not choose_depth(survey).decode
    assert "18 pictures, 20 gigapixels: more than 20; --decode does it" in choose_depth(survey).reason
    assert choose_depth(survey, True).decode


def figures(path: Path) -> dict[str, list[np.ndarray]]:
    """The pictures of each line below."""
    shown: dict[str, list[np.ndarray]] = {}
    for data, alt in re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]*)"', path.read_text()):
        shown.setdefault(alt, []).append(np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data)))))
    return shown


def test_the_page_shows_the_pictures_in_question(report: Report, tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", report)
    text = page.read_text()
    assert "2 errors, 2 warnings, 1 note: not fit for training" in text
    assert 'href="#leak-copy"' in text
    assert "labels/train/north_0000.txt:4: expected a class from 0 to 1 but got 9" in text
    shown = figures(page)
    assert len(shown) == 5
    one, other = next(pictures for alt, pictures in shown.items() if "is also in train" in alt)
    assert one.shape == other.shape == (96, 128, 3)
    # The two are the same picture with the same boxes.
    assert np.abs(one.astype(int) - other).mean() < 4
    # A box is marked in the whole picture, and magnified beside it.
    whole, part = next(pictures for alt, pictures in shown.items() if "is 1.5 x 6 px" in alt)
    assert (whole.shape, part.shape) == ((96, 128, 3), (240, 240, 3))
    for pixels in (whole, part):
        assert (np.abs(pixels.astype(int) - (255, 0, 220)) < 60).all(2).any()


def test_the_page_is_limited(yolo: YoloSet, tmp_path: Path) -> None:
    for stem in (f"north_{number:04}" for number in range(0, 120, 10)):
        yolo.add("train", stem, line((50, 50, 51.5, 56)))
    page = write_page(tmp_path / "page.html", check(yolo.data), most=5)
    assert len(figures(page)) == 5
    assert "7 more" in page.read_text()


def test_a_page_of_pictures_that_cannot_be_shown(yolo: YoloSet, tmp_path: Path) -> None:
    path = yolo.picture("train", "north_0000")
    path.write_bytes(path.read_bytes()[:-400])
    yolo.picture("val", "south_0000").write_bytes(b"")
    page = write_page(tmp_path / "page.html", check(yolo.data))
    assert figures(page) == {}
    assert "images/train/north_0000.png" in page.read_text()
    assert "images/val/south_0000.png" in page.read_text()


@pytest.mark.slow
def test_large_and_odd_pictures_are_drawn(yolo: YoloSet, tmp_path: Path) -> None:
    yolo.new("train", "east", scene(60, (1200, 1700)))
    yolo.write("train", "east", "0 0.5 0.5 0.0005 0.1\n", "1 0.5 0.5 0.98 0.97\n", "0 0.9995 0.5 0.0005 0.5\n")
    yolo.new("train", "thin", scene(61, (3, 900)))
    yolo.write("train", "thin", "0 0.5 0.5 0.001 0.3\n", "1 0.999 0.5 0.1 0.1\n")
    shown = figures(write_page(tmp_path / "page.html", check(yolo.data)))
    assert all(max(pixels.shape) <= 360 for pictures in shown.values() for pixels in pictures)
    assert len(shown) >= 4
