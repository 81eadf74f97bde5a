"""Files with a class name a line, and names that fit into line-based files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from finespot.data.formats.text import read_text
from finespot.errors import FineSpotError


def read_class_list(file: Path) -> tuple[str, ...]:
    """The names of a file, which must differ."""
    names = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if not names:
        raise FineSpotError("expected class names, one a line, but there are none", where=file)
    doubled, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise FineSpotError(f"class names must differ, but {doubled} occurs more than once", where=file)
    return names


def class_list_text(names: Sequence[str], where: object) -> str:
    """What a file of the names holds; a name that would not come back is refused."""
    for name in names:
        if name != name.strip() or len(name.splitlines()) != 1:
            raise FineSpotError(f"expected a class name that fits on a line but got {name!r}", where=where)
    return "".join(f"{name}\n" for name in names)
