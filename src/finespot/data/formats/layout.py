"""What a format is: the contract of the classes in this package.

A format reads: `splits` names what there is, `open` reads and checks one split. Some also write: they say where a
picture belongs (`picture`) and write the label files of all splits (`write`); placing the pictures is the converter's
work, so that a link, a copy and a painted copy are the same to every format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from finespot.data.dataset import Dataset
from finespot.data.findings import Findings


class Format(Protocol):
    """Reads data sets of one layout. Its constructor takes the format's options, as text, with defaults."""

    def splits(self, place: Path) -> list[str]:
        """The names of the splits below `place`, official ones in official spelling."""

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split; see `finespot.data.builder.Builder` for what `findings` changes."""


@dataclass(frozen=True)
class Keeps:
    """What a layout can say; converting into it loses the rest, which is counted and told.

    Attributes
    ----------
    regions:
        Ignore regions without a class.
    ignored:
        Objects of a class that are flagged as ignored.
    area:
        An area other than the box's.
    attributes:
        Names of attributes that come back with their values.
    empty:
        Pictures without objects.
    """

    regions: bool = False
    ignored: bool = False
    area: bool = False
    attributes: frozenset[str] = frozenset()
    empty: bool = True


@dataclass(frozen=True)
class Part:
    """One split on its way out; `names[i]` is the file name (with extension) of picture i, unique in the split."""

    split: str
    dataset: Dataset
    names: tuple[str, ...]


@runtime_checkable
class Writable(Protocol):
    """A format that also writes."""

    @property
    def keeps(self) -> Keeps:
        """What comes back when the data set is read again."""

    def picture(self, split: str, name: str) -> str:
        """Where a picture of this file name belongs, below the data set's folder, with `/`."""

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write the label files of all splits, and lists and tables, below `root`; pictures are not there yet.

        Coordinates are written so that reading them back gives the same box to 0.01 px. Truth that the format does
        not keep (see `keeps`) is left out.
        """
