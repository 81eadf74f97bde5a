"""Pictures of an evaluation: of a report, the confusion matrix, confidences, sizes, and of a comparison.

The file's suffix chooses the format (png, svg, pdf).
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.bootstrap import Interval
from finespot.metrics.calibration import Calibration, Reliability
from finespot.metrics.comparison import Comparison, Difference
from finespot.metrics.curves import ConfidenceCurves
from finespot.metrics.report import Report
from finespot.metrics.size_curve import SizeCurve
from finespot.structures import Classes
from finespot.writers.figures import blank_figure, literal, save_figure

# More classes than the color map tells apart are drawn thin and gray, without an entry in the legend.
_NAMED = 20
# And so many where names stand among the curves.
_BESIDE = 8
# Numbers in the cells of larger matrices would be too small to read.
_WRITTEN = 25
# Classes of a comparison that fit on a page.
_COMPARED = 25


def pr_curves(report: Report, path: str | Path) -> Path:
    """Draw precision over recall of every class with objects, with their mean; returns the path.

    The legend gives the average precision at the curve's IoU and the confidence of the best F1, which a dot marks.
    """
    figure = blank_figure(9, 5.5)
    axes = figure.add_subplot()
    averages = _averages(report)
    named = len(report.curves) <= _NAMED
    colors = _colors(len(report.curves))
    for (name, curve), color in zip(report.curves.items(), colors):
        average = averages[name]
        text = f"{literal(name)} {average:.3f} (conf {curve.confidence:.2f})" if named else None
        axes.plot(curve.recall, curve.precision, color=color, linewidth=1.4 if named else 0.7, label=text)
        axes.plot([curve.best_recall], [curve.best_precision], "o", color=color, markersize=4)
    if report.curves:
        curves = list(report.curves.values())
        mean = np.mean([curve.precision for curve in curves], axis=0)
        if len(curves) > 1:
            axes.plot(curves[0].recall, mean, color="black", linewidth=2.5, label="mean of the curves")
        title = f"{report.protocol.name}, IoU {curves[0].iou:g}, {report.images} images"
        _legend_beside(axes, "average precision\n(confidence of the best F1)")
    else:
        title = f"{report.protocol.name}: no objects"
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    return save_figure(figure, path)


def _averages(report: Report) -> dict[str, float]:
    """The average precision of each class that has a curve, at the curves' overlap, as the protocol integrates it."""
    rules = report.protocol
    table = report.averages.average[0, rules.largest]
    places = {name: k for k, name in enumerate(report.classes)}
    return {name: float(table[places[name], rules.lanes.index(one.iou)]) for name, one in report.curves.items()}


def confusion(
    matrix: NDArray[np.int64], classes: Classes, path: str | Path, *, conf: float = 0.25, iou: float = 0.5
) -> Path:
    """Draw a confusion matrix (`metrics.confusion_matrix`, made with `conf` and `iou`); returns the path.

    Colors are shares of each true class (row), numbers are counts. The background row has no share to speak of; its
    color is its share of all false positives on background.
    """
    names = [*map(literal, classes), "background"]
    if matrix.shape != (len(names), len(names)):
        raise FineSpotError(f"expected a matrix of {len(names)} x {len(names)} but got {matrix.shape}")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.0, 0.55 * len(names) + 2), 30)
    figure = blank_figure(side + 1, side)
    axes = figure.add_subplot()
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="share of the row", shrink=0.8)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    title = f"detections of score {conf:.3g} or more, overlap (IoU) {iou:g} or more"
    axes.set(xlabel="predicted", ylabel="true", title="\n".join(textwrap.wrap(title, 40)))
    if len(names) <= _WRITTEN:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                color = "white" if share[row, column] > 0.6 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize="small")
    return save_figure(figure, path)


def confidence(curves: ConfidenceCurves, path: str | Path) -> Path:
    """Draw precision, recall and F1 over the confidence of every class and of all together; returns the path.

    A dot marks the best F1 of each, whose confidence the legend gives.
    """
    figure = blank_figure(13, 4.5)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    named = len(curves.classes) <= _NAMED
    lines = [
        (literal(name) if named else None, curve, color, 1.4 if named else 0.7)
        for (name, curve), color in zip(curves.classes.items(), _colors(len(curves.classes)))
    ]
    if len(lines) != 1:
        lines.append(("all together", curves.together, "black", 2.5))
    for name, curve, color, width in lines:
        best = curve.best_threshold()
        text = f"{name} {best.f1:.3f} (conf {best.confidence:.2f})" if name and best is not None else None
        for axes, values in zip(panels, (curve.precision, curve.recall, curve.f1)):
            axes.plot(curve.confidence, values, color=color, linewidth=width, label=text)
        if best is not None:
            for axes, value in zip(panels, (best.precision, best.recall, best.f1)):
                axes.plot([best.confidence], [value], "o", color=color, markersize=4)
    for axes, title in zip(panels, ("precision", "recall", "F1")):
        axes.set(title=title, xlabel="confidence", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    if panels[-1].get_legend_handles_labels()[0]:
        _legend_beside(panels[-1], "best F1\n(its confidence)")
    figure.suptitle(f"over the confidence, IoU {curves.iou:g}")
    return save_figure(figure, path)


def reliability(calibration: Calibration, path: str | Path) -> Path:
    """Draw the share of true positives over the confidence, of all, by size and by class, above the counts.

    Below the diagonal confidences promise too much. Legends give the expected calibration error (ECE), of few classes.
    """
    named = len(calibration.classes) <= _NAMED
    groups: list[tuple[str, dict[str, Reliability]]] = [
        ("all detections", {"all": calibration.overall}),
        ("by size", calibration.sizes),
        ("by class", calibration.classes),
    ]
    groups = [(title, some) for title, some in groups if some]
    figure = blank_figure(4.3 * len(groups) + 0.4, 5.8)
    panels = figure.subplots(2, len(groups), sharex=True, sharey="row", height_ratios=(3, 1), squeeze=False)
    for (title, some), above, below in zip(groups, *panels):
        above.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
        for (name, one), color in zip(some.items(), _colors(len(some))):
            seen = one.count > 0
            # More names than a few would lie over the curves.
            text = None if one.ece is None or len(some) > _BESIDE else f"{literal(name)} {one.ece:.3f}"
            style = {"color": color, "linewidth": 1.4 if named else 0.7}
            above.plot(one.confidence[seen], one.precision[seen], "o-", markersize=3, label=text, **style)
            below.stairs(one.count, one.edges, **style)
        above.set(title=title, xlim=(0, 1), ylim=(-0.02, 1.02))
        above.grid(alpha=0.3)
        if above.get_legend_handles_labels()[0]:
            above.legend(loc="best", frameon=False, fontsize="small", title="ECE")
        below.set(xlabel="confidence", yscale="symlog", ylim=(0, None))
        below.grid(alpha=0.3)
    panels[0, 0].set_ylabel("share of true positives")
    panels[1, 0].set_ylabel("detections")
    least = f", score {calibration.conf:g} or more" if calibration.conf else ""
    figure.suptitle(f"calibration at IoU {calibration.iou:g}{least}")
    return save_figure(figure, path)


def size_curve(curve: SizeCurve, path: str | Path) -> Path:
    """Draw AP and recall over the side of the objects with their intervals, above the counts of objects."""
    figure = blank_figure(8, 5.8)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    overlap = "" if curve.iou is None else f" at IoU {curve.iou:g}"
    texts = (f"AP{overlap}", f"recall at IoU {curve.recall_iou:g}, confidence of the best F1")
    for values, text, color in zip((curve.ap, curve.recall), texts, ("C0", "C1")):
        low, value, high = (_numbers(values, name) for name in ("low", "value", "high"))
        above.plot(curve.middles, value, "o-", color=color, markersize=4, label=text)
        above.fill_between(curve.middles, low, high, color=color, alpha=0.2, linewidth=0)
    above.set(ylim=(0, 1.02), ylabel="AP, recall", title=f"{curve.protocol.name}, {curve.images} images")
    above.legend(loc="best", frameon=False, fontsize="small", title=f"bands: {100 * curve.level:g} % over images")
    first = max(curve.edges[0], curve.edges[1] / 2)
    left = np.array([first, *curve.edges[1:-1]])
    below.bar(left, curve.objects, curve.edges[1:] - left, align="edge", color="0.6", edgecolor="white")
    below.set(ylabel="objects", xlabel="side of the object (root of its area) in pixels", xscale="log")
    ticks = [*left[not curve.edges[0] :], curve.edges[-1]]
    below.set_xticks(ticks, [f"{side:.3g}" for side in ticks], fontsize="small", rotation=45)
    below.minorticks_off()
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return save_figure(figure, path)


def comparison(compared: Comparison, path: str | Path) -> Path:
    """Draw the differences by row and class with their intervals, beside the objects that each set finds."""
    first, second = map(literal, compared.names)
    rows = [(label, one) for label, one in compared.values.items() if one.value is not None]
    if len(compared.per_class) > 1:
        classes = [(literal(name), one[compared.headline]) for name, one in compared.per_class.items()]
        classes = sorted((one for one in classes if one[1].value is not None), key=lambda one: -abs(one[1].value or 0))
        shown = {name for name, _ in classes[:_COMPARED]}
        rows += [(f"{compared.headline} {name}", one) for name, one in classes if name in shown]
    figure = blank_figure(12, max(4.0, 0.28 * len(rows) + 1.6))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _differences(left, rows, (first, second))
    title = f"differences, {100 * compared.level:g} % intervals over {compared.images} images"
    left.set(xlabel=f"{second} - {first} in points", title=title)
    bottom = np.zeros(len(compared.found))
    parts = {"both": "0.55", f"only {first}": "C3", f"only {second}": "C0", "none": "0.9"}
    counts = np.array([[one.both, one.only_a, one.only_b, one.none] for one in compared.found.values()], float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for k, (text, color) in enumerate(parts.items()):
        right.barh(range(len(share)), 100 * share[:, k], left=100 * bottom, color=color, label=text)
        bottom += share[:, k]
    right.set_yticks(range(len(share)), [f"{label}\n{int(n)}" for label, n in zip(compared.found, counts.sum(axis=1))])
    right.invert_yaxis()
    right.set(xlim=(0, 100), xlabel="objects in %", title=f"found at IoU {compared.iou:g}, confidence of the best F1")
    figure.legend(
        *right.get_legend_handles_labels(), loc="outside lower right", ncols=4, frameon=False, fontsize="small"
    )
    figure.suptitle("\n".join(textwrap.wrap(literal(compared.verdict), 100)))
    return save_figure(figure, path)


def _differences(axes: Any, rows: list[tuple[str, Difference]], names: tuple[str, str]) -> None:
    """A line of each row's interval with its value; colored where one side is shown to be better."""
    axes.axvline(0, color="black", linewidth=0.8)
    seen = set()
    for place, (_, one) in enumerate(rows):
        color = {None: "0.55", 0: "C3", 1: "C0"}[one.winner]
        text = {None: "no difference shown", 0: f"{names[0]} is better", 1: f"{names[1]} is better"}[one.winner]
        low, value, high = (100 * (number or 0.0) for number in (one.low, one.value, one.high))
        axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot([value], [place], "o", color=color, markersize=5, label=None if text in seen else text)
        seen.add(text)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize="small")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(loc="best", frameon=False, fontsize="small")


def _numbers(values: tuple[Interval, ...], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if (number := getattr(one, name)) is None else number for one in values])


def _legend_beside(axes: Any, title: str) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize="small", title=title)


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    if count > _NAMED:
        return ["0.6"] * count
    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [table(k) for k in range(count)]
