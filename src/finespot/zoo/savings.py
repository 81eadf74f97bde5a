"""What a network on windows computed of each picture, and what it would have cost to compute it all.

Operations are those of `cost`. What runs on the picture (stem and seeker) is counted once for its size, what runs on a
window once for the window's; a picture costs the one and so many times the other. A head that computes single cells
spares what the others would have cost. Compared is the dense network without a seeker, so where all of the map runs,
nothing is saved and the seeker is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from finespot.structures import Boxes, Features, Size
from finespot.zoo.cost import without_data
from finespot.zoo.windowed import HEAT, WindowedDetector


@dataclass(frozen=True)
class WindowCosts:
    """1e9 operations for a picture of `size` (height, width): stem and seeker, one window to its boxes, and the whole
    map behind the stem in place of windows; `seeker` is its share of `picture`. `cells` are those of one cell in the
    head, behind its stem, by level, of heads that compute single cells (else empty).
    """

    size: Size
    picture: float
    window: float
    whole: float
    seeker: float
    cells: tuple[float, ...] = ()

    @property
    def dense(self) -> float:
        """The network without a seeker."""
        return self.picture - self.seeker + self.whole


@dataclass(frozen=True)
class Savings:
    """Of one picture.

    Attributes
    ----------
    windows, possible:
        Windows that were computed, and how many there are; all of them where the whole map ran instead (`dense`).
    occupancy, covered:
        Area of the windows over that of the picture, and the share of it that lies in any; halos count, padding does
        not.
    gflops, saved:
        1e9 operations spent, and fewer than the dense network without a seeker.
    """

    windows: int
    possible: int
    occupancy: float
    covered: float
    gflops: float
    saved: float
    dense: bool


@dataclass(frozen=True)
class Look:
    """Where the network looked: heat (rows, columns) 0 to 1 of cells of `stride`, windows (K, 4) xyxy in input pixels
    and the part of each that it answers for, and what that saved. A map that ran whole is one window.
    """

    heat: NDArray[np.float32]
    stride: int
    windows: Boxes
    cores: Boxes
    savings: Savings


def window_costs(detector: WindowedDetector, size: Size) -> WindowCosts:
    """The costs for pictures of `size` (height, width); nothing is computed."""
    twin = without_data(detector).eval().requires_grad_(False)
    assert isinstance(twin, WindowedDetector)
    split, images = twin.split(), torch.zeros(1, 3, *size, device="meta")
    images = images.to(next(twin.parameters()).dtype)
    stem, seen = _counted(lambda: twin.look(images))
    alone, _ = _counted(lambda: split.stem(images))

    def finish(features: Features) -> None:
        twin.head.decode_boxes(twin.head(twin.neck(split.tail(features))))

    grid = twin.windows.grid((size[0] // twin.cut, size[1] // twin.cut))
    window = [
        x.new_zeros(1, x.shape[1], *(side * twin.cut // level.stride for side in grid.window))
        for level, x in zip(seen.levels, seen.maps)
    ]
    one, _ = _counted(lambda: finish(Features(window, seen.levels)))
    whole, _ = _counted(lambda: finish(seen))
    cells = tuple(twin.head.cell_operations()) if hasattr(twin.head, "cell_operations") else ()
    return WindowCosts(size, stem, one, whole, stem - alone, cells)


def looks(
    detector: WindowedDetector, raw: Mapping[str, Tensor], costs: WindowCosts, content: Boxes | None = None
) -> list[Look]:
    """Where the network looked in each picture of a raw output of it.

    `content` (B, 4) xyxy in input pixels says where the pictures lie in the input; None: everywhere.
    """
    heat = torch.sigmoid(raw[HEAT].detach().float())[:, 0].cpu().numpy()
    possible, cut = int(raw["picks"][0].numel()), detector.cut
    height, width = heat.shape[1] * cut, heat.shape[2] * cut
    if content is None:
        content = np.array([[0, 0, width, height]] * len(heat), np.float32)
    dense = "origins" not in raw
    boxes = cores = np.array([[0, 0, width, height]] * len(heat), np.float32)
    picture = np.arange(len(heat))
    if not dense:
        origins = raw["origins"].cpu().numpy()
        picture, sides = origins[:, 0], detector.windows.grid((heat.shape[1], heat.shape[2])).window
        corner = origins[:, 1:].astype(np.float32)
        boxes = np.concatenate((corner, corner + np.array(sides[::-1], np.float32) * cut), 1)
        cores = raw["cores"].cpu().numpy().clip(np.tile(boxes[:, :2], 2), np.tile(boxes[:, 2:], 2))
    spared = np.zeros(len(picture))
    if "left_out" in raw:
        spared = raw["left_out"].cpu().numpy() @ np.array(costs.cells)
    found = []
    for number, (map_, inside) in enumerate(zip(heat, content)):
        own = picture == number
        count = possible if dense else int(own.sum())
        spent = costs.picture + (costs.whole if dense else count * costs.window) - float(spared[own].sum())
        savings = Savings(count, possible, *window_areas(boxes[own], inside), spent, costs.dense - spent, dense)
        found.append(Look(map_, cut, boxes[own], cores[own], savings))
    return found


def window_areas(windows: Boxes, inside: NDArray[np.float32]) -> tuple[float, float]:
    """Area of the windows (K, 4) and of their union, as shares of the box `inside` (4,); all xyxy, in the same units.

    What lies outside of that box does not count.
    """
    clipped = np.concatenate((np.maximum(windows[:, :2], inside[:2]), np.minimum(windows[:, 2:], inside[2:])), 1)
    sides = np.maximum(clipped[:, 2:] - clipped[:, :2], 0)
    whole = float(max((inside[2] - inside[0]) * (inside[3] - inside[1]), 1e-9))
    # Between the edges of all windows every place is in or out as one.
    xs, ys = (np.unique(clipped[:, axis::2]) for axis in (0, 1))
    middle_x, middle_y = (xs[1:] + xs[:-1]) / 2, (ys[1:] + ys[:-1]) / 2
    across = (clipped[:, :1] < middle_x) & (middle_x < clipped[:, 2:3])
    down = (clipped[:, 1:2] < middle_y) & (middle_y < clipped[:, 3:4])
    union = down.T.astype(np.float32) @ across.astype(np.float32) > 0
    covered = float((union * np.diff(ys)[:, None] * np.diff(xs)).sum())
    return float(sides.prod(1).sum()) / whole, covered / whole


def _counted(do: Callable[[], Any]) -> tuple[float, Any]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = do()
    return cast(float, counter.get_total_flops() / 1e9), result
