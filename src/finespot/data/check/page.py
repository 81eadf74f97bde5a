"""The findings as a page with the pictures in question, drawn with their boxes.

A picture is shown whole and small; where a finding is about one box, its surroundings stand beside it, magnified by
whole pixels. The page holds a limited number of pictures of each kind, whatever the size of the data set.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.check.kinds import SEVERITIES
from finespot.data.check.report import Report, Row
from finespot.data.check.survey import Split
from finespot.data.findings import Corners, Finding
from finespot.errors import FineSpotError
from finespot.images import to_rgb8
from finespot.structures import Annotations, Boxes, Size, Window
from finespot.writers import Figure, Link, Page, Styled, View, draw, view, window_around

Pixels = NDArray[np.uint8]

# Longest side of a whole picture, and sides of a magnified part.
_WHOLE_PX, _PART_PX = 360, 240
_MOST_TIMES = 8
_MARK = (255, 0, 220)


def write_page(path: str | Path, report: Report, *, most: int = 12, accept: Collection[str] = ()) -> Path:
    """Write the page with at most `most` findings of each kind; returns its path."""
    rows = report.rows()
    page = Page(f"Data check: {report.survey.data}")
    page.text(report.verdict(accept), "note" if report.passed(accept) else "error")
    for line in report.lines():
        page.text(line)
    if rows:
        head = ["severity", "kind", "count", "splits", "finding", "what to do"]
        page.table(head, [_summary(row, accept) for row in rows])
    pictures = _Pictures(report, rows, most)
    for row in rows:
        _add(page, report, row, pictures, most)
    return page.write(path)


def _summary(row: Row, accept: Collection[str]) -> list[str | int | Link | Styled]:
    severity = Styled("accepted" if row.name in accept else row.kind.severity, row.kind.severity)
    return [severity, Link(row.name, row.name), row.count, row.splits(), row.kind.title, row.kind.advice]


def _add(page: Page, report: Report, row: Row, pictures: _Pictures, most: int) -> None:
    """One kind: its pictures, and in words those findings that have none."""
    page.heading(f"{row.kind.title[:1].upper()}{row.kind.title[1:]}: {row.count:,}", row.name)
    page.text(row.kind.advice, row.kind.severity if row.kind.severity in SEVERITIES else "")
    figures, words = [], []
    for _, finding in row.examples[:most]:
        line = report.line(row, finding)
        drawn = pictures.drawn(row, finding)
        if drawn is None:
            words.append([line])
        else:
            figures.append(Figure(drawn, line))
    if figures:
        page.figures(figures)
    if words:
        page.table(["findings"], words)
    if row.count > len(figures) + len(words):
        page.text(f"{row.count - len(figures) - len(words):,} more")


class _Pictures:
    """The pictures that the shown findings are about, decoded when they are drawn."""

    def __init__(self, report: Report, rows: Collection[Row], most: int) -> None:
        shown = [(row, one) for row in rows for _, one in row.examples[:most]]
        wanted = {one.picture for _, one in shown} | {one.where for row, one in shown if row.kind.pair}
        self._found: dict[str, tuple[Split, int]] = {}
        for split, index, _ in report.survey.pictures():
            if split.dataset.path(index) in wanted:
                self._found.setdefault(split.dataset.path(index), (split, index))

    def drawn(self, row: Row, finding: Finding) -> tuple[Pixels, ...] | None:
        """What a finding shows; None where it has no picture or this cannot be decoded."""
        parts = self._parts(finding.picture, finding.box)
        if row.kind.pair:
            parts += self._parts(finding.where, None)
        return tuple(parts) or None

    def _parts(self, path: str, box: Corners | None) -> list[Pixels]:
        if path not in self._found:
            return []
        split, index = self._found[path]
        try:
            image = split.dataset.image(index)
            pixels = to_rgb8(image.read(None), image.bit_depth)
        except FineSpotError:
            return []
        truth = split.dataset.annotations(index)
        parts = [_drawn(view(pixels, None, _WHOLE_PX), truth, split, box)]
        if box is not None:
            around = view(pixels, _around(box, truth.size), _PART_PX, most=_PART_PX)
            parts.append(_drawn(around, truth, split, box))
        return parts


def _around(box: Corners, size: Size) -> Window:
    """The surroundings of a box: three times its longer side, or what fills a part magnified `_MOST_TIMES`."""
    height, width = size
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height])
    side = int(max(3 * max(x2 - x1, y2 - y1), _PART_PX / _MOST_TIMES))
    return window_around(((x1 + x2) / 2, (y1 + y2) / 2), side, size)


def _drawn(shown: View, truth: Annotations, split: Split, box: Corners | None) -> Pixels:
    """A part of a picture with the boxes that reach into it, the box in question marked."""
    size: Size = (shown.pixels.shape[0], shown.pixels.shape[1])
    boxes = np.clip(shown.boxes(truth.boxes), 0, np.array([size[1], size[0]] * 2, np.float32))
    seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
    inside = Annotations(boxes[seen], truth.labels[seen], size, ignore=truth.ignore[seen])
    drawn: Pixels = draw(shown.pixels, inside, split.dataset.classes, labels=box is not None)
    if box is not None:
        drawn = drawn.copy()
        _mark(drawn, shown.boxes(box)[0])
    return drawn


def _mark(pixels: Pixels, box: Boxes) -> None:
    """A frame two pixels outside a box, also where that has no area or lies at the edge."""
    high, wide = pixels.shape[:2]
    x1, y1 = (int(np.clip(np.floor(value) - 3, 0, end - 1)) for value, end in zip(box[:2], (wide, high)))
    x2, y2 = (int(np.clip(np.ceil(value) + 2, 0, end - 1)) for value, end in zip(box[2:], (wide, high)))
    pixels[[y1, y2], x1 : x2 + 1] = _MARK
    pixels[y1 : y2 + 1, [x1, x2]] = _MARK
