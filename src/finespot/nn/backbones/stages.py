"""Backbones of four stages, of strides 4, 8, 16 and 32: which of their maps are given, and how they are cut in two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

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


class Split(NamedTuple):
    """A backbone cut in two, its modules shared with it: what runs on the picture, what may run on windows.

    `stem` maps pictures (B, 3, H, W) to `Features`, the map of the cut first and all maps that are read behind it;
    `tail` maps these, or windows of them, to what the backbone gives. `parts` are the modules of the tail by name.
    """

    stem: Callable[[Tensor], Features]
    tail: Callable[[Features], Features]
    parts: dict[str, nn.Module]


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


def split_stages(
    begin: Callable[[Tensor], Tensor], stages: dict[str, nn.Module], levels: tuple[Level, ...], stride: int
) -> Split:
    """The cut behind the stage of `stride`; `begin` is what stands before the stages.

    Raises
    ------
    FineSpotError
        `stride` is not that of the finest of `levels`: what is finer would not come out of the tail.
    """
    check_cut(levels, stride)
    place = STRIDES.index(stride) + 1
    first, later = list(stages.values())[:place], dict(list(stages.items())[place:])

    def stem(images: Tensor) -> Features:
        x = begin(images)
        for stage in first:
            x = stage(x)
        return Features([x], levels[:1])

    def tail(features: Features) -> Features:
        x = features.maps[0]
        maps, wanted = [x], {level.stride for level in levels}
        for number, stage in zip(STRIDES[place:], later.values()):
            if number > max(wanted):
                break
            x = stage(x)
            if number in wanted:
                maps.append(x)
        return Features(maps, levels)

    return Split(stem, tail, later)


def check_cut(levels: tuple[Level, ...], stride: int) -> None:
    """Raise FineSpotError unless a backbone of `levels` can be cut at `stride`."""
    if levels[0].stride != stride:
        raise FineSpotError(
            f"expected to cut at the finest level, of stride {levels[0].stride}, but got {stride}", where="windows"
        )
