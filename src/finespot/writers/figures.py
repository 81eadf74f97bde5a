"""Diagrams: made and written in one way by whatever draws numbers.

matplotlib is imported when a diagram is drawn, as objects without the state of pyplot, so that neither threads nor a
missing display matter.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from finespot.errors import FineSpotError
from finespot.writers.atomic import write_atomic

_DPI = 150


def blank_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches, whose parts keep clear of each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def literal(name: str) -> str:
    """A name from outside, in which matplotlib finds no formula and nothing to leave out of a legend."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def figure_png(figure: Any) -> bytes:
    """A figure as the PNG file that `save_figure` would write."""
    data = io.BytesIO()
    figure.savefig(data, dpi=_DPI, format="png")
    return data.getvalue()


def save_figure(figure: Any, path: str | Path, sync: bool = True) -> Path:
    """Write a figure in one step, in the format of the path's suffix (png, svg, pdf); returns the path.

    `sync` is that of `write_atomic`.

    Raises
    ------
    FineSpotError
        The format is unknown or the file cannot be written.
    """
    target, data = Path(path), io.BytesIO()
    try:
        figure.savefig(data, dpi=_DPI, format=target.suffix[1:] or "png")
    except ValueError as error:
        raise FineSpotError(f"cannot draw a picture of this kind ({error})", where=target) from error
    return write_atomic(target, data.getvalue(), sync)
