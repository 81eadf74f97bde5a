"""A study as a picture: AP against what it costs, and the differences to the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finespot.studies.results import Line, Results
from finespot.writers.figures import blank_figure, literal, save_figure

# Height of a name beside a point, and the width of its letters, in points.
_LABEL, _LETTER = 9.5, 5.5


def draw(results: Results, path: Path) -> Path | None:
    """Draw rows that have a score, with the range over seeds as bars; None where there is no such row."""
    lines = [line for line in results.lines if line.scores[results.main] is not None]
    if not lines:
        return None
    figure = blank_figure(11.0, max(4.0, 1.5 + 0.4 * len(lines)))
    figure.suptitle(literal(results.study.title))
    left, right = figure.subplots(1, 2)
    _costs(left, results, lines)
    _differences(right, results, [line for line in lines if line.row.name != results.study.baseline])
    return save_figure(figure, path)


def _costs(axes: Any, results: Results, lines: list[Line]) -> None:
    groups = list(dict.fromkeys(line.row.group for line in lines))
    for number, group in enumerate(groups):
        if group:
            axes.plot([], [], "o", color=f"C{number}", label=literal(group))
    for line in lines:
        score = line.scores[results.main]
        assert score is not None
        x, y, color = line.cost.gflops_fused, 100 * score.mean, f"C{groups.index(line.row.group)}"
        bars = [[100 * (score.mean - score.low)], [100 * (score.high - score.mean)]]
        axes.errorbar([x], [y], yerr=bars, fmt="o", color=color, capsize=3)
    axes.set(xlabel="GFLOPs (fused)", ylabel=f"{results.main}, percent", title=f"{results.main} against operations")
    axes.margins(x=0.3, y=0.15)
    axes.grid(alpha=0.3)
    _name_points(axes, results, lines)
    if any(groups):
        axes.legend(frameon=False)


def _name_points(axes: Any, results: Results, lines: list[Line]) -> None:
    """Names beside their points, upwards so that none stands on another: rows may cost the same and score alike."""
    in_points = 72 / axes.figure.dpi
    axes.get_ylim()  # settles where the points are
    points = []
    for line in lines:
        score = line.scores[results.main]
        assert score is not None
        point = (line.cost.gflops_fused, 100 * score.mean)
        left, height = (float(one) for one in axes.transData.transform(point) * in_points)
        points.append((height, left, literal(line.row.name), point))
    taken: list[tuple[float, float, float]] = []
    for height, left, name, point in sorted(points):
        right, lowest = left + _LETTER * len(name), height + 4
        for begin, end, other in sorted(taken, key=lambda place: place[2]):
            if begin < right and left < end and abs(lowest - other) < _LABEL:
                lowest = other + _LABEL
        taken.append((left, right, lowest))
        axes.annotate(name, point, xytext=(5, lowest - height), textcoords="offset points", fontsize=8)


def _differences(axes: Any, results: Results, lines: list[Line]) -> None:
    baseline = literal(results.study.baseline)
    axes.set(xlabel=f"{results.main}, percentage points", title=f"difference to {baseline.strip()}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.grid(alpha=0.3, axis="x")
    names = []
    for place, line in enumerate(reversed(lines)):
        names.append(literal(line.row.name))
        difference = line.differences.get(results.main)
        if difference is not None:
            found = difference.spread
            bars = [[100 * (found.mean - found.low)], [100 * (found.high - found.mean)]]
            axes.barh([place], [100 * found.mean], xerr=bars, color="C0" if found.mean >= 0 else "C3", capsize=3)
        claimed = results.claimed_difference(line)
        if claimed is not None:
            label = None if axes.get_legend_handles_labels()[0] else "claimed"
            axes.plot([claimed], [place], "D", color="black", markerfacecolor="white", label=label)
    axes.set_yticks(range(len(names)), names)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
