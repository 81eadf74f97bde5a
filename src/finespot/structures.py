"""The nouns that the packages hand to each other.

Frozen, and checked once when made: numpy outside the network, torch inside. Boxes are always `xyxy` float32 in
pixels of the image that carries them (0-based, right and bottom edge exclusive); sizes are (height, width). Other
forms exist only in readers and writers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError, import_extra, unknown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Size = tuple[int, int]
Window = tuple[int, int, int, int]
Boxes = NDArray[np.float32]
Labels = NDArray[np.int64]
Flags = NDArray[np.bool_]

ANY_CLASS = -1
# How a picture lies in a network's input: padded on all sides, padded right and bottom, or stretched to fill it.
FITS = ("center", "corner", "stretch")
# By what boxes are compared where doubles are sought: IoU, or the share of the smaller box that is covered.
MATCH_METRICS = ("iou", "ios")


@dataclass(frozen=True)
class Classes:
    """Ordered class names; the position of a name is its label. `original_ids` are the ids a file used."""

    names: tuple[str, ...]
    original_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        if not names:
            raise FineSpotError("expected at least one class name but got none")
        doubled = sorted(name for name, count in Counter(names).items() if count > 1)
        if doubled:
            raise FineSpotError(f"class names must differ, but {', '.join(doubled)} occurs more than once")
        ids = tuple(int(i) for i in self.original_ids) or tuple(range(len(names)))
        if len(ids) != len(names) or len(set(ids)) != len(ids):
            raise FineSpotError(f"expected {len(names)} different class ids but got {list(ids)}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "original_ids", ids)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, label: int) -> str:
        return self.names[label]

    def index(self, name: str) -> int:
        """The label of a class name."""
        if name not in self.names:
            raise unknown("class", name, self.names)
        return self.names.index(name)

    def labels(self, wanted: Sequence[str | int]) -> tuple[int, ...]:
        """The labels of classes given by name or label."""
        found = tuple(self.index(one) if isinstance(one, str) else int(one) for one in wanted)
        strange = [label for label in found if not 0 <= label < len(self)]
        if strange:
            raise FineSpotError(f"expected labels from 0 to {len(self) - 1} but got {strange[0]}", where="classes")
        return found


@dataclass(frozen=True)
class Image:
    """One picture, its pixels read on demand.

    `read(window)` returns uint8 or uint16 pixels of shape (height, width, channels) in RGB order, upright (EXIF
    orientation applied); `window` is (x1, y1, x2, y2) in whole pixels, or None for everything.
    """

    size: Size
    channels: int
    bit_depth: int
    path: str
    read: Callable[[Window | None], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Annotations:
    """The truth of one picture; equal to another where all values are.

    `labels` may be -1 (any class) where `ignore` is set: an ignore region without a class. `area` is what the file
    says (of a mask, maybe), else the box area. `attributes` holds one array per name, as long as the boxes.
    """

    boxes: Boxes
    labels: Labels
    size: Size
    ignore: Flags = None  # type: ignore[assignment]
    area: NDArray[np.float64] = None  # type: ignore[assignment]
    ids: Labels = None  # type: ignore[assignment]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        boxes = _as_boxes(self.boxes, self.source)
        count = len(boxes)
        sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
        given = {
            "boxes": boxes,
            "labels": _column(self.labels, count, np.int64, "labels", self.source),
            "ignore": _column(self.ignore, count, np.bool_, "ignore", self.source, np.zeros(count, bool)),
            "area": _column(self.area, count, np.float64, "area", self.source, sides.prod(axis=1)),
            "ids": _column(self.ids, count, np.int64, "ids", self.source, np.arange(1, count + 1)),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        if np.any((self.labels < 0) & ~self.ignore):
            raise FineSpotError("expected labels of 0 or more (-1 only for ignore regions)", where=self.source or None)
        for name, value in self.attributes.items():
            if len(value) != count:
                raise FineSpotError(f"attribute '{name}' has {len(value)} values for {count} boxes")

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        return _same_values(self, other)

    @classmethod
    def empty(cls, size: Size, source: str = "") -> Annotations:
        """The truth of a picture without objects."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), size, source=source)

    def select(self, keep: ArrayLike) -> Annotations:
        """The rows that `keep` (a mask or indices) names."""
        rows = np.asarray(keep)
        return replace(
            self,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            ignore=self.ignore[rows],
            area=self.area[rows],
            ids=self.ids[rows],
            attributes={name: np.asarray(value)[rows] for name, value in self.attributes.items()},
        )


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one picture, best score first is not required; equal where all values are."""

    boxes: Boxes
    scores: NDArray[np.float32]
    labels: Labels
    size: Size
    classes: Classes
    source: str = ""

    def __post_init__(self) -> None:
        boxes = _as_boxes(self.boxes, self.source)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", _column(self.scores, len(boxes), np.float32, "scores", self.source))
        object.__setattr__(self, "labels", _column(self.labels, len(boxes), np.int64, "labels", self.source))
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        return _same_values(self, other)

    @classmethod
    def empty(cls, size: Size, classes: Classes, source: str = "") -> Detections:
        """Nothing found."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            size,
            classes,
            source,
        )

    def select(self, keep: ArrayLike) -> Detections:
        """The rows that `keep` (a mask or indices) names."""
        rows = np.asarray(keep)
        return replace(self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows])

    def filter(self, *, conf: float = 0.0, classes: Sequence[str | int] | None = None) -> Detections:
        """Those of score `conf` or more, of the named classes (names or labels) only where given."""
        keep = self.scores >= conf
        if classes is not None:
            keep &= np.isin(self.labels, self.classes.labels(classes))
        return self.select(keep)

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """COCO result records: `bbox` is [x, y, w, h] in unrounded pixels, `category_id` the data set's own id.

        `image_id` defaults to the stem of the source's file name.
        """
        where = image_id if image_id is not None else PurePath(self.source).stem
        ids = self.classes.original_ids
        return [
            {
                "image_id": where,
                "category_id": ids[label],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            for (x1, y1, x2, y2), score, label in zip(
                self.boxes.astype(np.float64).tolist(), self.scores.tolist(), self.labels.tolist()
            )
        ]

    def to_supervision(self) -> Any:
        """A `supervision.Detections` with class names (needs the extra `supervision`)."""
        supervision = import_extra("supervision", "supervision")
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.labels.astype(int),
            data={"class_name": np.array([self.classes[label] for label in self.labels], dtype=str)},
        )


@dataclass(frozen=True)
class Placement:
    """How a picture (or a window of it) lies in a network input: scaled by (sy, sx), then moved by (top, left).

    `origin` is the (x, y) of the window's corner in the picture, `size` the picture's own size.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    size: Size
    origin: tuple[float, float] = (0.0, 0.0)

    def to_input(self, boxes: Boxes) -> Boxes:
        """Boxes of the picture in pixels of the network input."""
        scale, offset, origin = self._corners()
        moved: Boxes = ((boxes - origin) * scale + offset).astype(np.float32)
        return moved

    def to_picture(self, boxes: Boxes) -> Boxes:
        """Boxes of the network input in pixels of the picture, not clipped."""
        scale, offset, origin = self._corners()
        moved: Boxes = ((boxes - offset) / scale + origin).astype(np.float32)
        return moved

    def _corners(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        (sy, sx), (top, left) = self.scale, self.offset
        return np.array([sx, sy, sx, sy]), np.array([left, top, left, top]), np.array(self.origin * 2)


@dataclass(frozen=True)
class Sample:
    """One prepared training picture: uint8 RGB pixels (H, W, 3), its truth in those pixels, its data set index.

    `dropped` counts the boxes that preparing lost, by reason.
    """

    pixels: NDArray[np.uint8]
    annotations: Annotations
    index: int
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """The truth of a batch in pixels of the network input, rows ordered by picture.

    Shapes: boxes (N, 4) float32, labels (N,) int64 (-1 = any class, ignore regions only), image (N,) int64 in
    0..batch-1, ascending, ignore (N,) bool.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    ignore: Tensor
    batch: int

    def to(self, device: torch.device | str) -> Targets:
        """The same on another device."""
        return Targets(
            self.boxes.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.image.to(device, non_blocking=True),
            self.ignore.to(device, non_blocking=True),
            self.batch,
        )

    @classmethod
    def from_annotations(cls, truth: Sequence[Annotations]) -> Targets:
        """Join the truths of a batch's pictures, in order."""
        import torch

        counts = torch.tensor([len(one) for one in truth], dtype=torch.int64)
        return cls(
            torch.from_numpy(np.concatenate([one.boxes for one in truth]).astype(np.float32)),
            torch.from_numpy(np.concatenate([one.labels for one in truth]).astype(np.int64)),
            torch.repeat_interleave(torch.arange(len(truth)), counts),
            torch.from_numpy(np.concatenate([one.ignore for one in truth]).astype(bool)),
            len(truth),
        )


@dataclass(frozen=True)
class Batch:
    """Stacked network inputs: uint8 (B, 3, H, W) RGB in channels-last memory, with truth where there is one.

    `placements` says for each picture how it maps back; `indices` are data set (or source) positions; `dropped`
    counts boxes that preparing lost, by reason. `shapes` (B, 1, H, W) bool is set on objects, where the pictures have
    shapes.
    """

    images: Tensor
    targets: Targets | None
    placements: tuple[Placement, ...]
    indices: tuple[int, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    shapes: Tensor | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])


@dataclass(frozen=True)
class Level:
    """One feature level: its channels and its stride in input pixels."""

    channels: int
    stride: int

    @property
    def name(self) -> str:
        """What the parts of this level are called: `p3` at stride 8, `p4` at stride 16, and so on."""
        return f"p{self.stride.bit_length() - 1}"


@dataclass
class Features:
    """Feature maps (B, C, H, W) from fine to coarse, one per `Level`.

    Where a network works on windows, `origins` holds (image, x, y) of each window, in input pixels. `auxiliary`
    carries named outputs that losses of other parts need.
    """

    maps: list[Tensor]
    levels: tuple[Level, ...]
    origins: Tensor | None = None
    auxiliary: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """Where a dense head predicts: centers (N, 2) as (x, y) in input pixels and strides (N,).

    Where the points are complete grids, level by level and row by row with centers (i + offset) * stride, `grids` holds
    (stride, rows, columns) of each; assigners then count points out instead of testing all of them. Where a point has
    an anchor box about its center, `sizes` (N, 2) holds its width and height; a level with several anchors a cell is
    several grids, one an anchor.
    """

    centers: Tensor
    strides: Tensor
    grids: tuple[tuple[int, int, int], ...] = ()
    sizes: Tensor | None = None
    offset: float = 0.5

    def __len__(self) -> int:
        return int(self.strides.shape[0])


@dataclass
class LossTerms:
    """Named scalar losses, already weighted, mean over the batch's pictures; `counts` are figures for the log."""

    terms: dict[str, Tensor]
    counts: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The sum of all terms."""
        values = list(self.terms.values())
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total


@dataclass(frozen=True)
class Tile:
    """One window (x1, y1, x2, y2) of a picture, in whole pixels.

    `whole` says that it is the picture itself, seen beside its tiles and scaled as a whole.
    """

    window: Window
    whole: bool = False


@dataclass(frozen=True)
class Tiling:
    """The rule that cuts a picture: windows of `size` pixels with `overlap`, a share of the side below 1, else pixels.

    `size` None means the whole picture as one tile. `whole` adds the picture as a whole, scaled, for objects that no
    tile holds. What the windows found is joined by the operator `merge` (as `finespot.boxes.suppressor` takes it; None:
    by the suppression of whole pictures), which compares boxes by `metric`: iou or ios (None: its own, the IoU).
    """

    size: int | None = None
    overlap: float = 0.2
    whole: bool = False
    merge: str | None = None
    metric: str | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 32:
            raise FineSpotError(f"expected a tile size of 32 pixels or more but got {self.size}", where="slice")
        if self.overlap >= 1 and not float(self.overlap).is_integer():
            raise FineSpotError(f"expected a share below 1 or whole pixels but got {self.overlap}", where="overlap")
        if not 0 <= self.overlap < (self.size or 1):
            most = "" if self.size is None else f", or pixels below {self.size},"
            raise FineSpotError(
                f"expected an overlap from 0 to below 1{most} but got {self.overlap:g}", where="overlap"
            )
        if self.metric is not None and self.metric not in MATCH_METRICS:
            raise unknown("metric", self.metric, MATCH_METRICS, where="merge-metric")
        if self.size is None and (self.whole or self.merge is not None):
            name = "slice-whole" if self.whole else "merge"
            raise FineSpotError("has no effect on whole pictures", where=name, hint="give a tile size too")
        if self.metric is not None and self.merge is None:
            raise FineSpotError("has no effect without an operator", where="merge-metric", hint="give merge too")

    @property
    def overlap_pixels(self) -> int:
        """The pixels that two neighboring windows share at least (0 where the picture is not cut)."""
        if self.size is None:
            return 0
        # 0.2 * 640 is 128.00000000000003 in some orders of rounding: without the small step back it would give 129.
        return int(self.overlap) if self.overlap >= 1 else math.ceil(self.size * self.overlap - 1e-9)

    @property
    def in_words(self) -> str:
        """How pictures are cut, as reports say it."""
        if self.size is None:
            return "whole pictures"
        return f"tiles of {self.size} px with an overlap of {self.overlap:g}{' px' if self.overlap >= 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """What it says, as plain values; what is left at its default, but for size and overlap, is left out."""
        more = {one.name: getattr(self, one.name) for one in fields(self)[2:] if getattr(self, one.name) != one.default}
        return {"size": self.size, "overlap": self.overlap, **more}


@dataclass(frozen=True)
class Normalization:
    """What a network wants its RGB input to be: (value / 255 - mean) / std, channel by channel."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Architecture:
    """Enough to build a network again: family and size (`yolo11`, `n`), class count, the options of the build.

    `channels` is the table of a pruned network: module name -> (in, out, groups).
    """

    family: str
    size: str
    classes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def _same_values(one: Any, other: Any) -> bool:
    """Whether two structures are of one kind and hold equal values, arrays and tables of arrays included."""
    if type(one) is not type(other):
        return False
    return all(_equal(getattr(one, part.name), getattr(other, part.name)) for part in fields(one))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    arrays = isinstance(one, np.ndarray) or isinstance(other, np.ndarray)
    return bool(np.array_equal(one, other)) if arrays else bool(one == other)


def _as_boxes(boxes: ArrayLike, source: str) -> Boxes:
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise FineSpotError(f"expected boxes of shape (n, 4) but got {array.shape}", where=source or None)
    if not np.isfinite(array).all():
        raise FineSpotError("expected finite box coordinates but got NaN or infinity", where=source or None)
    if np.any(array[:, 2:] < array[:, :2]):
        raise FineSpotError("expected boxes with x1 <= x2 and y1 <= y2", where=source or None)
    return array


def _column(
    values: Any, count: int, kind: Any, name: str, source: str, default: NDArray[Any] | None = None
) -> NDArray[Any]:
    if values is None and default is not None:
        values = default
    array = np.asarray(values, dtype=kind).reshape(-1)
    if len(array) != count:
        raise FineSpotError(f"expected {count} {name} for {count} boxes but got {len(array)}", where=source or None)
    if kind in (np.float32, np.float64) and not np.isfinite(array).all():
        raise FineSpotError(f"expected finite {name} but got NaN or infinity", where=source or None)
    return array
