"""The page of an evaluation: what it says, that nothing of its input runs, its size, pages without pictures."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from finespot.errors import FineSpotError
from finespot.images import open_image
from finespot.metrics import Results, Row, Truth, evaluate, protocol
from finespot.metrics.page import Diagram, report_page
from finespot.structures import Annotations, Classes, Detections, Image
from finespot.writers.figures import blank_figure

SIZE = (300, 400)
EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Tags, cells of each table, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._tag = tag
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._tag in ("td", "th"):
            self.tables[-1][-1].append(data)
        elif self._tag == "h2":
            self.headings.append(data)
        self._tag = ""

    def text(self) -> str:
        return "\n".join(self.words)


def tables(classes: tuple[str, ...] = ("car", "person"), pictures: int = 3) -> tuple[Truth, Results]:
    """In picture i, i + 1 objects of 8 px of which the first is found, and i false positives."""
    names = Classes(classes)
    annotations, found = [], []
    for i in range(pictures):
        corner = np.stack([20.0 + 20 * np.arange(i + 1), np.full(i + 1, 30.0)], axis=1)
        boxes = np.concatenate([corner, corner + 8], axis=1)
        false = np.array([[200 + 20 * k, 200, 210 + 20 * k, 210] for k in range(i)]).reshape(-1, 4)
        labels = np.arange(i + 1) % len(classes)
        annotations.append(Annotations(boxes, labels, SIZE))
        given = np.concatenate([boxes[:1], false])
        scores = np.full(len(given), 0.8)
        found.append(Detections(given, scores, np.zeros(len(given)), SIZE, names))
    truth = Truth.from_annotations(annotations, names, [f"picture {i}" for i in range(pictures)])
    return truth, Results.from_detections(found, truth)


def plain(index: int) -> Image:
    pixels = np.full((*SIZE, 3), 90, np.uint8)
    return Image(SIZE, 3, 8, f"folder/shot{index}.jpg", lambda window: pixels)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    truth, results = tables()
    path = tmp_path_factory.mktemp("new") / "sub" / "page.html"
    reports = [replace(evaluate(truth, results, name), settings={"conf": 0.25}) for name in ("coco", "ai-tod")]
    added = [
        Diagram("Errors by kind", blank_figure(2, 1), "made elsewhere"),
        ("As a file", png(), "a finished one"),
    ]
    made = report_page(
        path, reports, truth, results, picture=plain, figures=added, title="Night flight", split="test-dev"
    )
    assert made == path
    return Reader(path.read_text())


def png() -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (20, 10)).save(stream, "PNG")
    return stream.getvalue()


def test_each_protocol_has_its_own_tables_and_facts(page: Reader) -> None:
    assert page.headings[:2] == ["coco, split test-dev", "ai-tod, split test-dev"]
    heads = [table[0] for table in page.tables]
    assert heads[0] == ["AP", "AP50", "AP75", "AR@1", "AR@10", "AR@100"]
    assert heads[1] == ["size", "AP", "AR"]
    assert heads[2][:4] == ["class", "objects", "AP", "AP50"]
    assert heads[3][:7] == ["AP", "AP25", "AP50", "AP75", "AR@maxDets0", "AR@maxDets1", "AR@maxDets2"]
    text = page.text()
    for name in ("coco", "ai-tod"):
        facts = evaluate(*tables(), name).facts()
        assert len(facts) > 1
        assert all(line in page.words for line in facts)
    assert "coco: 3 images, 6 objects, 0 ignore regions, 6 detections" in text
    assert "made with conf 0.25" in text


def test_numbers_are_those_of_the_report(page: Reader) -> None:
    report = evaluate(*tables(), "coco")
    assert page.tables[0][1] == [f"{report.values[name]:.3f}" for name in page.tables[0][0]]
    assert page.tables[1][1:] == [
        ["small", f"{report.values['AP_small']:.3f}", f"{report.values['AR_small']:.3f}"],
        ["medium", "-", "-"],
        ["large", "-", "-"],
    ]
    car = dict(zip(page.tables[2][0], page.tables[2][1]))
    assert (car["class"], car["objects"], car["AP50"]) == ("car", "4", f"{report.per_class['car']['AP50']:.3f}")


@pytest.mark.slow
def test_sizes_at_several_limits_and_numbers_of_all_classes_only(tmp_path: Path) -> None:
    rows = tuple(Row(f"AR_{area}@{{{k}}}", "AR", area=area, place=k) for k in (0, 2) for area in ("small", "large"))
    truth, results = tables()
    report = evaluate(truth, results, replace(protocol("coco"), rows=(Row("AP50", "AP", iou=0.5), *rows)))
    report = replace(report, per_class={name: {"AP50": 0.25} for name in report.classes})
    read = Reader(report_page(tmp_path / "page.html", [report], truth, results, n=0).read_text())
    assert read.tables[0][0] == ["AP50"]
    small = [f"{report.values[name]:.3f}" for name in ("AR_small@1", "AR_small@100")]
    assert read.tables[1] == [["size", "AR@1", "AR@100"], ["small", *small], ["large", "-", "-"]]
    assert read.tables[2] == [["class", "objects", "AP50"], ["car", "4", "0.250"], ["person", "2", "0.250"]]


def test_diagrams(page: Reader) -> None:
    assert page.headings[2:7] == [
        "Precision over recall: coco",
        "Precision over recall: ai-tod",
        "Which class is taken for which",
        "Errors by kind",
        "As a file",
    ]
    shown = [attrs for tag, attrs in page.tags if tag == "img"]
    sources = {attrs["alt"]: attrs["src"] or "" for attrs in shown}
    assert sources["made elsewhere"].startswith("data:image/png;base64,")
    assert sources["a finished one"].startswith("data:image/png;base64,")


def test_the_worst_pictures_with_counts_and_names(page: Reader) -> None:
    assert page.headings[7:] == ["Pictures with most misses", "Pictures with most false positives"]
    captions = [words for words in page.words if words.startswith("shot")]
    assert captions == [
        "shot2.jpg: 2 of 3 missed (1 car, 1 person), 2 false (2 car); x 0 to 112, y 0 to 112, magnified 5 times",
        "shot1.jpg: 1 of 2 missed (1 person), 1 false (1 car); x 0 to 112, y 0 to 112, magnified 5 times",
        "shot2.jpg: 2 of 3 missed (1 car, 1 person), 2 false (2 car); x 145 to 285, y 135 to 275, magnified 4 times",
        "shot1.jpg: 1 of 2 missed (1 person), 1 false (1 car); x 135 to 275, y 135 to 275, magnified 4 times",
    ]
    assert page.tables[-1] == [
        ["picture", "found", "missed", "false"],
        ["picture 2", "1", "2", "2"],
        ["picture 1", "1", "1", "1"],
    ]
    for meaning in ("found", "missed", "false positive", "ignored, or of a size that does not count"):
        assert page.words.count(meaning) >= 2
    assert "Detections of confidence 0.8 or more (best F1 over all objects), IoU 0.5 or more." in page.words


def test_nothing_is_loaded_and_nothing_runs(page: Reader) -> None:
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert not any(name.startswith("on") for name in attrs)
        assert (attrs.get("src") or "data:").startswith("data:")
        assert "href" not in attrs


@pytest.mark.slow
def test_hostile_names_stay_text(tmp_path: Path) -> None:
    truth, results = tables((EVIL, "person"))
    truth = replace(truth, image_ids=tuple(f"{EVIL}{i}" for i in range(3)))
    report = replace(evaluate(truth, results), notes=(EVIL,))

    def broken(index: int) -> Image:
        if index == 1:
            raise FineSpotError(f"not a picture: {EVIL}")
        return replace(plain(index), path=f"x/{EVIL}.jpg".replace("/script", "script"))

    added = [Diagram(EVIL, png(), EVIL)]
    path = report_page(
        tmp_path / "page.html", [report], truth, results, picture=broken, figures=added, title=EVIL, split=EVIL
    )
    text = path.read_text()
    read = Reader(text)
    tags = {tag for tag, _ in read.tags}
    assert "script" not in tags
    assert not any("onerror" in attrs for _, attrs in read.tags)
    assert len(re.findall("<img", text)) == text.count("data:image/")
    assert text.count(html.escape(EVIL)) > 10
    assert any("cannot be shown (not a picture: <script>" in words for words in read.words)


@pytest.mark.slow
def test_without_pictures_names_are_listed(tmp_path: Path) -> None:
    truth, results = tables()
    reports = [evaluate(truth, results)]
    read = Reader(report_page(tmp_path / "page.html", reports, truth, results, n=1).read_text())
    assert [table[1:] for table in read.tables[-2:]] == [[["picture 2", "1", "2", "2"]]] * 2
    assert not any("missed (" in words for words in read.words)


@pytest.mark.slow
def test_no_worst_pictures_where_none_are_asked_for(tmp_path: Path) -> None:
    truth, results = tables()
    read = Reader(report_page(tmp_path / "page.html", [evaluate(truth, results)], truth, results, n=0).read_text())
    assert read.headings[-1] == "Which class is taken for which"


@pytest.mark.slow
def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    truth, results = tables()
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    report = evaluate(truth, results)
    path = report_page(
        tmp_path / "page.html", [report], truth, results, picture=lambda index: open_image(tmp_path / "bad.jpg")
    )
    text = path.read_text()
    assert "picture 2: cannot be shown" in text
    assert "bad.jpg" in text


@pytest.mark.slow
@pytest.mark.parametrize("case", ["no objects", "no detections", "no pictures", "all is right"])
def test_pages_of_nothing(tmp_path: Path, case: str) -> None:
    truth, results = tables(pictures=0 if case == "no pictures" else 1)
    if case == "no objects":
        truth = truth.select(np.zeros(0, int))
    elif case == "no detections":
        results = results.select(np.zeros(0, int))
    path = report_page(tmp_path / "page.html", [evaluate(truth, results)], truth, results, picture=plain)
    read = Reader(path.read_text())
    nones = {"no objects": 1, "no detections": 1, "no pictures": 2, "all is right": 2}
    assert read.words.count("None.") == nones[case]


@pytest.mark.slow
def test_a_page_of_24_noisy_pictures_is_below_10_mb(tmp_path: Path) -> None:
    truth, results = tables(pictures=13)
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    pictured = lambda index: Image(SIZE, 3, 8, f"{index}.png", lambda window: noise)  # noqa: E731
    path = report_page(tmp_path / "page.html", [evaluate(truth, results)], truth, results, picture=pictured)
    assert path.read_text().count("data:image/jpeg") >= 48
    assert path.stat().st_size < 10e6


@pytest.mark.slow
def test_an_old_page_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    truth, results = tables(pictures=1)
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(FineSpotError, match="expected a JPEG or PNG"):
        report_page(path, [evaluate(truth, results)], truth, results, figures=[Diagram("a", b"GIF89a", "b")])
    with pytest.raises(FineSpotError, match="reports: expected at least one report"):
        report_page(path, [], truth, results)
    assert path.read_text() == "old"
