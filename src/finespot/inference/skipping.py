"""Which tiles of a picture were looked at, what that cost, and what a run saved by it, in lines for its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.inference.prepare import input_size, scaling
from finespot.inference.seeker import Seeker, load_seeker
from finespot.runtimes import Session
from finespot.structures import Boxes, Size, Tile, Tiling
from finespot.tiling import windows
from finespot.zoo import WindowedDetector, count_gflops


@dataclass(frozen=True)
class TileView:
    """Of one picture of `size` (height, width).

    Attributes
    ----------
    heat:
        (rows, columns) float32, 0 to 1, all of the picture; None where no seeker ran.
    windows:
        (K, 4) xyxy in pixels of the picture: the tiles that were computed, without the whole view.
    worth:
        As how many tiles they count: one that is cut down counts by its area.
    possible:
        How many tiles the uniform grid has.
    uniform:
        Whether these are the grid's, as many as touch the region.
    limited:
        Whether a budget left out tiles that would have been chosen.
    seeker_ms, window_ms:
        Milliseconds of the seeker, and the mean of a full window so far in the run.
    whole:
        Whether the picture was looked at as a whole too.
    """

    size: Size
    heat: NDArray[np.float32] | None
    windows: Boxes
    worth: float
    possible: int
    uniform: bool
    limited: bool
    seeker_ms: float = 0.0
    window_ms: float = 0.0
    whole: bool = False

    @property
    def cores(self) -> Boxes:
        """The part of each window that it answers for: all of it."""
        return self.windows

    @property
    def full(self) -> bool:
        """Whether all of the picture was looked at: the grid's tiles, and no region left out some of them."""
        return self.uniform and len(self.windows) == self.possible

    @property
    def saved_ms(self) -> float:
        """What the tiles that were skipped would have taken, less the seeker's time."""
        return (self.possible - self.worth) * self.window_ms - self.seeker_ms


class TileCosts:
    """1e9 operations of pictures in tiles, counted without computing: of a session's network on the inputs that it
    gets, the view of the whole picture among them, and of the seeker that chose (a file, a name, a `Seeker`, or None).

    `imgsz` and `tiling` are those of the run; the weight file's own where left out. Not of a network that chooses
    windows within its tiles: what a tile costs depends on what is in it.
    """

    @classmethod
    def known(
        cls, session: Session, imgsz: int | None, tiling: Tiling | None, seeker: str | Path | Seeker | None = None
    ) -> TileCosts | None:
        """The costs, where a tile has one."""
        return None if isinstance(session.network, WindowedDetector) else cls(session, imgsz, tiling, seeker)

    def __init__(
        self,
        session: Session,
        imgsz: int | None = None,
        tiling: Tiling | None = None,
        seeker: str | Path | Seeker | None = None,
    ) -> None:
        card = session.card
        self._network = session.network
        self._rule, _ = scaling(
            card.imgsz if imgsz is None else imgsz, session.stride, card.tiling if tiling is None else tiling, card.fit
        )
        self._seeker = load_seeker(seeker) if isinstance(seeker, str | Path) else seeker
        self._inputs: dict[Size, float] = {}
        self._looks: dict[Size, float] = {}

    def of(self, view: TileView) -> tuple[float, float]:
        """Spent on a picture, and less than all of its windows would have taken."""
        if view.size not in self._looks:
            # A part of one's own says nothing of its cost.
            count = getattr(self._seeker, "gflops", None)
            self._looks[view.size] = 0.0 if count is None else float(count(view.size))
        every = windows(view.size, self._rule.tiling)
        looked = [Tile((int(x1), int(y1), int(x2), int(y2))) for x1, y1, x2, y2 in view.windows]
        looked += [tile for tile in every if tile.whole and view.whole]
        spent = self._counted(looked, view.size) + self._looks[view.size]
        return spent, self._counted(every, view.size) - spent

    def _counted(self, tiles: Sequence[Tile], size: Size) -> float:
        """Of windows of a picture of `size`, as they enter the network: small pictures and parts of tiles are less."""
        shapes = Counter(input_size(tile, self._rule, size) for tile in tiles)
        for shape in shapes:
            if shape not in self._inputs:
                self._inputs[shape] = count_gflops(self._network, shape)
        return sum(count * self._inputs[shape] for shape, count in shapes.items())

    def line(self, spent: float, saved: float, pictures: int) -> str:
        """What was spent and saved in all as the mean over pictures, in words; nothing where there is none."""
        if not pictures:
            return ""
        whole = spent + saved
        told = f"{100 * saved / whole:.0f} % saved" if saved >= 0 else f"{-100 * saved / whole:.0f} % more"
        seeker = ", seeker included," if any(self._looks.values()) else ""
        each = f"{spent / pictures:.1f} GFLOPs a picture{seeker} where all tiles take {whole / pictures:.1f}"
        return f"{each} ({told})"


@dataclass(frozen=True)
class Skipping:
    """What a run computed and skipped, over all its pictures; milliseconds are means of a picture and of a full tile.

    `lost` is the share of the objects of `split` whose center lies in no window, where that is known; `recall` what the
    seeker was calibrated for.
    """

    pictures: int = 0
    computed: int = 0
    worth: float = 0.0
    possible: int = 0
    uniform: int = 0
    empty: int = 0
    limited: int = 0
    seeker_ms: float = 0.0
    window_ms: float = 0.0
    recall: float | None = None
    lost: float | None = None
    split: str = "val"

    @classmethod
    def of(cls, views: Iterable[TileView]) -> Skipping:
        """Of the views of a run."""
        return reduce(cls.plus, views, cls())

    def plus(self, view: TileView) -> Skipping:
        """With one more picture, the latest of the run: a full tile is as expensive as their mean up to it."""
        return replace(
            self,
            pictures=self.pictures + 1,
            computed=self.computed + len(view.windows),
            worth=self.worth + view.worth,
            possible=self.possible + view.possible,
            uniform=self.uniform + view.full,
            empty=self.empty + (not len(view.windows) and not view.whole),
            limited=self.limited + view.limited,
            seeker_ms=(self.pictures * self.seeker_ms + view.seeker_ms) / (self.pictures + 1),
            window_ms=view.window_ms,
        )

    @property
    def saved_ms(self) -> float:
        """What the tiles that were skipped would have taken of a picture, less the seeker's time."""
        return (self.possible - self.worth) / max(1, self.pictures) * self.window_ms - self.seeker_ms

    @property
    def share(self) -> float:
        """The share of the tiles that was skipped, by area."""
        return 1 - self.worth / self.possible if self.possible else 0.0

    def lines(self) -> list[str]:
        """What was saved and what that cost; the first line says it all."""
        if not self.pictures:
            return []
        computed = f"{self.computed} of {self.possible} computed"
        if self.computed - self.worth > 1e-6:
            computed = f"{self.computed} computed and cut down, as much as {self.worth:.1f} of {self.possible}"
        told = f"{100 * self.share:.0f} % of tiles skipped ({computed})"
        if self.lost is not None:
            told += f", {100 * self.lost:.1f} % of objects lost on {self.split}"
        if self.recall is not None:
            told += f" (seeker calibrated for {100 * self.recall:g} %)"
        times = f"a tile takes {self.window_ms:.1f} ms"
        if self.seeker_ms:
            times += f", the seeker {self.seeker_ms:.1f} ms a picture"
        gain = f"about {abs(self.saved_ms):.0f} ms a picture {'saved' if self.saved_ms >= 0 else 'lost'}"
        lines = [told, f"{times}: {gain}"]
        if self.uniform:
            lines.append(f"{self.uniform} of {self.pictures} pictures were looked at in full")
        if self.empty:
            lines.append(f"in {self.empty} of {self.pictures} pictures there was nothing to look at")
        if self.limited:
            lines.append(f"the budget left out tiles in {self.limited} of {self.pictures} pictures")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        return {
            "pictures": self.pictures,
            "tiles": self.computed,
            "tiles_worth": round(self.worth, 3),
            "possible": self.possible,
            "skipped": round(self.share, 4),
            "uniform_pictures": self.uniform,
            "empty_pictures": self.empty,
            "limited_pictures": self.limited,
            "seeker_ms": round(self.seeker_ms, 3),
            "window_ms": round(self.window_ms, 3),
            "saved_ms": round(self.saved_ms, 3),
            "calibrated_recall": self.recall,
            "lost": self.lost,
        }
