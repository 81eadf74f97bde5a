"""The threshold of a network on windows, chosen on labelled pictures: as few windows as find nearly all objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.inference.prepare import Scaling, input_size, place, read_rgb, scaling
from finespot.inference.windows import windowed
from finespot.runtimes import Session
from finespot.structures import Size, Tiling
from finespot.tiling import windows
from finespot.weights import Card
from finespot.zoo import WindowedDetector

if TYPE_CHECKING:
    from finespot.data import Dataset

# Logits beyond these are 0 and 1 as far as a threshold goes.
_LEAST, _MOST = 1e-6, 1 - 1e-6


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it gives on the pictures that it was chosen on.

    Attributes
    ----------
    threshold:
        The largest with which at least the wanted share of the objects is reached.
    recall:
        The share of objects whose center lies in a core that fires; of two tiles that hold an object, either will do.
    share:
        The mean share of a picture's cores that fire.
    objects:
        How many objects there were.
    size:
        Height and width of the largest input.
    """

    threshold: float
    recall: float
    share: float
    objects: int
    size: Size


def calibrate_threshold(
    session: Session,
    dataset: Dataset,
    recall: float = 0.99,
    *,
    imgsz: int | None = None,
    tiling: Tiling | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Choose the threshold of a session's network and set it there; `calibrated` gives the card to store it with.

    Only stem and seeker matter, but the whole network runs. A grid that begins at the picture's corner is looked at.

    Parameters
    ----------
    recall:
        The share of the objects that is to be reached, above 0 to 1.
    imgsz, tiling:
        As in `Model.predict`; the weight file's own where left out.
    progress:
        Called with (pictures done, pictures in all) after each picture.

    Raises
    ------
    FineSpotError
        The network does not choose windows, there is no object, or `recall` is out of range.
    """
    if not 0 < recall <= 1:
        raise FineSpotError(f"expected a share above 0 and up to 1 but got {recall}", where="recall")
    network, rule = windowed(session), _scaling(session, imgsz, tiling)
    before = network.windows
    # Nothing behind the seeker has to run: no core fires.
    network.windows = replace(before, threshold=1.0, select="seeker", budget=None, cells="all")
    of_objects: list[NDArray[np.float64]] = []
    of_cores: list[NDArray[np.float64]] = []
    try:
        for number in range(len(dataset)):
            pixels = read_rgb(dataset.image(number))
            truth = dataset.annotations(number)
            boxes = truth.boxes[~truth.ignore]
            reached = np.full(len(boxes), -1.0)
            for tile in windows(truth.size, rule.tiling):
                prepared, placement = place(pixels, tile, rule)
                raw = session(torch.from_numpy(np.stack([prepared])).permute(0, 3, 1, 2))
                heat = raw["heat"].float()
                grid = network.windows.grid((int(heat.shape[2]), int(heat.shape[3])))
                values = torch.sigmoid(network.scores(heat, grid))[0].double().cpu().numpy()
                of_cores.append(values)
                inside = placement.to_input(boxes)
                centers = (inside[:, :2] + inside[:, 2:]) / 2
                here = ((centers >= 0) & (centers < [heat.shape[3] * network.cut, heat.shape[2] * network.cut])).all(1)
                core = grid.core_of(torch.from_numpy(centers / network.cut)).numpy()
                reached = np.where(here, np.maximum(reached, values[core]), reached)
            of_objects.append(reached)
            if progress is not None:
                progress(number + 1, len(dataset))
    finally:
        network.windows, network.laps = before, None
    scores = np.concatenate([np.zeros(0), *of_objects])
    if not len(scores):
        raise FineSpotError("there is no object to choose a threshold by", where=dataset.name)
    threshold = highest_threshold(scores, recall)
    network.windows = replace(before, threshold=threshold)
    share = float(np.mean([(values >= threshold).mean() for values in of_cores]))
    largest = largest_input(session, dataset, imgsz=imgsz, tiling=tiling)
    return Calibration(threshold, float((scores >= threshold).mean()), share, len(scores), largest)


def largest_input(
    session: Session, dataset: Dataset, *, imgsz: int | None = None, tiling: Tiling | None = None
) -> Size:
    """Height and width of the largest input that the pictures give, where `imgsz` and `tiling` are those of
    `calibrate_threshold`.
    """
    rule = _scaling(session, imgsz, tiling)
    sizes = dict.fromkeys(dataset.size(number) for number in range(len(dataset)))
    inputs = (input_size(tile, rule, size) for size in sizes for tile in windows(size, rule.tiling))
    return max(inputs, key=math.prod)


def _scaling(session: Session, imgsz: int | None, tiling: Tiling | None) -> Scaling:
    card = session.card
    rule, _ = scaling(
        card.imgsz if imgsz is None else imgsz, session.stride, card.tiling if tiling is None else tiling, card.fit
    )
    return rule


def highest_threshold(scores: NDArray[np.floating[Any]], recall: float) -> float:
    """The highest threshold that at least the share `recall` of some scores (one or more, 0 to 1) reaches.

    A hair below that score: what is compared with it later is rounded to float32, and may have been added up in another
    order.
    """
    needed = np.sort(scores)[::-1][int(np.ceil(recall * len(scores) - 1e-9)) - 1]
    threshold = np.float32(np.clip(needed, _LEAST, _MOST))
    return float(np.nextafter(threshold, np.float32(0)))


def calibrated(session: Session, **choices: Any) -> Card:
    """The card to store the weights of `session.detector` with, which from now on has these choices (`threshold`,
    `dense_above`) too.
    """
    detector, known = session.detector, session.card.architecture
    architecture = replace(known, options={**known.options, **choices})
    detector.architecture = architecture
    if isinstance(detector, WindowedDetector):
        detector.windows = replace(detector.windows, **choices)
    return msgspec.structs.replace(session.card, architecture=architecture)
