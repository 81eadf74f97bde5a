"""Curves of a run from its `metrics.csv`: losses, scores, learning rates and augmentation over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from finespot.training.metrics_csv import Row
from finespot.writers.figures import blank_figure, literal, save_figure

# The columns that are drawn as scores: average precisions, and what a seeker leaves to a detector.
SCORES = ("val/AP", "val/hot")


def plot_run(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw losses.png, scores.png (where there was validation), learning_rate.png and, where it changed,
    augmentation.png; lines stand where a stage begins. Returns the files.
    """
    if not rows:
        return []
    losses = [name for name in rows[0] if name.startswith("train/")]
    measured = dict.fromkeys(name for row in rows for name in row if name.startswith(SCORES))
    scores = [name for name in measured if any(isinstance(row.get(name), (int, float)) for row in rows)]
    rates = [name for name in rows[0] if name.startswith("lr/")]
    drawn = []
    for names, title, file, apart in (
        (losses, "training loss", "losses.png", True),
        (scores, "score on the validation split", "scores.png", False),
        (rates, "learning rate by parameter group", "learning_rate.png", False),
    ):
        if names:
            drawn.append(_curves(rows, names, title, folder / file, apart))
    shares, changing = changing_augmentation(rows)
    if changing:
        title = "augmentation that changed, as a share of its largest value"
        drawn.append(_curves(shares, changing, title, folder / "augmentation.png", False))
    return drawn


def changing_augmentation(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with each augmentation that changed as a share of its largest value, and the columns of these: keys of
    one curve share one, and each stands with that value.
    """
    curves: dict[tuple[float, ...], list[str]] = {}
    for name in (name for name in rows[0] if name.startswith("augment/")):
        values = [row.get(name, 0) for row in rows]
        if len(set(values)) > 1:
            most = max(values)
            shares = tuple(round(value / most, 6) for value in values)
            curves.setdefault(shares, []).append(f"{name.partition('/')[2]} {most:g}")
    columns = {f"augment/{', '.join(names)}": shares for shares, names in curves.items()}
    return [
        {**row, **{name: shares[number] for name, shares in columns.items()}} for number, row in enumerate(rows)
    ], list(columns)


def _curves(rows: Sequence[Row], names: Sequence[str], title: str, path: Path, apart: bool) -> Path:
    """One diagram of all curves, or (`apart`, for curves of different size) one each."""
    panels = len(names) if apart else 1
    figure = blank_figure(max(8.0, 3.2 * panels), 4.0)
    figure.suptitle(title)
    axes: Any = figure.subplots(1, panels, squeeze=False)[0]
    for number, name in enumerate(names):
        points = [(row["epoch"], row[name]) for row in rows if isinstance(row.get(name), (int, float))]
        label, marker = literal(name.partition("/")[2]), "." if len(points) < 20 else None
        axes[number % panels].plot(*zip(*points), color=f"C{number}", label=label, linewidth=1.5, marker=marker)
    for one in axes:
        for epoch in edges(rows):
            one.axvline(epoch - 0.5, color="0.6", linewidth=0.8, linestyle="--")
        one.set(xlabel="epoch")
        one.xaxis.get_major_locator().set_params(integer=True)
        one.grid(alpha=0.3)
        one.legend(loc="best", frameon=False)
    return save_figure(figure, path, sync=False)


def edges(rows: Sequence[Row]) -> list[int]:
    """The epochs with which a stage after the first one begins."""
    return [after["epoch"] for before, after in pairwise(rows) if before.get("stage") != after.get("stage")]
