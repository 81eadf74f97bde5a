"""The picture of an error analysis: what each kind costs, and how many of each there are at which object size.

The file's suffix chooses the format (png, svg, pdf).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from finespot.metrics.tide import ErrorAnalysis
from finespot.metrics.tide_errors import KINDS
from finespot.writers.figures import blank_figure, save_figure

# Okabe and Ito's colors, which the color-blind can tell apart; of one kind the same in both parts.
_COLORS = dict(zip(KINDS, ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#999999", "#D55E00")))


def tide_bars(analysis: ErrorAnalysis, path: str | Path) -> Path:
    """Draw the gain in AP of mending each kind of error, and beside it counts by size where there are bins.

    Above the bars of a size stands the kind whose repair would gain most AP there, with the gain. Returns the path.
    """
    figure = blank_figure(11 if analysis.sizes else 6, 4)
    parts = figure.subplots(1, 2 if analysis.sizes else 1, squeeze=False)[0]
    _draw_gains(analysis, parts[0])
    if analysis.sizes:
        _draw_counts(analysis, parts[1])
    return save_figure(figure, path)


def _draw_gains(analysis: ErrorAnalysis, axes: Any) -> None:
    gains = {**analysis.dap, **analysis.special}
    names = list(gains)
    values = np.array([gain or 0.0 for gain in gains.values()])
    # The two that sum up all detections and all objects stand apart.
    places = np.arange(len(names)) + 0.5 * (np.arange(len(names)) >= len(KINDS))
    axes.barh(places, values, color=[_COLORS.get(name, "0.75") for name in names])
    for place, gain in zip(places, gains.values()):
        text = "-" if gain is None else f"{gain:.1f}"
        axes.text(max(gain or 0.0, 0.0), place, f" {text}", va="center", fontsize="small")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, float(values.min())), max(1.0, 1.15 * float(values.max())))
    score = "nothing to find" if analysis.ap is None else f"AP{100 * analysis.pos:.0f} is {analysis.ap:.1f}"
    axes.set(xlabel="AP gained if all of a kind were mended (percent)", title=f"{score}, {analysis.images} images")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _draw_counts(analysis: ErrorAnalysis, axes: Any) -> None:
    labels = [f"{one.label}\n{one.objects} objects" for one in analysis.sizes]
    top = np.zeros(len(labels))
    for name in KINDS:
        counts = np.array([one.counts[name] for one in analysis.sizes])
        axes.bar(labels, counts, bottom=top, color=_COLORS[name], label=name, width=0.7)
        top += counts
    for place, one in enumerate(analysis.sizes):
        gains = {name: gain for name, gain in one.dap.items() if gain}
        if gains:
            worst = max(gains, key=lambda name: gains[name])
            axes.text(place, top[place], f"{worst} +{gains[worst]:.1f}", ha="center", va="bottom", fontsize="small")
    axes.set_ylim(0, max(1.0, 1.1 * float(top.max())))
    axes.set(ylabel="errors", title="errors by size, and the costliest kind there")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
