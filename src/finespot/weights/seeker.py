"""The weight file of a seeker: as that of a detector, with a card of its own.

The card says `kind` seeker, so that neither file is taken for the other. Tensors, number types and checks are those of
`weights.file`; nothing in the file is executed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from finespot.errors import FineSpotError
from finespot.nn.seeker import SeekerNet
from finespot.weights.card import FORMAT_VERSION, SEEKER, decode, kind_of
from finespot.weights.catalog import resolve
from finespot.weights.file import check_fit, naming, read, write

# A picture is reduced by this factor at most: beyond, not even a person fills a pixel.
LARGEST_REDUCTION = 64


class SizeReach(msgspec.Struct, kw_only=True, frozen=True):
    """Of the objects of one size: its name, sides (root of the area) in pixels from `low` to below `high` (None: any),
    how many there were, and how many of them are reached.
    """

    label: str
    low: float
    high: float | None
    objects: int
    reached: int


class SeekerCalibration(msgspec.Struct, kw_only=True, frozen=True):
    """A threshold and what it gives on the pictures that it was chosen on.

    Attributes
    ----------
    threshold:
        The largest with which `target` of the objects are reached; cells of this heat or more are hot.
    target, recall:
        The share of the objects that was to be reached, and the share that is.
    margin:
        How far a hot cell may be from an object that it reaches, in pixels of the picture; None where tiles reach it.
    tile, overlap, tiles:
        The side and overlap of the tiles that reach objects, and the share of them that are looked at.
    hot:
        The mean share of a picture's area that is hot.
    objects, pictures, sizes:
        What was counted, and the same by size.
    data, split:
        On which pictures.
    """

    threshold: float
    target: float
    recall: float
    margin: int | None
    hot: float
    objects: int
    pictures: int
    sizes: list[SizeReach]
    data: str
    split: str
    tile: int | None = None
    overlap: float | int | None = None
    tiles: float | None = None

    @property
    def lost(self) -> float:
        """The share of the objects that is not reached."""
        return 1 - self.recall


class SeekerCard(msgspec.Struct, kw_only=True, tag_field="kind", tag=SEEKER):
    """A seeker and how it wants to be used.

    Attributes
    ----------
    reduction:
        Pixels of a picture, on each side, that become one of the network's.
    stride, width:
        Of the network; see `nn.seeker.SeekerNet`. A cell is `reduction * stride` pixels of the picture.
    calibration:
        The threshold; None where nobody chose one.
    data_licence, provenance:
        The licence of the training data, and where the weights come from.
    """

    reduction: int
    stride: int = 8
    width: int = 16
    calibration: SeekerCalibration | None = None
    data_licence: str = ""
    provenance: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION

    def check(self) -> None:
        """Raise `FineSpotError` where an entry is out of range."""
        if not 1 <= self.reduction <= LARGEST_REDUCTION:
            raise FineSpotError(f"expected a reduction from 1 to {LARGEST_REDUCTION} but got {self.reduction}")
        found = self.calibration
        shares = [] if found is None else [found.threshold, found.target, found.recall, found.hot]
        if not all(math.isfinite(one) and 0 <= one <= 1 for one in shares):
            raise FineSpotError(f"expected a threshold and shares from 0 to 1 but got {shares}")

    @property
    def cell(self) -> int:
        """The side of a cell in pixels of the picture."""
        return self.reduction * self.stride

    def to_json(self) -> str:
        """The text that the weight file keeps."""
        return msgspec.json.encode(self).decode()


def is_seeker(name_or_path: str | Path) -> bool:
    """Whether a weight file holds a seeker, and not a detector."""
    path = resolve(name_or_path)
    with naming(path):
        return kind_of(read(path, tensors=False)[1]) == SEEKER


def save_seeker(path: str | Path, network: SeekerNet, card: SeekerCard, half: bool = True) -> Path:
    """Write a seeker with its card, in one step: a failure keeps the file that stood there. `half` as in `save`.

    Raises
    ------
    FineSpotError
        The card is not this network's, a tensor holds NaN or infinity, or the file cannot be written.
    """
    card.check()
    if (card.stride, card.width) != (network.stride, network.width):
        raise FineSpotError("expected the card of this seeker but got another network's", where=path)
    return write(path, network.state_dict(), card.to_json(), half)


def read_seeker_card(name_or_path: str | Path) -> SeekerCard:
    """The card of a seeker's weight file, without its tensors."""
    path = resolve(name_or_path)
    with naming(path):
        return decode(read(path, tensors=False)[1], SeekerCard, SEEKER)


def read_seeker(name_or_path: str | Path) -> tuple[SeekerNet, SeekerCard]:
    """Build the network that a weight file describes and fill it: float32, on the CPU, in evaluation mode.

    Raises
    ------
    FineSpotError
        No such file; not a safetensors file or a broken one; a detector's; written by a newer version; tensors that do
        not fit the network.
    """
    path = resolve(name_or_path)
    tensors, description = read(path, tensors=True)
    with naming(path):
        card = decode(description, SeekerCard, SEEKER)
        network = SeekerNet(stride=card.stride, width=card.width)
    check_fit(path, network.state_dict(), tensors)
    network.load_state_dict(tensors)
    return network.eval(), card
