"""Picture sizes that annotation files state, compared with those of the picture files, which count."""

from __future__ import annotations

from finespot.data.builder import Builder, counted
from finespot.structures import Size


class StatedSizes:
    """Gathers the pictures whose size is not what `source` says, for one note at the end."""

    def __init__(self, builder: Builder, source: str) -> None:
        self._builder, self._source = builder, source
        self._others: list[str] = []

    def compare(self, size: Size, stated: tuple[float | None, float | None], name: str, path: str, where: str) -> None:
        """Compare a picture's size with the stated (height, width); None states nothing."""
        height, width = (real if said is None else said for real, said in zip(size, stated))
        if (height, width) == size:
            return
        what = f"{name} is {size[1]}x{size[0]}, not {width:.10g}x{height:.10g}"
        self._others.append(what)
        if self._builder.findings is not None:
            self._builder.findings.add("size", what, where, path)

    def note(self) -> None:
        """Say how many differ."""
        if self._others:
            text = counted(len(self._others), "1 picture has another size", "pictures have other sizes")
            self._builder.notes.append(f"{text} than {self._source} says ({self._others[0]}); the picture files count")
