"""Curves of a run from its `metrics.csv`: losses, scores and learning rates over the epochs."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finespot.inference import Validation
from finespot.metrics import confusion_matrix
from finespot.structures import Classes
from finespot.training.metrics_csv import Row
from finespot.writers import write_atomic


def plot_run(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw losses.png, scores.png (where there was validation) and learning_rate.png; returns the files."""
    losses = [name for name in rows[0] if name.startswith("train/")] if rows else []
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("val/AP"))
    scores = [name for name in names if any(isinstance(row.get(name), (int, float)) for row in rows)]
    rates = [name for name in rows[0] if name.startswith("lr/")] if rows else []
    drawn = []
    for names, title, file in (
        (losses, "training loss", "losses.png"),
        (scores, "score on the validation split", "scores.png"),
        (rates, "learning rate by parameter group", "learning_rate.png"),
    ):
        if names:
            drawn.append(_curves(rows, names, title, folder / file, zero=file != "learning_rate.png"))
    return drawn


def draw_report(validation: Validation, classes: Classes, folder: Path, conf: float) -> list[Path]:
    """Draw pr_curves.png and confusion.png (detections of score `conf` or more) of a validation."""
    from finespot.metrics.plots import confusion, pr_curves

    matrix = confusion_matrix(validation.truth, validation.results, conf=conf)
    pr_curves(validation.report, folder / "pr_curves.png")
    confusion(matrix, classes, folder / "confusion.png")
    return [folder / "pr_curves.png", folder / "confusion.png"]


def _curves(rows: Sequence[Row], names: Sequence[str], title: str, path: Path, zero: bool) -> Path:
    # The Figure API draws without a window system and without pyplot's global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    for name in names:
        points = [(row["epoch"], row[name]) for row in rows if isinstance(row.get(name), (int, float))]
        axes.plot(*zip(*points), label=name.partition("/")[2], linewidth=1.5, marker="." if len(points) < 20 else None)
    axes.set(xlabel="epoch", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if zero:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", frameon=False)
    return save_png(figure.savefig, path)


def save_png(savefig: Callable[..., Any], path: Path) -> Path:
    """Write a figure in one step."""
    stream = io.BytesIO()
    savefig(stream, format="png", dpi=120)
    return write_atomic(path, stream.getvalue(), sync=False)
