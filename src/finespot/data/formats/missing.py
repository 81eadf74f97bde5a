"""Pictures that labels name and that are not there, or are there under a name in other letters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from finespot.data.builder import Builder
from finespot.errors import FineSpotError


class MissingPictures:
    """Refuses pictures that do not exist, each with the reason.

    Where a name differs from that of a file in upper and lower case only, the data set was made on a computer that
    takes the two for one: this is said instead.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._names: dict[Path, dict[str, str]] = {}

    def refuse(self, name: str, folders: Sequence[Path], where: str, hint: str | None = None) -> None:
        """Refuse the picture of this name (a path with `/` or `\\`), which was looked for below `folders`."""
        other = self._in_other_case(name, folders)
        with self._builder.guard(kind="missing" if other is None else "case"):
            if other is not None:
                what = f"expected {name} but the file is called {other}"
                raise FineSpotError(what, where=where, hint="rename one of the two")
            raise FineSpotError(f"the picture {name} does not exist", where=where, hint=hint)

    def _in_other_case(self, name: str, folders: Sequence[Path]) -> str | None:
        for folder in folders:
            place = folder / name.replace("\\", "/")
            if other := self._listed(place.parent).get(place.name.casefold()):
                return other
        return None

    def _listed(self, folder: Path) -> dict[str, str]:
        """The file names of a folder by what they are without case."""
        if folder not in self._names:
            names = os.listdir(folder) if os.path.isdir(folder) else []
            self._names[folder] = {name.casefold(): name for name in names}
        return self._names[folder]
