"""From how many windows on the whole map is quicker, as a machine has it: for `dense_above` of a network on windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from finespot.errors import FineSpotError
from finespot.inference.windows import windowed
from finespot.nn.windows import Grid
from finespot.runtimes import Session
from finespot.structures import Size
from finespot.weights import CHANNELS

# Windows that are timed, as shares of all of a picture.
_COUNTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# What runs on windows only, or on the whole map.
_BEHIND = ("gathering", "tail and head")


@dataclass(frozen=True)
class BreakEven:
    """What was timed on a picture of `size`, and where the two are equal.

    Attributes
    ----------
    occupancy:
        Area of windows, as a share of the map's, that takes as long as the whole map: `dense_above`.
    whole_ms:
        Milliseconds of the stages behind the cut on the whole map.
    windows_ms:
        (occupancy, milliseconds) on windows, for several numbers of them; all are medians.
    """

    size: Size
    occupancy: float
    whole_ms: float
    windows_ms: tuple[tuple[float, float], ...]


def several_windows(session: Session, size: Size) -> Grid:
    """The cores of a picture of `size` (height, width), padded to the stride; an error as of `find_break_even`."""
    network = windowed(session)
    height, width = (-(-side // session.stride) * session.stride for side in size)
    grid = network.windows.grid((height // network.cut, width // network.cut))
    if grid.cores < 2:
        raise FineSpotError(
            f"expected a picture of several windows but got {height} x {width}", where="dense", hint="take larger ones"
        )
    return grid


def find_break_even(
    session: Session, size: Size, rounds: int = 7, progress: Callable[[int, int], None] | None = None
) -> BreakEven:
    """Time a session's network on one noisy picture of `size` (height, width) in windows and as a whole, by turns.

    Parameters
    ----------
    rounds:
        How often each is timed, after one time that does not count.
    progress:
        Called with (rounds done, rounds in all).

    Raises
    ------
    FineSpotError
        The network does not choose windows, or the picture has fewer than two of them.
    """
    network = windowed(session)
    before, grid = network.windows, several_windows(session, size)
    height, width = (side * network.cut for side in grid.size)
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, CHANNELS), np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    counts = sorted({max(1, round(share * grid.cores)) for share in _COUNTS})
    times: dict[int, list[float]] = {count: [] for count in (0, *counts)}  # 0: the whole map
    try:
        for number in range(rounds + 1):
            for count, taken in times.items():
                # With a threshold of 0 all cores fire, and the budget says how many of them run. Which cells are likely
                # depends on the picture, and this one is noise, so all are computed.
                rule = replace(before, select="seeker", threshold=0.0, budget=count or None, cells="all")
                network.windows = replace(rule, dense_above=None if count else 0.0)
                network.laps = {}
                session.look(images)
                taken.append(1000 * sum(network.laps.get(name, 0.0) for name in _BEHIND))
            if progress is not None:
                progress(number + 1, rounds + 1)
    finally:
        network.windows, network.laps = before, None
    whole, *parts = (float(np.median(taken[1:])) for taken in times.values())
    occupancies = [count * grid.share for count in counts]
    slope, start = np.polyfit(occupancies, parts, 1)
    # Where more windows take no more time, the whole map is always quicker, or never within what a picture has.
    flat = 0.0 if whole < min(parts) else occupancies[-1]
    even = (whole - start) / slope if slope > 0 else flat
    return BreakEven((height, width), round(max(0.0, float(even)), 2), whole, tuple(zip(occupancies, parts)))
