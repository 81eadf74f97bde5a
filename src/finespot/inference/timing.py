"""Where the time goes: wall and CPU seconds of each stage of the pipeline.

Decoding and preparing run in a thread of their own beside the network, which may run on several batches at once, so
the stages' wall times add up to more than the total; `waiting` is how long the network stood still for want of a
picture.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType

STAGES = ("decode", "prepare", "model", "postprocess")


@dataclass
class _Open:
    """How many threads are in a stage, and since when there is one."""

    threads: int = 0
    since: float = 0.0


@dataclass
class Timing:
    """Sums over a run. `wall` and `cpu` hold seconds by stage (`decode`, `prepare`, `model`, `postprocess`).

    `wall` is how long a stage was at work, in one thread or in several at once. `waiting` and `total` are wall seconds;
    `total` is the run from its first to its last picture, without the time that the caller took between two of them.
    CPU seconds of `model` count all its threads, those of the other stages the threads that they run in.
    """

    wall: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    cpu: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    waiting: float = 0.0
    total: float = 0.0
    pictures: int = 0
    windows: int = 0
    _open: dict[str, _Open] = field(default_factory=lambda: defaultdict(_Open), init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def stage(self, name: str, clock: Callable[[], float] = time.thread_time) -> _Stage:
        """A context that adds what happens inside to a stage; `clock` gives the CPU time that counts for it.

        Several threads may be in one at the same time.
        """
        return _Stage(self, name, clock)

    def idle(self, name: str) -> float:
        """A clock that stands while a stage is at work, in seconds."""
        with self._lock:
            now, here = time.perf_counter(), self._open[name]
            return now - self.wall[name] - (now - here.since if here.threads else 0.0)

    def per_picture(self, cpu: bool = False) -> dict[str, float]:
        """Milliseconds a picture by stage, wall or CPU."""
        seconds = self.cpu if cpu else self.wall
        return {name: 1000 * value / max(1, self.pictures) for name, value in seconds.items()}

    @property
    def rate(self) -> float:
        """Pictures a second of wall time."""
        return self.pictures / self.total if self.total > 0 else 0.0

    def summary(self) -> str:
        """One line: milliseconds a picture by stage, and the rate."""
        parts = ", ".join(f"{name} {value:.1f}" for name, value in self.per_picture().items())
        waited = 100 * self.waiting / self.total if self.total > 0 else 0.0
        return f"{parts} ms a picture; {self.rate:.1f} pictures/s; {waited:.0f} % waiting for pictures"


class _Stage:
    """Adds the wall and CPU time between enter and exit to a `Timing`."""

    __slots__ = ("_clock", "_cpu", "_name", "_timing")

    def __init__(self, timing: Timing, name: str, clock: Callable[[], float]) -> None:
        self._timing, self._name, self._clock = timing, name, clock

    def __enter__(self) -> None:
        timing = self._timing
        with timing._lock:
            here = timing._open[self._name]
            if not here.threads:
                here.since = time.perf_counter()
            here.threads += 1
        self._cpu = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu, timing = self._clock() - self._cpu, self._timing
        with timing._lock:
            here = timing._open[self._name]
            here.threads -= 1
            timing.cpu[self._name] += cpu
            if not here.threads:
                timing.wall[self._name] += time.perf_counter() - here.since
