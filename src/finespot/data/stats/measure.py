"""Measure a data set: the numbers of each split and of all, at the chosen network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finespot.data.dataset import Dataset
from finespot.data.stats.anchors import Anchors, study
from finespot.data.stats.columns import gather
from finespot.data.stats.summary import Sides, Summary, summarize
from finespot.errors import FineSpotError
from finespot.structures import Classes, Tiling

STRIDE = 32
# Below 16 px an object covers less than 2 x 2 cells of the usual finest level (stride 8), below 8 px less than one.
FEW_CELLS_PX, ONE_CELL_PX = 16.0, 8.0
# From these shares of such objects on, a level of stride 4 is worth what it costs.
FEW_CELLS_SHARE, ONE_CELL_SHARE = 0.25, 0.05


@dataclass(frozen=True)
class Statistics:
    """A data set in numbers.

    Attributes
    ----------
    imgsz, tiling:
        The network input that the numbers hold for.
    splits:
        Summary by split.
    whole:
        Summary of all splits together.
    learned:
        What training sees: the split `train` where it is among them and has objects, otherwise all.
    anchors:
        For the objects that training sees; None without objects.
    """

    name: str
    classes: Classes
    imgsz: int
    tiling: Tiling | None
    splits: dict[str, Summary]
    whole: Summary
    learned: Summary
    anchors: Anchors | None

    @property
    def cut(self) -> Tiling | None:
        """The tiling, where it cuts pictures at all."""
        return self.tiling if self.tiling is not None and self.tiling.size is not None else None


def measure(datasets: Sequence[Dataset], imgsz: int = 640, tiling: Tiling | None = None) -> Statistics:
    """Measure the splits of a data set.

    Parameters
    ----------
    datasets:
        One a split; no picture is opened.
    imgsz:
        Long side of the network input, a multiple of 32: of whole pictures, or of tiles.
    tiling:
        How pictures are cut, if they are.

    Raises
    ------
    FineSpotError
        `imgsz` is no multiple of 32, a split has no pictures, or the splits have different classes.
    """
    if imgsz < STRIDE or imgsz % STRIDE:
        near = max(1, round(imgsz / STRIDE)) * STRIDE
        raise FineSpotError(
            f"expected a multiple of the stride {STRIDE} but got {imgsz}", where="imgsz", hint=f"try {near}"
        )
    if not datasets:
        raise FineSpotError("expected at least one split but got none")
    classes, columns = gather(datasets)
    whole = summarize(columns, len(classes), imgsz, tiling)
    splits = {datasets[0].split: whole}
    if len(datasets) > 1:
        parts = {one.split: columns.part(number) for number, one in enumerate(datasets)}
        splits = {split: summarize(part, len(classes), imgsz, tiling) for split, part in parts.items()}
    train = splits.get("train")
    learned = train if train is not None and train.total else whole
    return Statistics(
        name=datasets[0].name,
        classes=classes,
        imgsz=imgsz,
        tiling=tiling,
        splits=splits,
        whole=whole,
        learned=learned,
        anchors=study(learned.network.wh, finest_stride(learned.network)),
    )


def finest_stride(network: Sides) -> int:
    """4 where so many objects are so small at the network that a P2 level pays, else 8."""
    small = network.below(FEW_CELLS_PX) >= FEW_CELLS_SHARE or network.below(ONE_CELL_PX) >= ONE_CELL_SHARE
    return 4 if small else 8
