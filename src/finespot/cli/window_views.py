"""What `--view-windows` adds to a prediction: drawings of the tiles that were chosen, or of where a network on windows
looked, and what that saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finespot.cli import options

if TYPE_CHECKING:
    from finespot.inference import Outcome, TileCosts, TileView, WindowView
    from finespot.runtimes import Session
    from finespot.writers import Looked


# What of the rule may be said anew in a run; how windows lie belongs to the weights.
CHOICES = ("threshold", "budget", "dense_above", "select", "cells", "cell_threshold")


Choices = Annotated[
    str | None,
    typer.Option(
        "--windows",
        help="of a network on windows: threshold=0.3,budget=8,dense_above=0.7,select=all,cells=seeker",
        rich_help_panel=options.RUN,
    ),
]


def choose_windows(session: Session, text: str | None, *, labelled: bool = False) -> None:
    """Change how the network of a session chooses its windows, as `threshold=0.3,budget=8` says (None: as it does);
    where pictures are `labelled`, an oracle may. All windows run as windows unless a `dense_above` is said too.

    Raises
    ------
    FineSpotError
        The network does not choose windows, there is no such choice, or a value is out of range.
    """
    from finespot.errors import FineSpotError, unknown
    from finespot.registry import parse_call
    from finespot.zoo import WindowedDetector

    if text is None:
        return
    network = session.network
    if not isinstance(network, WindowedDetector):
        raise FineSpotError("this network does not choose windows", where="windows", hint="such as esod-yolov5m does")
    try:
        _, given = parse_call(f"windows({text})")
    except FineSpotError as error:
        raise FineSpotError(
            f"expected choices as key=value but got '{text}'", where="windows", hint="such as threshold=0.3,budget=8"
        ) from error
    for key in given:
        if key not in CHOICES:
            raise unknown("choice of windows", key, CHOICES)
    if given.get("select") == "all":
        # With their halos all windows exceed what the weights store as a rule, and the whole map would run.
        given.setdefault("dense_above", None)
    rule = replace(network.windows, **given)
    for key in ("threshold", "budget"):
        # Weights may store another choice than a seeker's.
        if key in given and rule.select != "seeker":
            raise FineSpotError(f"has no effect with select={rule.select}", where=f"windows, {key}")
    if "cell_threshold" in given and rule.cells != "seeker":
        raise FineSpotError(f"has no effect with cells={rule.cells}", where="windows, cell_threshold")
    if "oracle" in (rule.select, rule.cells) and not labelled:
        raise FineSpotError("an oracle needs the truth, and pictures have none", where="windows")
    network.windows = rule


class WindowViews:
    """The view of the picture that is being written, and the sums over all pictures before it."""

    def __init__(self) -> None:
        self._current: WindowView | None = None
        self._pictures = 0
        self._sums: Counter[str] = Counter()
        # Of the first batch, and of the others.
        self._first: list[dict[str, float]] = []
        self._times: list[dict[str, float]] = []

    def watched(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """The same outcomes, each noted before it is handed on."""
        from finespot.inference import WindowView

        for outcome in outcomes:
            if isinstance(outcome.view, WindowView):
                self.note(outcome.view)
            yield outcome

    def look(self) -> Looked:
        """What is to be drawn of the current picture."""
        from finespot.inference import enlarged
        from finespot.writers import Looked

        view = self._current
        assert view is not None
        return Looked(enlarged(view.heat, view.size), view.windows, self.figures())

    def figures(self) -> dict[str, Any]:
        """What is to be written of the current picture."""
        view = self._current
        assert view is not None
        saved = view.savings
        return {
            "windows": saved.windows,
            "possible": saved.possible,
            "dense": saved.dense,
            "occupancy": round(saved.occupancy, 4),
            "covered": round(saved.covered, 4),
            "gflops": round(saved.gflops, 4),
            "gflops_saved": round(saved.saved, 4),
            "ms": {name: round(value, 3) for name, value in view.milliseconds.items()},
        }

    def means(self) -> dict[str, float]:
        """Windows, those possible, occupancy, GFLOPs spent and saved: means over the pictures."""
        return {name: value / self._pictures for name, value in self._sums.items()}

    def times(self) -> dict[str, dict[str, float]]:
        """Of each part of the network the median of its milliseconds a picture, and what 95 % do not exceed.

        The first batch, which also sets the network up, counts only where there is no other.
        """
        import numpy as np

        taken = self._times or self._first
        names = dict.fromkeys(name for one in taken for name in one)
        found = {name: [one.get(name, 0.0) for one in taken] for name in names}
        return {
            name: {"median": float(np.median(values)), "95 %": float(np.percentile(values, 95))}
            for name, values in found.items()
        }

    def summary(self) -> list[str]:
        """The means in a line, and the times in another."""
        count = self._pictures
        if not count:
            return []
        mean = self.means()
        spent, whole = mean["gflops"], mean["gflops"] + mean["saved"]
        times = ", ".join(f"{name} {one['median']:.1f} ({one['95 %']:.1f})" for name, one in self.times().items())
        where = f"{mean['windows']:.1f} of {mean['possible']:.1f} in a picture"
        return [
            f"windows: {where}, occupancy {mean['occupancy']:.2f}; "
            f"{spent:.2f} GFLOPs where the dense network takes {whole:.2f} ({_told(mean['saved'] / whole)})",
            f"ms of the network, for each picture (95 % take no longer): {times}",
        ]

    def note(self, view: WindowView) -> None:
        """Count a picture's view; it is the current one then."""
        self._current = view
        self._pictures += 1
        for name in ("windows", "possible", "occupancy", "gflops", "saved"):
            self._sums[name] += getattr(view.savings, name)
        (self._first if view.first else self._times).append(dict(view.milliseconds))


class TileViews:
    """The tiles that were chosen of the picture that is being written, and the sums over those that were written. The
    run itself says how many were skipped.
    """

    def __init__(self, costs: Callable[[], TileCosts | None]) -> None:
        self._current: TileView | None = None
        self._find = cache(costs)
        self._written = 0
        self._spent = self._saved = 0.0

    def watched(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """The same outcomes, each noted before it is handed on."""
        from finespot.inference import TileView

        for outcome in outcomes:
            if isinstance(outcome.view, TileView):
                self._current = outcome.view
            yield outcome

    def look(self) -> Looked:
        """What is to be drawn of the current picture."""
        import numpy as np

        from finespot.inference import enlarged
        from finespot.writers import Looked

        view = self._current
        assert view is not None
        heat = np.zeros(view.size, np.float32) if view.heat is None else enlarged(view.heat, view.size)
        return Looked(heat, view.windows, self.figures())

    def figures(self) -> dict[str, Any]:
        """What is to be written of the current picture, once: it enters the sums."""
        view, costs = self._current, self._find()
        assert view is not None
        figures: dict[str, Any] = {
            "windows": len(view.windows),
            "worth": round(view.worth, 3),
            "possible": view.possible,
            "uniform": view.full,
            "limited": view.limited,
            "ms": {"seeker": round(view.seeker_ms, 3), "window": round(view.window_ms, 3)},
            "ms_saved": round(view.saved_ms, 3),
        }
        if costs is not None:
            spent, saved = costs.of(view)
            figures |= {"gflops": round(spent, 4), "gflops_saved": round(saved, 4)}
            self._written, self._spent, self._saved = self._written + 1, self._spent + spent, self._saved + saved
        return figures

    def summary(self) -> list[str]:
        """What that cost, in a line, where figures of the tiles were written."""
        costs = self._find() if self._written else None
        return [] if costs is None else [costs.line(self._spent, self._saved, self._written)]


def _told(saved: float) -> str:
    """A share that was saved, in words; where all fires, the seeker comes on top of the dense network."""
    percent = round(100 * saved)
    if percent == 0:
        return "as much"
    return f"{percent} % saved" if percent > 0 else f"{-percent} % more"
