"""Pictures of a data set's numbers, over all measured splits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from finespot.data.stats.advice.network import MAX_DET
from finespot.data.stats.columns import Floats
from finespot.data.stats.grid import PATCHES
from finespot.data.stats.measure import Statistics
from finespot.data.stats.summary import AI_TOD, Summary
from finespot.writers.figures import blank_figure, literal, save_figure

# Numbers in the cells of larger matrices, and bars of more classes, would be too small to read.
_WRITTEN, _BARS = 25, 60
# A bar of so many pictures hides the short ones unless the axis is logarithmic.
_LOG_FROM = 50
# Objects in a cell of the map of positions, on average, and the most cells along a side.
_IN_CELL, _MOST_CELLS = 20, 64


def draw(statistics: Statistics, folder: Path) -> list[Path]:
    """Draw all pictures that there are numbers for into `folder`; returns the files."""
    drawn = {"patches.png": _patches(statistics.whole), "objects_per_picture.png": _per_picture(statistics.whole)}
    if statistics.whole.total:
        drawn |= {
            "sides.png": _sides(statistics),
            "classes.png": _classes(statistics),
            "positions.png": _positions(statistics.whole),
        }
        if len(statistics.classes) > 1:
            drawn["classes_together.png"] = _together(statistics)
    return [save_figure(figure, folder / name) for name, figure in sorted(drawn.items())]


def _sides(statistics: Statistics) -> Any:
    """Histograms of the side in the pictures and at the network, on one logarithmic axis, with AI-TOD's ranges."""
    whole = statistics.whole
    both = (whole.source, whole.network)
    low = min(1.5, *(one.side.min() for one in both))
    high = max(100.0, *(one.side.max() for one in both))
    figure = blank_figure(9, 6.5)
    axes = figure.subplots(2, 1, sharex=True)
    names = ("in the pictures", f"at the network (long side {statistics.imgsz} px)")
    for place, sides, name, color in zip(axes, both, names, ("C0", "C1")):
        counts, _, _ = place.hist(sides.side, bins=np.geomspace(low, high, 60), color=color)
        middle = float(np.median(sides.side))
        place.axvline(middle, ymax=0.8, color="black", linewidth=1.5)
        place.set(xscale="log", xlim=(low, high), ylim=(0, 1.25 * counts.max()), ylabel="objects")
        place.set_title(f"side sqrt(width x height) {name}: median {middle:.1f} px", fontsize="medium")
        _name_ranges(place, sides.ai_tod.sum(axis=0) / len(sides.side), low, high)
    axes[1].set_xlabel("pixels")
    ticks = [2.0**power for power in range(-3, 14) if low <= 2.0**power <= high]
    axes[1].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[1].minorticks_off()
    return figure


def _name_ranges(axes: Any, shares: Floats, low: float, high: float) -> None:
    """AI-TOD's ranges as dotted lines, each with its name and its share of the objects below the upper edge."""
    for edge in AI_TOD.edges:
        axes.axvline(edge, color="0.5", linewidth=0.8, linestyle=":")
    for name, share, (first, end) in zip(AI_TOD.names, shares, pairwise((low, *AI_TOD.edges, high))):
        if share > 0:
            axes.text(
                np.sqrt(first * end),
                0.96,
                f"{name}\n{share:.1%}",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize="small",
            )


def _per_picture(whole: Summary) -> Any:
    counts = whole.columns.counts
    figure = blank_figure(8, 4)
    axes = figure.add_subplot()
    most = int(counts.max())
    step = max(1, -(-(most + 1) // 80))
    bins = np.arange(0, most + 2 * step, step) - 0.5
    log = np.histogram(counts, bins)[0].max() > _LOG_FROM
    axes.hist(counts, bins=bins, color="C0", log=log)
    spread = whole.per_picture
    for value, name, color in (
        (spread.mean, "mean", "C1"),
        (spread.at(50), "median", "C2"),
        (spread.at(99.9), "99.9 %", "C3"),
    ):
        axes.axvline(value, color=color, linewidth=1.5, label=f"{name} {value:.1f}")
    if most > MAX_DET:
        axes.axvline(MAX_DET, color="black", linestyle="--", label=f"default limit {MAX_DET}")
    axes.set(
        xlabel="objects in a picture",
        ylabel="pictures",
        title=f"{whole.pictures} pictures, {whole.empty} without objects",
    )
    axes.legend(frameon=False)
    return figure


def _classes(statistics: Statistics) -> Any:
    """Bars of the most frequent classes, a color a split."""
    order = np.argsort(-statistics.whole.objects, kind="stable")[:_BARS]
    splits = statistics.splits
    figure = blank_figure(8, max(2.5, 0.28 * len(order) * max(1.0, 0.7 * len(splits)) + 1.2))
    axes = figure.add_subplot()
    height = 0.8 / len(splits)
    for number, (split, summary) in enumerate(splits.items()):
        counts = summary.objects[order]
        places = np.arange(len(order)) + (number - (len(splits) - 1) / 2) * height
        bars = axes.barh(places, counts, height=height, label=literal(split), color=f"C{number}")
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3, fontsize="small")
    axes.set_yticks(np.arange(len(order)), [literal(statistics.classes[int(k)]) for k in order])
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    rest = len(statistics.classes) - len(order)
    axes.set(xlabel="objects", title="objects by class" + (f", without the {rest} rarest" if rest else ""))
    if len(splits) > 1:
        axes.legend(frameon=False, loc="lower right")
    return figure


def _together(statistics: Statistics) -> Any:
    """Which classes share pictures: color is the share of the row's pictures, numbers are pictures."""
    shown = np.sort(np.argsort(-statistics.whole.objects, kind="stable")[:_BARS])
    together = statistics.whole.together[np.ix_(shown, shown)]
    share = together / np.maximum(np.diagonal(together)[:, None], 1)
    names = [literal(statistics.classes[int(k)]) for k in shown]
    side = max(4.0, 0.6 * len(names) + 2) if len(names) <= _WRITTEN else 0.22 * len(names) + 4
    figure = blank_figure(side + 1.5, side)
    axes = figure.add_subplot()
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axes, label="share of the pictures with the row's class", shrink=0.8)
    axes.set_xticks(
        range(len(names)), names, rotation=60 if len(names) <= _WRITTEN else 90, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(names)), names)
    rest = len(statistics.classes) - len(shown)
    axes.set(title="pictures that hold both classes" + (f", without the {rest} rarest" if rest else ""))
    if len(names) <= _WRITTEN:
        for (row, column), count in np.ndenumerate(together):
            color = "white" if share[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize="small")
    return figure


def _positions(whole: Summary) -> Any:
    """Where in their pictures the objects' centers lie."""
    boxes, size = whole.columns.boxes, whole.columns.sizes[whole.columns.picture]
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 / size[:, 1], (boxes[:, 1] + boxes[:, 3]) / 2 / size[:, 0]
    cells = int(np.clip(np.sqrt(whole.total / _IN_CELL), 8, _MOST_CELLS))
    counts, _, _ = np.histogram2d(y, x, bins=cells, range=((0, 1), (0, 1)))
    height, width = whole.sizes[0][0]
    figure = blank_figure(7, 7 * min(max(height / width, 0.4), 1.6) + 0.6)
    axes = figure.add_subplot()
    drawn = axes.imshow(counts, cmap="magma", extent=(0, 100, 100, 0), aspect=height / width)
    figure.colorbar(drawn, ax=axes, label="objects", shrink=0.8)
    axes.set(xlabel="% of the width", ylabel="% of the height", title="centers of the objects in their pictures")
    return figure


def _patches(whole: Summary) -> Any:
    """Which of the 8 x 8 patches are empty, and how empty pictures are."""
    figure = blank_figure(10.5, 4.2)
    left, right = figure.subplots(1, 2)
    height, width = whole.sizes[0][0]
    drawn = left.imshow(whole.patches.position, cmap="viridis", vmin=0, vmax=1, aspect=height / width)
    for (row, column), share in np.ndenumerate(whole.patches.position):
        color = "black" if share > 0.6 else "white"
        left.text(column, row, f"{share:.0%}", ha="center", va="center", color=color, fontsize="x-small")
    figure.colorbar(drawn, ax=left, shrink=0.8)
    left.set(xticks=[], yticks=[])
    left.set_title("share of pictures whose patch no object reaches into", fontsize="medium")
    untouched, centers = whole.patches.untouched, whole.patches.without_center
    edges = (np.arange(PATCHES**2 // 2 + 2) * 2 - 1) / PATCHES**2 * 100
    right.hist(centers * 100, bins=edges, color="C0", alpha=0.6, label=f"no center: mean {centers.mean():.1%}")
    right.hist(untouched * 100, bins=edges, color="C1", alpha=0.6, label=f"untouched: mean {untouched.mean():.1%}")
    right.set(xlabel="% of the 8 x 8 patches of a picture that are empty", ylabel="pictures", xlim=(0, 101))
    right.legend(frameon=False, loc="upper left")
    return figure
