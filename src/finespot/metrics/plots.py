"""Pictures of a report: precision over recall by class, and the confusion matrix.

The file's suffix chooses the format (png, svg, pdf).
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.report import Report
from finespot.structures import Classes
from finespot.writers.figures import blank_figure, literal, save_figure

# More classes than the color map tells apart are drawn thin and gray, without an entry in the legend.
_NAMED = 20
# Numbers in the cells of larger matrices would be too small to read.
_WRITTEN = 25


def pr_curves(report: Report, path: str | Path) -> Path:
    """Draw precision over recall of every class with objects, with their mean; returns the path.

    The legend gives the average precision at the curve's IoU and the confidence of the best F1, which a dot marks.
    """
    figure = blank_figure(9, 5.5)
    axes = figure.add_subplot()
    named = len(report.curves) <= _NAMED
    colors = _colors(len(report.curves))
    for (name, curve), color in zip(report.curves.items(), colors):
        average = curve.precision.mean()
        text = f"{literal(name)} {average:.3f} (conf {curve.confidence:.2f})" if named else None
        axes.plot(curve.recall, curve.precision, color=color, linewidth=1.4 if named else 0.7, label=text)
        axes.plot([curve.best_recall], [curve.best_precision], "o", color=color, markersize=4)
    if report.curves:
        curves = list(report.curves.values())
        mean = np.mean([curve.precision for curve in curves], axis=0)
        if len(curves) > 1:
            axes.plot(curves[0].recall, mean, color="black", linewidth=2.5, label=f"mean {mean.mean():.3f}")
        title = f"{report.protocol.name}, IoU {curves[0].iou:g}, {report.images} images"
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            frameon=False,
            fontsize="small",
            title="average precision\n(confidence of the best F1)",
        )
    else:
        title = f"{report.protocol.name}: no objects"
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    return save_figure(figure, path)


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


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    if count > _NAMED:
        return ["0.6"] * count
    table = colormaps["tab10" if count <= 10 else "tab20"]
    return [table(k) for k in range(count)]
