"""What decides which tiles of each picture are looked at: a seeker, a region, a budget, the frame before.

Of pictures a seeker's heat decides, within the budget. Of a video also what was found in the frame before: it forces
tiles, and of the others some are refreshed in each frame, those first that were looked at longest ago. Without a seeker
these two decide alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.inference.seeker import load_seeker
from finespot.inference.skipping import TileView
from finespot.runtimes import Session
from finespot.structures import Boxes, Detections, Size, Tile, Tiling
from finespot.tiling import (
    UNIFORM_ABOVE,
    Mask,
    Region,
    cover,
    looked_at,
    needed,
    read_region,
    touched_cells,
    windows,
    worth,
)

# A video's tiles are looked at every so many frames where nobody says.
REFRESH = 10
# Windows that are run one after the other to learn how long one takes, where a budget of time is to be kept.
_PROBES = 3
# Batches whose times are remembered.
_RECENT = 32


class Seeks(Protocol):
    """What a seeker is to a chooser of tiles (see `finespot.inference.seeker.Seeker`)."""

    @property
    def threshold(self) -> float:
        """Cells of this heat or more are hot."""

    @property
    def recall(self) -> float | None:
        """The share of objects that the threshold was chosen to reach."""

    @property
    def lost(self) -> float | None:
        """The share that it lost where it was chosen."""

    def heat(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(rows, columns) from 0 to 1 for a picture (H, W, 3); each cell is an equal share of it."""

    def fingerprint(self) -> list[Any]:
        """What decides its heat and threshold, as plain values."""


class Pace:
    """How long a full window takes, as measured in a run."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._first = True

    def add(self, seconds: float, windows: float) -> None:
        """A batch of windows, by their worth, took so long."""
        if self._first and self._recent:
            # The first batch of a run also sets the network up.
            self._recent.clear()
            self._first = False
        self._recent.append((seconds, windows))

    @property
    def ms(self) -> float | None:
        """Milliseconds a full window; None before the first."""
        if not self._recent:
            return None
        return 1000 * sum(one for one, _ in self._recent) / sum(count for _, count in self._recent)


@dataclass
class Choice:
    """What is chosen of one picture of `size` (height, width).

    `rounds` gives its windows in the order in which they are to run, the `whole` view last, if there is one; where a
    chooser `waits`, what a round gave must have run, and its time be told, before the next is asked for. Only then the
    rest is known: `tiles` are those that were chosen, of `possible` in the grid.
    """

    size: Size
    possible: int
    tiling: Tiling | None = None
    rounds: Iterator[list[Tile]] = field(default_factory=lambda: iter(()))
    tiles: Sequence[Tile] = ()
    heat: NDArray[np.float32] | None = None
    uniform: bool = False
    limited: bool = False
    seeker_ms: float = 0.0
    whole: bool = False

    def view(self, window_ms: float) -> TileView:
        """What was looked at, where a full window takes so many milliseconds."""
        return TileView(
            self.size,
            self.heat,
            np.array([tile.window for tile in self.tiles], np.float32).reshape(-1, 4),
            _worth(self.tiles, self.size, self.tiling),
            self.possible,
            self.uniform,
            self.limited,
            self.seeker_ms,
            window_ms,
            self.whole,
        )


def _worth(tiles: Sequence[Tile], size: Size, tiling: Tiling | None) -> float:
    return sum(worth(tile, size, tiling) for tile in tiles)


class Chooser:
    """Chooses the tiles of one picture after the other, for one run.

    Parameters
    ----------
    tiling:
        How pictures are cut; None for whole pictures, of which only a region can say whether they are looked at.
    seeker:
        Whose hot cells are looked at; without one all tiles are, but of a video.
    region:
        What touches it is looked at only. What has its center elsewhere is not found.
    max_tiles:
        At most so many tiles in a picture, those with the most heat, counted before they are parted and cut down.
        What a video's last frame forces comes on top.
    budget_ms:
        At most as many windows as would fit into that time beside the seeker if none were cut down, one tile at least.
        A full window takes as long as the mean of this run; until that is known, the first ones run one by one.
    refresh:
        The pictures are frames of a video, each of whose tiles is looked at every so many frames, as far as the budget
        allows.
    uniform_above:
        See `finespot.tiling.cover`.

    Raises
    ------
    FineSpotError
        Something is asked for that has no effect, or a value is out of range.
    """

    def __init__(
        self,
        tiling: Tiling | None,
        *,
        seeker: Seeks | None = None,
        region: Region | None = None,
        max_tiles: int | None = None,
        budget_ms: float | None = None,
        refresh: int | None = None,
        uniform_above: float | None = None,
    ) -> None:
        self.tiling, self.seeker, self.region = tiling, seeker, region
        self.max_tiles, self.budget_ms, self.refresh = max_tiles, budget_ms, refresh
        self._check(uniform_above)
        self.uniform_above = UNIFORM_ABOVE if uniform_above is None else uniform_above
        self.pace = Pace()
        self._regions: dict[Size, Region] = {}
        self._untouched = 0
        self._found: Boxes | None = None
        self._turns = _Turns()

    @property
    def waits(self) -> bool:
        """Whether the tiles of a picture depend on what came of those before, so that none can be chosen ahead."""
        return self.budget_ms is not None or self.refresh is not None

    def choose(self, pixels: NDArray[np.uint8]) -> Choice:
        """The windows of a picture (H, W, 3).

        Raises
        ------
        FineSpotError
            The region is a mask of another shape than the picture.
        """
        size = pixels.shape[0], pixels.shape[1]
        region = self.region_in(size)
        every = windows(size, self.tiling)
        tiles = [tile for tile in every if not tile.whole]
        allowed = looked_at(tiles, region)
        whole = [tile for tile in every if tile.whole] if allowed else []
        self._untouched += not allowed
        choice = Choice(size, len(tiles), self.tiling, whole=bool(whole))
        if self.seeker is None and self.refresh is None:
            choice.tiles, choice.uniform = allowed, True
            choice.rounds = iter([[*allowed, *whole]])
            return choice
        threshold = 0.0
        if self.seeker is not None:
            start, threshold = time.perf_counter(), self.seeker.threshold
            choice.heat = self.seeker.heat(pixels)
            choice.seeker_ms = 1000 * (time.perf_counter() - start)
        assert self.tiling is not None
        ask = partial(
            cover,
            choice.heat,
            threshold,
            self.tiling,
            size,
            forced=self._forced(),
            region=region,
            uniform_above=self.uniform_above,
        )
        choice.rounds = self._rounds(choice, ask, allowed, whole)
        return choice

    def region_in(self, size: Size) -> Region | None:
        """The region in pictures of a size; an error as of `choose`."""
        if self.region is not None and size not in self._regions:
            self._regions[size] = self.region.of_picture(size)
        return self._regions.get(size)

    def notes(self) -> list[str]:
        """What is to be said of the region at the end of a run."""
        notes = []
        for (height, width), region in self._regions.items():
            if isinstance(region, Mask) and region.pixels.shape != (height, width):
                high, wide = region.pixels.shape
                notes.append(f"{region.name} of {wide} x {high} is scaled to pictures of {width} x {height}")
        if self._untouched:
            notes.append(f"the region touches nothing of {self._untouched} pictures")
        return notes

    def within(self, found: Detections, max_det: int | None) -> Detections:
        """Of detections by falling score those with their center in the region, at most `max_det`."""
        region = self.region_in(found.size)
        if region is None:
            return found
        inside = region.contains((found.boxes[:, :2] + found.boxes[:, 2:]) / 2)
        return found.select(np.flatnonzero(inside)[:max_det])

    def learn(self, found: Detections) -> None:
        """What came of a picture."""
        self._found = found.boxes

    def _rounds(
        self, choice: Choice, ask: Callable[..., list[Tile]], allowed: list[Tile], whole: list[Tile]
    ) -> Iterator[list[Tile]]:
        limit, due, waiting = self._limit(choice, whole), [], 0
        if self.refresh is not None:
            due = self._turns.due(allowed, self.refresh, len(allowed))
            waiting = len(due)
            due = due[: self._turn(limit, len(allowed))]
        tiles, run = ask(given=due, max_tiles=limit), []
        if self.budget_ms is not None and self.pace.ms is None:
            run = tiles[:_PROBES]
            for tile in run:
                yield [tile]
            limit = self._limit(choice, whole)
            if limit is not None and limit < _worth(tiles, choice.size, self.tiling):
                more = [tile for tile in due if tile not in run][: max(0, self._turn(limit, limit) - len(run))]
                due = [*(tile for tile in due if tile in run), *more]
                found = ask(given=[*run, *more], max_tiles=limit)
                tiles = found if set(run) <= set(found) else [*run, *found]
        choice.tiles, choice.uniform = tiles, tiles == allowed
        # Left out are places that are hot or forced, and tiles whose turn it was.
        choice.limited = (
            limit is not None
            and not choice.uniform
            and (len(due) < waiting or ask(given=tiles, uniform_above=1.0) != tiles)
        )
        self._turns.seen(tiles)
        yield [*(tile for tile in tiles if tile not in run), *whole]

    def _forced(self) -> Boxes | None:
        """Last frame's boxes, with as much around them as an object may move and still be whole in a window."""
        if self.refresh is None or self._found is None or self.tiling is None:
            return None
        margin = self.tiling.overlap_pixels / 2
        forced: Boxes = self._found + np.array([-margin, -margin, margin, margin], np.float32)
        return forced

    def _limit(self, choice: Choice, whole: list[Tile]) -> int | None:
        """How many tiles of a picture may run; None for any number."""
        one = self.pace.ms
        if self.budget_ms is None or one is None:
            return self.max_tiles
        fit = max(1, int((self.budget_ms - choice.seeker_ms) / one) - len(whole))
        return fit if self.max_tiles is None else min(fit, self.max_tiles)

    def _turn(self, limit: int | None, tiles: int) -> int:
        """How many tiles of a frame may be those whose turn it is: of a budget, the seeker has half."""
        if limit is None:
            return tiles
        return limit if self.seeker is None else max(1, limit // 2)

    def _check(self, uniform_above: float | None) -> None:
        values = {"max-tiles": self.max_tiles, "budget-ms": self.budget_ms, "refresh": self.refresh}
        for name in ("max-tiles", "refresh"):
            if (number := values[name]) is not None and number < 1:
                raise FineSpotError(f"expected 1 or more but got {number}", where=name)
        if self.budget_ms is not None and not self.budget_ms > 0:
            raise FineSpotError(f"expected more than 0 but got {self.budget_ms:g}", where="budget-ms")
        if uniform_above is not None and not 0 <= uniform_above <= 1:
            raise FineSpotError(f"expected a share from 0 to 1 but got {uniform_above}", where="uniform-above")
        cut = self.tiling is not None and self.tiling.size is not None
        asked = [name for name, value in {"seeker": self.seeker, **values}.items() if value is not None]
        if asked and not cut:
            raise FineSpotError("chooses tiles, but nothing is cut", where=asked[0], hint="give --slice too, as 640")
        hint = "give --seeker too, or --refresh where pictures are frames of a video"
        if asked and self.seeker is None and self.refresh is None:
            raise FineSpotError("has no effect where all tiles are looked at", where=asked[0], hint=hint)
        if uniform_above is not None and self.seeker is None:
            raise FineSpotError("has no effect without a seeker", where="uniform-above", hint="give --seeker too")


class PartChooser(Chooser):
    """Chooses parts of the tiles of a picture that is too large to be seen at once: the tiles come one by one.

    Parameters
    ----------
    size:
        Of the picture, (height, width).
    tiles:
        Those that come, in order; they may be put down as late as they come.
    region:
        In pixels of the picture: only what touches it is looked at.
    """

    def __init__(
        self, tiling: Tiling, seeker: Seeks, size: Size, tiles: Sequence[Tile], region: Region | None = None
    ) -> None:
        super().__init__(tiling, seeker=seeker)
        self._size, self._tiles, self._number, self._where = size, tiles, 0, region

    def choose(self, pixels: NDArray[np.uint8]) -> Choice:
        """The windows of the next tile (H, W, 3)."""
        assert self.seeker is not None
        assert self.tiling is not None
        tile, self._number = self._tiles[self._number], self._number + 1
        choice = Choice((pixels.shape[0], pixels.shape[1]), 1, self.tiling)
        start = time.perf_counter()
        choice.heat = self.seeker.heat(pixels)
        choice.seeker_ms = 1000 * (time.perf_counter() - start)
        inside = None if self._where is None else touched_cells(self._where, tile.window, choice.heat.shape)
        choice.tiles = needed(choice.heat, self.seeker.threshold, self.tiling, tile, self._size, inside)
        choice.rounds = iter([[*choice.tiles]])
        return choice


def chooser_of(
    session: Session,
    tiling: Tiling | None,
    *,
    seeker: str | Path | Seeks | None = None,
    max_tiles: int | None = None,
    budget_ms: float | None = None,
    roi: str | Path | Region | None = None,
    refresh: int | None = None,
    uniform_above: float | None = None,
    video: bool = False,
) -> Chooser | None:
    """What chooses the tiles of a run, as `Chooser` says, or None where nothing is asked for.

    A seeker may be a weight file or the name of bundled weights, which runs as `session` does, a region a file. Of a
    video, each tile is looked at every REFRESH frames where nothing else is said.

    Raises
    ------
    FineSpotError
        As `Chooser`; or a file cannot be read.
    """
    if all(one is None for one in (seeker, max_tiles, budget_ms, roi, refresh, uniform_above)):
        return None
    if video and refresh is None and not (seeker is None and max_tiles is None and budget_ms is None):
        refresh = REFRESH
    if isinstance(seeker, str | Path) and tiling is not None and tiling.size is not None:
        seeker = load_seeker(seeker, threads=session.threads, device=str(session.device))
    return Chooser(
        tiling,
        seeker=cast("Seeks | None", seeker),
        region=read_region(roi) if isinstance(roi, str | Path) else roi,
        max_tiles=max_tiles,
        budget_ms=budget_ms,
        refresh=refresh,
        uniform_above=uniform_above,
    )


class _Turns:
    """Since how many frames each tile of a grid was not looked at."""

    def __init__(self) -> None:
        self._tiles: list[Tile] = []
        self._ages = np.zeros(0, np.int64)

    def due(self, tiles: list[Tile], every: int, most: int) -> list[Tile]:
        """Those whose turn it is, so that each is looked at every so many frames: at most `most`, the oldest first.

        Of a new grid that is all of it.
        """
        if tiles != self._tiles:
            self._tiles, self._ages = tiles, np.full(len(tiles), every)
        count = max(-(-len(tiles) // every), int((self._ages >= every).sum()))
        return [tiles[place] for place in np.argsort(-self._ages, kind="stable")[: min(count, most)]]

    def seen(self, looked: Sequence[Tile]) -> None:
        """These windows were looked at in a frame."""
        now = set(looked)
        self._ages = np.array([0 if tile in now else age + 1 for tile, age in zip(self._tiles, self._ages)], np.int64)
