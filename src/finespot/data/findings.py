"""What is wrong in a data set, gathered instead of refused.

Readers raise at the first thing that is wrong. `finespot data check` wants all of it: it hands a `Findings` to the
reader, whose records then stand under `Builder.guard`, which notes what would have been raised and leaves the record
out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing.

    Attributes
    ----------
    kind:
        What sort of thing, such as `record` (refused by the reader), `clipped`, `empty` or `twice`.
    what:
        The finding in words.
    where:
        File and line or record.
    picture:
        The picture file that it concerns, or "".
    """

    kind: str
    what: str
    where: str
    picture: str = ""


class Findings:
    """A list of findings that stays small: of each kind the first `most` are kept, all are counted."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.counts: dict[str, int] = {}
        self._kept: list[Finding] = []

    def add(self, kind: str, what: str, where: object, picture: str = "") -> None:
        """Note one."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count <= self.most:
            self._kept.append(Finding(kind, what, str(where), picture))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def of(self, kind: str) -> list[Finding]:
        """The kept findings of a kind."""
        return [one for one in self._kept if one.kind == kind]
