"""What a weight file says about its network, kept as JSON under the metadata key `finespot`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec

from finespot.boxes import suppressor
from finespot.errors import FineSpotError
from finespot.structures import FITS, Architecture, Classes, Normalization, Tiling

FORMAT_VERSION = 1
# What a weight file may hold, and what is to be done with it where another kind is wanted.
DETECTOR, SEEKER = "detector", "seeker"
_USES = {
    SEEKER: "a seeker says where a detector is to look: give the detector's weights, and this file as --seeker FILE",
    DETECTOR: "a seeker is made by finespot train seeker --data ...",
}
CHANNELS = 3
# The largest `imgsz`. Of this side, the first maps of the smallest networks take 4 GiB a picture, and with three
# channels a picture of twice the side (multi_scale) has more values than kernels with 32-bit indices can count. Larger
# pictures are for tiles.
LARGEST_SIDE = 16384


class _Checked(Protocol):
    def check(self) -> None: ...


C = TypeVar("C", bound=_Checked)


class MetricRecord(msgspec.Struct, kw_only=True):
    """Figures measured with these weights: under which protocol, on what, at which input size."""

    protocol: str
    data: str
    split: str
    imgsz: int
    values: dict[str, float | None]


class ObjectScale(msgspec.Struct, kw_only=True, frozen=True):
    """How large objects were while training: their median `side` (root of width x height) in pixels of the network
    input, and the median `factor` of input pixels to a pixel of their picture.
    """

    side: float
    factor: float


class Card(msgspec.Struct, kw_only=True):
    """A network and how it wants to be used.

    Attributes
    ----------
    architecture, classes:
        Enough to build the network and to name what it finds.
    imgsz, mean, std:
        The input, RGB of 8 bits: its long side in pixels; the network gets (value / 255 - mean) / std.
    fit:
        How a picture lies in the input: in the `center` or the top left `corner` of its padding, or stretched to a
        square (`stretch`).
    tiling:
        How pictures are cut, and what their tiles gave is merged; None means whole pictures.
    objects:
        How large the network has seen objects; None where nobody measured it.
    resolution:
        Meters of ground to a pixel of the pictures that it learned from; None where nobody said so.
    conf, iou, max_det:
        Thresholds of prediction: least score, IoU of suppression, most detections in a picture.
    nms:
        The suppression that `iou` belongs to, one of FineSpot's own (`finespot.boxes.suppressor`).
    levels_off:
        Names of levels of the head that take no part in prediction: they were not trained yet.
    metrics, data_licence, provenance:
        What was measured, the licence of the training data, and where the weights come from.
    """

    architecture: Architecture
    classes: Classes
    imgsz: int = 640
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fit: str = "center"
    tiling: Tiling | None = None
    objects: ObjectScale | None = None
    resolution: float | None = None
    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    nms: str = "greedy"
    levels_off: list[str] = []
    metrics: list[MetricRecord] = []
    data_licence: str = ""
    provenance: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION

    def check(self) -> None:
        """Raise `FineSpotError` where two entries do not fit each other."""
        if self.architecture.classes != len(self.classes):
            raise FineSpotError(
                f"expected {self.architecture.classes} class names for the architecture but got {len(self.classes)}"
            )
        if len(self.mean) != CHANNELS or len(self.std) != CHANNELS:
            raise FineSpotError(
                f"expected mean and std of {CHANNELS} channels but got {len(self.mean)} and {len(self.std)}"
            )
        if not 1 <= self.imgsz <= LARGEST_SIDE or self.max_det < 1 or not 0 <= self.conf <= 1 or not 0 <= self.iou <= 1:
            raise FineSpotError(
                f"expected imgsz from 1 to {LARGEST_SIDE}, max_det of 1 or more, conf and iou from 0 to 1 but got "
                f"{self.imgsz}, {self.max_det}, {self.conf}, {self.iou}"
            )
        if self.fit not in FITS:
            raise FineSpotError(f"expected a fit of {', '.join(FITS)} but got '{self.fit}'")
        merge, metric = (None, None) if self.tiling is None else (self.tiling.merge, self.tiling.metric)
        for text, compared in ((self.nms, None), (merge, metric)):
            if text is not None and ":" in text:  # reading a file must not import what it names
                raise FineSpotError(
                    f"expected a suppression of FineSpot's own but got '{text}'", hint="give one of yours in prediction"
                )
            if text is not None:
                suppressor(text, compared)
        if self.objects is not None and not min(self.objects.side, self.objects.factor) > 0:
            raise FineSpotError(f"expected sides and factors above 0 but got {self.objects}")
        if self.resolution is not None and not 0 < self.resolution < math.inf:
            raise FineSpotError(f"expected a resolution above 0 m a pixel but got {self.resolution}")
        if min(self.std) <= 0:
            raise FineSpotError(f"expected standard deviations above 0 but got {self.std}")

    @property
    def normalization(self) -> Normalization:
        """Mean and std as one."""
        return Normalization(self.mean, self.std)

    def own_parts(self) -> list[str]:
        """The dotted paths (`my_parts:Neck`) that the architecture names: code outside FineSpot."""
        architecture = self.architecture
        return [text for text in _texts([architecture.family, architecture.options]) if ":" in text]

    def to_json(self) -> str:
        """The text that the weight file keeps."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read the text of a weight file.

        Raises
        ------
        FineSpotError
            The file comes from a newer FineSpot or holds no detector, or the text is not a card.
        """
        return decode(text, cls, DETECTOR)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


class _Head(msgspec.Struct):
    format_version: int
    kind: str = DETECTOR


def kind_of(description: str) -> str:
    """What the text of a weight file describes: a detector or a seeker."""
    with _readable():
        return msgspec.json.decode(description, type=_Head).kind


def decode(description: str, card: type[C], kind: str) -> C:
    """The card in the text of a weight file, checked.

    Raises
    ------
    FineSpotError
        The file comes from a newer FineSpot or is of another kind, or the text is no such card.
    """
    with _readable():
        head = msgspec.json.decode(description, type=_Head)
        if head.format_version > FORMAT_VERSION:
            raise FineSpotError(
                f"expected format version {FORMAT_VERSION} or older but got {head.format_version}",
                hint="the file was written by a newer FineSpot: update this one",
            )
        if head.kind != kind:
            raise FineSpotError(f"expected a {kind} but it holds a {head.kind}", hint=_USES.get(head.kind))
        found = msgspec.json.decode(description, type=card)
    found.check()
    return found


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FineSpotError(f"the description under 'finespot' cannot be read ({error})") from error
