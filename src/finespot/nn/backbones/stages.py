"""Backbones of four stages, of strides 4, 8, 16 and 32: which of their maps are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.structures import Features, Level

STRIDES = (4, 8, 16, 32)


def levels_at(strides: Sequence[int], widths: Sequence[int], backbone: str) -> tuple[Level, ...]:
    """The levels of the stages whose stride is in `strides`, fine to coarse; `widths` are the channels of all four.

    Raises
    ------
    FineSpotError
        No stride, or another one, is wanted, or there are not four widths; `backbone` is named.
    """
    if not strides or set(strides) - set(STRIDES) or len(widths) != len(STRIDES):
        raise FineSpotError(
            f"expected {len(STRIDES)} stages and strides out of {STRIDES} but got {len(widths)} and {tuple(strides)}",
            where=f"{backbone} backbone",
        )
    return tuple(Level(width, stride) for width, stride in zip(widths, STRIDES) if stride in strides)


def run(x: Tensor, stages: Iterable[nn.Module], levels: tuple[Level, ...]) -> Features:
    """What the stages of `levels` make of the stem's map; those behind the last of them do not run."""
    wanted = {level.stride for level in levels}
    maps = []
    for stride, stage in zip(STRIDES, stages):
        if stride > max(wanted):
            break
        x = stage(x)
        if stride in wanted:
            maps.append(x)
    return Features(maps, levels)
