"""An evaluation as one HTML file to look at and to send: numbers, curves, and the pictures that went wrong.

Every protocol has tables of its own, with the facts that its numbers depend on. Everything is in the file; it loads
nothing and runs no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics import plots
from finespot.metrics.closeups import closeup, swatch
from finespot.metrics.confusion import confusion_matrix
from finespot.metrics.judged import judged
from finespot.metrics.report import Report
from finespot.metrics.subset import by_rules
from finespot.metrics.tables import Results, Truth
from finespot.metrics.worst import Failure, Worst, worst
from finespot.structures import Image
from finespot.writers import Figure, Number, Page
from finespot.writers.figures import figure_png
from finespot.writers.html import Cell

PictureOf = Callable[[int], Image]

# What all pictures of a page may take together: as text in the page they are a third longer.
_PICTURES_BYTES = 6_000_000
# More than this looks no better.
_PICTURE_BYTES = 250_000
_MEANING = {
    "found": "found",
    "missed": "missed",
    "false": "false positive",
    "ignored": "ignored, or of a size that does not count",
}


class Diagram(NamedTuple):
    """A further diagram of a page: a matplotlib figure, or a finished PNG or JPEG file."""

    title: str
    picture: Any
    caption: str


def report_page(
    path: str | Path,
    reports: Sequence[Report],
    truth: Truth,
    results: Results,
    *,
    picture: PictureOf | None = None,
    figures: Sequence[Diagram] = (),
    title: str = "Evaluation",
    split: str = "",
    n: int = 12,
) -> Path:
    """Write the page; returns its path.

    Parameters
    ----------
    reports:
        One or more, of the same truth and results; the first one's protocol judges the pictures (at IoU 0.5).
    picture:
        The picture at a position of `truth.image_ids`. Without it the worst pictures are a list of names; one that
        cannot be read is named with the reason.
    figures:
        Diagrams to add: (title, matplotlib figure or PNG or JPEG bytes, caption).
    split:
        The name of the split, for the reader.
    n:
        Most pictures shown with misses, and with false positives.

    Raises
    ------
    FineSpotError
        There is no report, a diagram is no picture, or the page cannot be written.
    """
    if not reports:
        raise FineSpotError("expected at least one report but got none", where="reports")
    page = Page(title)
    for report in reports:
        _numbers(page, report, split)
    bad = worst(truth, results, judged(truth, results, reports[0].protocol), n)
    _diagrams(page, reports, truth, results, bad.confidence, figures)
    if n:
        _worst(page, truth, results, bad, picture, min(_PICTURE_BYTES, _PICTURES_BYTES // (2 * n)))
    return page.write(path)


def _numbers(page: Page, report: Report, split: str) -> None:
    rules = report.protocol
    page.heading(rules.name + (f", split {split}" if split else ""))
    for line in report.facts():
        page.text(line)
    general = [rules.label(row) for row in rules.rows if row.area == rules.areas[0].label]
    general = [label for label in general if label in report.values]
    if general:
        page.table(general, [[Number(report.values[label]) for label in general]])
    _sizes(page, report)
    if len(report.classes) > 1:
        # A number over all classes need not be one of single classes.
        labels = [label for label in report.values if any(label in own for own in report.per_class.values())]
        rows: list[list[Cell]] = [
            [name, report.objects[name], *(Number(report.per_class[name].get(label)) for label in labels)]
            for name in report.classes
        ]
        page.table(["class", "objects", *labels], rows)


def _sizes(page: Page, report: Report) -> None:
    """One line a size range, one column a kind of number."""
    rules = report.protocol
    sized = [row for row in rules.rows if row.area != rules.areas[0].label]
    several = len({rules.limit(row) for row in sized}) > 1
    values: dict[str, dict[str, float | None]] = {}
    for row in sized:
        column = row.kind + ("" if row.iou is None else f"{100 * row.iou:g}")
        if several:
            column += f"@{rules.limit(row)}"
        values.setdefault(row.area, {})[column] = report.values.get(rules.label(row))
    columns = list(dict.fromkeys(column for own in values.values() for column in own))
    if values:
        rows: list[list[Cell]] = [
            [area, *(Number(own.get(column)) for column in columns)] for area, own in values.items()
        ]
        page.table(["size", *columns], rows)


def _diagrams(
    page: Page,
    reports: Sequence[Report],
    truth: Truth,
    results: Results,
    confidence: float,
    figures: Sequence[Diagram],
) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "diagram.png"
        for report in reports:
            page.heading(f"Precision over recall: {report.protocol.name}")
            caption = "a dot marks the best F1 of its class"
            page.figures([Figure(plots.pr_curves(report, file).read_bytes(), caption)])
        page.heading("Which class is taken for which")
        # The confusion matrix knows crowds only.
        truth, results = by_rules(truth, results, reports[0].protocol)
        matrix = confusion_matrix(truth, results, conf=confidence)
        caption = "at the confidence of the best F1 over all objects"
        page.figures([Figure(plots.confusion(matrix, truth.classes, file, conf=confidence).read_bytes(), caption)])
    for heading, made, caption in figures:
        page.heading(heading)
        page.figures([Figure(made if isinstance(made, bytes) else figure_png(made), caption)])


def _worst(page: Page, truth: Truth, results: Results, bad: Worst, picture: PictureOf | None, most_bytes: int) -> None:
    for about, failures, heading in (
        ("missed", bad.missed, "Pictures with most misses"),
        ("false", bad.false, "Pictures with most false positives"),
    ):
        page.heading(heading)
        page.text(f"Detections of confidence {bad.confidence:.3g} or more (best F1 over all objects), IoU 0.5 or more.")
        if not failures:
            page.text("None.")
            continue
        if picture is not None:
            _pictures(page, truth, results, failures, about, picture, most_bytes)
        _names(page, truth, failures)


def _pictures(
    page: Page,
    truth: Truth,
    results: Results,
    failures: Sequence[Failure],
    about: str,
    picture: PictureOf,
    most_bytes: int,
) -> None:
    shown, unseen = [], []
    for failure in failures:
        name = str(truth.image_ids[failure.image])
        try:
            image = picture(failure.image)
            drawn, part = closeup(image, truth, results, failure, about, most_bytes)
        except FineSpotError as error:
            unseen.append(f"{name}: cannot be shown ({error})")
            continue
        line = f"{PurePath(image.path).name or name}: {_line(truth, results, failure)}"
        shown.append(Figure(drawn, f"{line}; {part}" if part else line))
    if shown:
        page.figures([Figure(swatch(kind), meaning) for kind, meaning in _MEANING.items()])
        page.figures(shown)
    for line in unseen:
        page.text(line, "warning")


def _names(page: Page, truth: Truth, failures: Sequence[Failure]) -> None:
    rows: list[list[Cell]] = [
        [str(truth.image_ids[one.image]), len(one.found), len(one.missed), len(one.false)] for one in failures
    ]
    page.table(["picture", "found", "missed", "false"], rows)


def _line(truth: Truth, results: Results, failure: Failure) -> str:
    objects = len(failure.found) + len(failure.missed)
    missed = _classes(truth, truth.label[failure.missed])
    false = _classes(truth, results.label[failure.false])
    return f"{len(failure.missed)} of {objects} missed{missed}, {len(failure.false)} false{false}"


def _classes(truth: Truth, labels: NDArray[np.int64]) -> str:
    """` (3 car, 2 bus)`, most first."""
    kinds, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    words = ", ".join(f"{counts[k]} {truth.classes[int(kinds[k])]}" for k in order)
    return f" ({words})" if words else ""
