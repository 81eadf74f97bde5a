"""What is wrong in a data set, gathered instead of refused.

Readers raise at the first thing that is wrong. `finespot data check` wants all of it: it hands a `Findings` to the
reader, whose records then stand under `Builder.guard`, which notes what would have been raised and leaves the record
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# What a reader refuses, where it says nothing closer.
RECORD = "record"

# x1, y1, x2, y2 in pixels of the picture.
Corners = tuple[float, float, float, float]


def shown_box(corners: Corners) -> str:
    """A box for messages: (x1, y1, x2, y2)."""
    return "(" + ", ".join(f"{value:.6g}" for value in corners) + ")"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes
    ----------
    kind:
        What sort of thing, such as `record` (refused by the reader), `missing`, `clipped` or `twice`.
    what:
        The finding in words.
    where:
        File and line or record.
    picture:
        The picture file that it concerns, or "".
    box:
        The box that it concerns, as its label has it, or None.
    """

    kind: str
    what: str
    where: str
    picture: str = ""
    box: Corners | None = None


class Findings:
    """A list of findings that stays small: of each kind the first `most` are kept, all are counted."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.counts: dict[str, int] = {}
        self._kept: list[Finding] = []

    def add(self, kind: str, what: str, where: object, picture: str = "", box: Corners | None = None) -> None:
        """Note one; see `Finding`."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count <= self.most:
            self._kept.append(Finding(kind, what, str(where), picture, box))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def of(self, kind: str) -> list[Finding]:
        """The kept findings of a kind."""
        return [one for one in self._kept if one.kind == kind]
