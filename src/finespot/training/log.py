"""What a person sees of a run: notes, a live bar in a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Log:
    """Prints on the first process only; `quiet` prints nothing. A note of the same text is printed once."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._said: set[str] = set()

    @property
    def live(self) -> bool:
        """Whether a moving bar is of use."""
        return self.console.is_terminal and not self.console.quiet

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self._said:
            self._said.add(text)
            self.console.print(text, markup=False)

    @contextmanager
    def epoch(self, epoch: int, epochs: int, batches: int) -> Iterator[Bar]:
        """A bar over the batches of an epoch (counted from 0)."""
        with self._progress() as progress:
            yield Bar(progress, progress.add_task(f"epoch {epoch + 1}/{epochs}", total=batches, figures=""))

    @contextmanager
    def validation(self, pictures: int) -> Iterator[Callable[[int, int], None]]:
        """A bar over the pictures of a validation; the function that it gives takes (pictures done, all)."""
        with self._progress() as progress:
            task = progress.add_task("validation", total=pictures, figures="")
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.live,
        )

    def epoch_line(self, row: Mapping[str, Any], epochs: int, best: bool) -> None:
        """One line about a finished epoch."""
        losses = " ".join(f"{k[6:]} {v:.4g}" for k, v in row.items() if k.startswith("train/") and v is not None)
        scores = " ".join(
            f"{k[4:]} {v:.4f}"
            for k, v in row.items()
            if k in ("val/AP", "val/AP50", "val/AP_small", "val/hot") and v is not None
        )
        self.console.print(
            f"epoch {row['epoch']}/{epochs}  {losses}  {scores}{' (best)' if best else ''}  "
            f"{row['pictures_per_s']:.1f} pictures/s  {row['memory_mb']:.0f} MB",
            markup=False,
        )


class Bar:
    """Moves a bar; figures are asked for at most twice a second, because reading a loss waits for the device."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress, self._task = progress, task
        self._last = 0.0

    @property
    def due(self) -> bool:
        """Whether figures are wanted now."""
        return not self._progress.disable and time.monotonic() - self._last > 0.5

    def step(self, figures: str | None = None) -> None:
        """One batch further."""
        if figures is not None:
            self._last = time.monotonic()
            self._progress.update(self._task, figures=figures)
        self._progress.advance(self._task)
