"""Every n-th picture of some splits of a data set, as a COCO data set whose pictures are links.

    python -m benchmarks.systems.thinned SOURCE FOLDER train=4 val=1

Frames of a flight are alike: what is left out costs less than epochs do, where there is no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from finespot.data.convert.pool import Pool
from finespot.data.convert.run import convert


def thinned(source: str, folder: str, every: dict[str, int]) -> dict[str, int]:
    """Write the data set and return its number of pictures by split."""
    kept: dict[str, int] = {}

    def divide(splits: Sequence[tuple[str, Pool]]) -> tuple[list[tuple[str, Pool]], list[str]]:
        chosen = [(name, pool.select(range(0, len(pool), every[name]))) for name, pool in splits]
        kept.update({name: len(pool) for name, pool in chosen})
        return chosen, []

    convert(source, f"coco:{folder}", splits=list(every), divide=divide, overwrite=True, verb=("convert",))
    return kept


if __name__ == "__main__":
    words = dict(word.split("=") for word in sys.argv[3:])
    counts = thinned(sys.argv[1], sys.argv[2], {name: int(number) for name, number in words.items()})
    print(", ".join(f"{count} pictures of {name}" for name, count in counts.items()))
