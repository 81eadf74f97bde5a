"""Networks on windows in a run: where they looked in its pictures, in their own pixels, and what that saved; what an
oracle is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.runtimes import Session
from finespot.structures import Annotations, Boxes, Placement, Size, Targets
from finespot.zoo import Look, Savings, WindowCosts, WindowedDetector, looks, window_areas, window_costs


@dataclass(frozen=True)
class WindowView:
    """Of one picture of `size` (height, width).

    Attributes
    ----------
    heat:
        (rows, columns) float32, 0 to 1: the seeker's map, a value for each cell, all of the picture.
    windows, cores:
        (K, 4) xyxy in pixels of the picture: those that were computed, and the part of each that it answers for; all of
        the picture where the whole map ran.
    savings:
        What was computed and spared; of a picture in tiles, all together.
    milliseconds:
        By part of the network, the batch's shared evenly.
    first:
        Whether that is of the first batch, or a tile of the picture was in it: it also sets the network up.
    """

    size: Size
    heat: NDArray[np.float32]
    windows: Boxes
    cores: Boxes
    savings: Savings
    milliseconds: Mapping[str, float]
    first: bool = False

    def joined(self, other: WindowView) -> WindowView:
        """Both as one: two tiles of a picture, or its tiles and the view of it as a whole.

        Where they overlap, the greater heat counts. The whole view is scaled down more, so its map has fewer cells of
        the picture: each of the finer map takes the heat of the one that its middle lies in.
        """
        windows, cores = (np.concatenate(pair) for pair in ((self.windows, other.windows), (self.cores, other.cores)))
        occupancy, covered = window_areas(windows, np.array([0, 0, self.size[1], self.size[0]], np.float32))
        one, two = self.savings, other.savings
        both = Savings(
            windows=one.windows + two.windows,
            possible=one.possible + two.possible,
            occupancy=occupancy,
            covered=covered,
            gflops=one.gflops + two.gflops,
            saved=one.saved + two.saved,
            dense=one.dense and two.dense,
        )
        times = {key: value + other.milliseconds.get(key, 0.0) for key, value in self.milliseconds.items()}
        shape = np.maximum(self.heat.shape, other.heat.shape)
        heat = np.maximum(*(_refined(view.heat, *shape.tolist()) for view in (self, other)))
        return WindowView(self.size, heat, windows, cores, both, times, self.first or other.first)


def watch_of(session: Session, asked: bool) -> WindowWatch | None:
    """What watches a run of a session, if that is asked for; without it the network takes no times."""
    if asked:
        return WindowWatch(session)
    if isinstance(session.network, WindowedDetector):
        session.network.laps = None
    return None


class WindowWatch:
    """Reads from the raw output of a session's network where it looked; see `WindowView`.

    Raises
    ------
    FineSpotError
        The network does not choose windows.
    """

    def __init__(self, session: Session) -> None:
        self.network = windowed(session)
        self.network.laps = {}
        self._costs: dict[Size, WindowCosts] = {}
        self._first = True

    def __call__(self, raw: Mapping[str, Tensor], placements: Sequence[Placement]) -> list[WindowView]:
        """A view of each picture (or tile of one) of a batch."""
        rows, columns = raw["heat"].shape[2:]
        size = (int(rows) * self.network.cut, int(columns) * self.network.cut)
        if size not in self._costs:
            self._costs[size] = window_costs(self.network, size)
        content = np.concatenate([_content(one, size) for one in placements])
        laps = self.network.laps or {}
        times = {name: 1000 * seconds / len(placements) for name, seconds in laps.items()}
        self.network.laps = {}
        found = looks(self.network, raw, self._costs[size], content)
        first, self._first = self._first, False
        return [_view(look, one, size, times, first) for look, one in zip(found, placements, strict=True)]


def windowed(session: Session) -> WindowedDetector:
    """The network of a session, if it chooses windows; an error as of `WindowWatch`."""
    if not isinstance(session.network, WindowedDetector):
        raise FineSpotError(
            "this network does not choose windows", where="windows", hint="esod-yolov5m does, and with tiles a --seeker"
        )
    return session.network


def asks_truth(session: Session) -> bool:
    """Whether a session's network chooses windows or cells by the truth."""
    if not isinstance(session.network, WindowedDetector):
        return False
    rule = session.network.windows
    return "oracle" in (rule.select, rule.cells)


def truth_in(truths: Sequence[Annotations], placements: Sequence[Placement], size: Size) -> Targets:
    """Of each picture, or tile of one, the objects whose center an input of `size` shows, in its pixels."""
    shown = []
    for truth, placement in zip(truths, placements, strict=True):
        boxes = placement.to_input(truth.boxes)
        x1, y1, x2, y2 = _content(placement, size)[0]
        x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
        inside = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        shown.append(replace(truth, boxes=boxes).select(inside & ~truth.ignore))
    return Targets.from_annotations(shown)


def _content(placement: Placement, size: Size) -> Boxes:
    """Where the picture, or the window of it, lies in an input of `size`: (1, 4) xyxy in its pixels."""
    height, width = placement.size
    whole = placement.to_input(np.array([[0, 0, width, height]], np.float32))
    return np.clip(whole, 0, np.array([size[1], size[0]] * 2, np.float32))


def _view(look: Look, placement: Placement, size: Size, times: Mapping[str, float], first: bool) -> WindowView:
    height, width = placement.size
    # A value for each cell of a map of the whole picture at this scale.
    rows, columns = (max(1, round(side * scale / look.stride)) for side, scale in zip((height, width), placement.scale))
    y, x = (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns
    middle = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    place = placement.to_input(np.tile(middle, 2).astype(np.float32))[:, :2]
    inside = ((place >= 0) & (place < np.array([size[1], size[0]]))).all(1)
    cell = np.minimum((np.maximum(place, 0) / look.stride).astype(np.int64), np.array(look.heat.shape)[::-1] - 1)
    heat = np.where(inside, look.heat[cell[:, 1], cell[:, 0]], 0).astype(np.float32).reshape(rows, columns)
    limit = np.array([width, height] * 2, np.float32)
    windows, cores = (
        np.clip(placement.to_picture(one), 0, limit).astype(np.float32) for one in (look.windows, look.cores)
    )
    return WindowView((height, width), heat, windows, cores, look.savings, times, first)


def _refined(heat: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """A map in more cells, each with the heat of the cell that its middle lies in."""
    row, column = (
        ((np.arange(count) + 0.5) * had / count).astype(np.int64) for count, had in zip((rows, columns), heat.shape)
    )
    refined: NDArray[np.float32] = heat[row[:, None], column]
    return refined


def enlarged(heat: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """A map of cells as large as its picture, in between smooth."""
    grown = Pillow.fromarray(heat).resize((size[1], size[0]), Pillow.Resampling.BILINEAR)
    return np.asarray(grown, np.float32)
