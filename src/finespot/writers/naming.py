"""One output name per picture, also where two folders hold pictures of the same name."""

from __future__ import annotations


class Names:
    """File stems of sources: the stem itself, or `stem_2`, `stem_3` ... for further sources with that stem.

    Stems that differ only in case count as the same: where the file system does not tell them apart, `A.txt` would
    overwrite `a.txt`, and names should not depend on it. The same source always gets the same name. Share one `Names`
    between writers, so that the label file, the drawn picture and the COCO records of a picture carry one name.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, source: str) -> str:
        """The name of a source (a path as it stands in `Detections.source`)."""
        if source not in self._names:
            stem = source.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0] or "picture"
            name, number = stem, 1
            while name.casefold() in self._taken:
                number += 1
                name = f"{stem}_{number}"
            self._names[source] = name
            self._taken.add(name.casefold())
        return self._names[source]
