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
from finespot.images import resample, to_rgb8
from finespot.structures import Annotations, Size
from finespot.writers import Figure, Link, Page, Styled, draw

Pixels = NDArray[np.uint8]

# Longest side of a whole picture, and sides of a magnified part.
_WHOLE_PX, _PART_PX = 360, 240
_MOST_TIMES = 8
_MARK = (255, 0, 220)
_GAP_PX = 6


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

    def drawn(self, row: Row, finding: Finding) -> Pixels | None:
        """What a finding shows; None where it has no picture or this cannot be decoded."""
        parts = self._parts(finding.picture, finding.box)
        if row.kind.pair:
            parts += self._parts(finding.where, None)
        return _side_by_side(parts) if parts else None

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
        parts = [_whole(pixels, truth, split, box)]
        if box is not None:
            parts.append(_around(pixels, truth, split, box))
        return parts


def _whole(pixels: Pixels, truth: Annotations, split: Split, box: Corners | None) -> Pixels:
    height, width = truth.size
    scale = min(1.0, _WHOLE_PX / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    shown = resample(pixels, size, (0.0, 0.0, float(width), float(height)))
    return _drawn(shown, truth, split, (0.0, 0.0), (size[1] / width, size[0] / height), box)


def _around(pixels: Pixels, truth: Annotations, split: Split, box: Corners) -> Pixels:
    """The surroundings of a box: three times its longer side, magnified to about `_PART_PX`."""
    height, width = truth.size
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height])
    side = int(max(3 * max(x2 - x1, y2 - y1), _PART_PX / _MOST_TIMES))
    left, right = _span((x1 + x2) / 2, side, width)
    top, bottom = _span((y1 + y2) / 2, side, height)
    part = pixels[top:bottom, left:right]
    times = _PART_PX / max(part.shape[:2])
    if times >= 1:
        times = int(times)
        part = part.repeat(times, 0).repeat(times, 1)
    else:
        size = (max(1, round(part.shape[0] * times)), max(1, round(part.shape[1] * times)))
        part = resample(part, size, (0.0, 0.0, float(part.shape[1]), float(part.shape[0])))
    return _drawn(part, truth, split, (left, top), (times, times), box)


def _span(center: float, side: int, end: int) -> tuple[int, int]:
    """`side` pixels around a center, moved inside 0..end."""
    start = min(max(0, int(center - side / 2)), max(0, end - side))
    return start, min(end, start + side)


def _drawn(
    pixels: Pixels,
    truth: Annotations,
    split: Split,
    origin: tuple[float, float],
    scale: tuple[float, float],
    box: Corners | None,
) -> Pixels:
    """A part of a picture with the boxes that reach into it, the box in question marked."""
    size: Size = (pixels.shape[0], pixels.shape[1])
    limit = np.array([size[1], size[0]] * 2, np.float32)
    boxes = np.clip((truth.boxes - np.array(origin * 2)) * np.array(scale * 2), 0, limit).astype(np.float32)
    seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
    shown = Annotations(boxes[seen], truth.labels[seen], size, ignore=truth.ignore[seen])
    drawn: Pixels = draw(np.ascontiguousarray(pixels), shown, split.dataset.classes, labels=box is not None)
    if box is not None:
        drawn = drawn.copy()
        _mark(drawn, (np.array(box) - np.array(origin * 2)) * np.array(scale * 2))
    return drawn


def _mark(pixels: Pixels, box: NDArray[np.float64]) -> None:
    """A frame two pixels outside a box, also where that has no area or lies at the edge."""
    high, wide = pixels.shape[:2]
    x1, y1 = (int(np.clip(np.floor(value) - 3, 0, end - 1)) for value, end in zip(box[:2], (wide, high)))
    x2, y2 = (int(np.clip(np.ceil(value) + 2, 0, end - 1)) for value, end in zip(box[2:], (wide, high)))
    pixels[[y1, y2], x1 : x2 + 1] = _MARK
    pixels[y1 : y2 + 1, [x1, x2]] = _MARK


def _side_by_side(parts: list[Pixels]) -> Pixels:
    high = max(part.shape[0] for part in parts)
    page = np.full((high, sum(part.shape[1] + _GAP_PX for part in parts) - _GAP_PX, 3), 255, np.uint8)
    left = 0
    for part in parts:
        page[: part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + _GAP_PX
    return page
