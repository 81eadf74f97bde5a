"""Pages in one file."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from finespot.errors import FineSpotError
from finespot.writers import Figure, Link, Number, Page, Styled

PIXELS = np.full((20, 30, 3), (200, 30, 30), np.uint8)


class Reader(HTMLParser):
    """Tags and text of a page; refuses tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def pictures(page: str) -> list[PIL.Image.Image]:
    sources = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    return [PIL.Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]


def test_a_page_with_everything(tmp_path: Path) -> None:
    page = Page("Data check")
    page.text("2 errors", "error")
    page.table(["kind", "count"], [[Link("record", "record"), 1234], [Styled("note", "note"), 2.5]])
    page.heading("Records", "record")
    page.figures([Figure(PIXELS, "first"), Figure(PIXELS, "second")])
    path = page.write(tmp_path / "new" / "page.html")
    text = path.read_text()
    read = Reader(text)
    assert [tag for tag, _ in read.tags].count("td") == 4
    assert ("a", {"href": "#record"}) in read.tags
    assert ("h2", {"id": "record"}) in read.tags
    assert ("td", {"class": "note"}) in read.tags
    assert ("p", {"class": "error"}) in read.tags
    assert "1,234" in read.words
    assert [attrs["alt"] for tag, attrs in read.tags if tag == "img"] == ["first", "second"]


def test_numbers_stand_right_below_their_heads() -> None:
    page = Page("x")
    page.table(["a", "b", "c"], [["x", Number(0.12345), 1], ["y", Number(None), "z"], ["", Number(2, digits=1), 3]])
    cells = [(tag, attrs) for tag, attrs in Reader(page.html()).tags if tag in ("th", "td")]
    right = [attrs == {"class": "number"} for _, attrs in cells]
    assert right == [False, True, False, *[False, True, True], *[False, True, False], *[False, True, True]]
    assert {"0.123", "-", "2.0"} <= set(Reader(page.html()).words)


def test_dark_on_the_screen_and_light_on_paper() -> None:
    style = Page("x").html()
    assert "@media screen and (prefers-color-scheme: dark)" in style
    assert "@media print" in style


def test_nothing_comes_from_outside_and_nothing_runs() -> None:
    page = Page("x")
    page.figures([Figure(PIXELS, "a")])
    for tag, attrs in Reader(page.html()).tags:
        assert tag not in ("script", "link", "iframe")
        assert not any(name.startswith("on") for name in attrs)
        assert all(value is None or value.startswith("data:") for name, value in attrs.items() if name == "src")
    assert "http" not in page.html()


def test_hostile_text_stays_text() -> None:
    evil = '"><script>alert(1)</script>&amp;\x00'
    page = Page(evil)
    page.heading(evil)
    page.text(evil)
    page.table([evil], [[evil], [Link(evil, evil)], [Styled(evil, "error")]])
    page.figures([Figure(PIXELS, evil)])
    read = Reader(page.html())
    assert "script" not in [tag for tag, _ in read.tags]
    assert sum("<script>alert(1)</script>&amp;" in words for words in read.words) == 9


def test_names_that_are_no_text(tmp_path: Path) -> None:
    page = Page("x")
    page.text("a\udcff.jpg")
    assert "a?.jpg" in page.write(tmp_path / "x.html").read_text()


def test_pixels_become_jpeg_in_full_color_resolution() -> None:
    page = Page("x", quality=95)
    page.figures([Figure(PIXELS, "a")])
    (picture,) = pictures(page.html())
    assert (picture.format, picture.size) == ("JPEG", (30, 20))
    assert np.abs(np.asarray(picture).astype(int) - PIXELS).max() <= 4
    low = Page("x", quality=10)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    low.figures([Figure(noise, "a")])
    high = Page("x", quality=95)
    high.figures([Figure(noise, "a")])
    assert len(low.html()) < len(high.html())


def test_noise_becomes_jpeg() -> None:
    page = Page("x", quality=90)
    page.figures([Figure(np.random.default_rng(0).integers(0, 256, (560, 560, 3), dtype=np.uint8), "a")])
    assert pictures(page.html())[0].size == (560, 560)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_finished_files_are_taken_as_they_are(kind: str) -> None:
    stream = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(stream, kind)
    page = Page("x")
    page.figures([Figure(stream.getvalue(), "a")])
    assert f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}" in page.html()


def test_several_pictures_with_one_line() -> None:
    page = Page("x")
    page.figures([Figure((PIXELS, PIXELS[:10]), "both")])
    assert [picture.size for picture in pictures(page.html())] == [(30, 20), (30, 10)]
    assert Reader(page.html()).words.count("both") == 1


def test_wrong_use() -> None:
    page = Page("x")
    with pytest.raises(FineSpotError, match="expected a JPEG or PNG"):
        page.figures([Figure(b"GIF89a", "a")])
    with pytest.raises(ValueError, match="expected 2 cells in a row but got 1"):
        page.table(["a", "b"], [["c"]])
    with pytest.raises(ValueError, match="expected a style"):
        page.text("a", "loud")
    page.heading("a", "one")
    with pytest.raises(ValueError, match="used twice"):
        page.heading("b", "one")


def test_an_old_page_stays_where_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FineSpotError, match="cannot be written"):
        Page("x").write(tmp_path / "file" / "x.html")
