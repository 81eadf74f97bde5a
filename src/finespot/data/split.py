"""Divide pictures into splits so that what belongs together stays together.

Frames of one video, pictures of one flight and tiles of one picture show the same objects; where they lie in two
splits, a score says nothing about new places. Groups are therefore placed whole, heavy ones first, each where the
splits come nearest to the wished shares of the pictures and of the objects of every class; then groups are moved and
swapped as long as that brings them nearer. The same seed gives the same splits on every machine: the order comes from
a hash of the pictures' names below their common folder, and sums are made in a fixed order.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from finespot.data.builder import counted
from finespot.data.convert.naming import common_folder
from finespot.data.convert.pool import Pool, distinct, join
from finespot.data.convert.tally import tally
from finespot.errors import FineSpotError, unknown

GROUPINGS = ("auto", "video", "prefix", "file", "none")

# `auto` takes names for those of frames when they fall into groups this small and so many of them.
_LARGEST_SHARE, _GROUPS_PER_SPLIT = 0.5, 2
# Pairs of groups are swapped, too, where there are so few that it matters and costs little.
_FEW = 128
# Moving groups ends when nothing gets better, which is after very few rounds, or after this many.
_ROUNDS = 20
# Improvements below this are rounding.
_LEAST_GAIN = 1e-12
# The entry of the pictures among the shares of a group; the others are labels.
_PICTURES = -1
# Shares that miss the wish by more than this are worth a word.
_WORTH_SAYING = 0.05

_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Grouping:
    """How groups are made: `by` one of `GROUPINGS`, `gap` the largest step between frame numbers of one group.

    `video` asks the data set, `prefix` looks at file names without the number at their end, `file` keeps windows of a
    file together, `none` nothing. Without a gap all numbers of a prefix are one group.
    """

    by: str = "auto"
    gap: int | None = None

    def __post_init__(self) -> None:
        if self.by not in GROUPINGS:
            raise unknown("grouping", self.by, GROUPINGS, where="group-by")
        if self.gap is not None and self.gap < 0:
            raise FineSpotError(f"expected a gap of 0 or more but got {self.gap}", where="gap")
        if self.gap is not None and self.by not in ("auto", "prefix"):
            raise FineSpotError(f"a gap has no effect with group-by {self.by}", where="gap", hint="group by prefix")


def parse_ratios(words: Sequence[str]) -> dict[str, float]:
    """`train=0.7,val=0.2` and the like as shares by split.

    Raises
    ------
    FineSpotError
        A share is no number above 0, a split is named twice, or the shares do not add up to 1.
    """
    ratios: dict[str, float] = {}
    for word in [part.strip() for one in words for part in one.split(",")]:
        name, _, text = word.partition("=")
        try:
            share = float(text)
        except ValueError:
            raise FineSpotError(f"expected ratios as train=0.8 but got '{word}'", where="ratios") from None
        if not name or name in ratios or not 0 < share <= 1:
            raise FineSpotError(
                f"expected each split once, with a share above 0 up to 1, but got '{word}'", where="ratios"
            )
        ratios[name] = share
    total = math.fsum(ratios.values())
    if abs(total - 1) > 1e-6:
        raise FineSpotError(f"expected ratios that add up to 1 but got {total:g}", where="ratios")
    return ratios


def divide(
    parts: Sequence[tuple[str, Pool]], ratios: Mapping[str, float], *, seed: int = 0, grouping: Grouping | None = None
) -> tuple[list[tuple[str, Pool]], list[str]]:
    """Divide the pictures of all parts anew; what was decided and what came of it, in words.

    Raises
    ------
    FineSpotError
        There are fewer groups than splits, or the data set names no videos to group by.
    """
    grouping = grouping or Grouping()
    pool = join([part for _, part in parts])
    folders = [folder for _, part in parts for folder in [common_folder(part.paths)] * len(part)]
    groups, note = group_pictures(pool, folders, grouping, len(ratios))
    joined, notes = distinct(replace(pool, groups=groups))
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(joined.groups):
        members[group].append(index)
    if len(members) < len(ratios):
        raise FineSpotError(
            f"expected at least {len(ratios)} groups for {len(ratios)} splits but got {len(members)}",
            where="group-by",
            hint="group by file, or by prefix with a gap",
        )
    keys, weights = _weigh(joined, list(members.values()), seed)
    places = assign(keys, weights, list(ratios.values()))
    divided = []
    for split, name in enumerate(ratios):
        pictures = sorted(p for place, group in zip(places, members.values()) if place == split for p in group)
        divided.append((name, joined.select(pictures)))
    return divided, [note, *notes, *_outcome(divided, ratios, len(joined))]


def group_pictures(pool: Pool, folders: Sequence[str], grouping: Grouping, splits: int) -> tuple[list[str], str]:
    """For each picture the group it belongs to, and in words how they were made.

    `folders` are those that the pictures' data sets have in common: names count below them.
    """
    by = grouping.by
    if by == "auto" and grouping.gap is not None:
        by = "prefix"
    named = Counter(pool.groups)
    videos = any(group != path for group, path in zip(pool.groups, pool.paths)) and len(named) < len(set(pool.paths))
    if by == "video" and not videos:
        raise FineSpotError("this data set names no videos", where="group-by", hint="group by prefix")
    if by == "auto" and videos:
        return list(pool.groups), f"grouped by video, which the data set names: {len(named)} groups"
    if by in ("auto", "prefix"):
        groups = _by_prefix(pool.paths, folders, grouping.gap)
        sizes = Counter(groups)
        said = f"grouped by file name without number: {counted(len(sizes), '1 group', 'groups')}"
        if grouping.gap is not None:
            said += f", numbers at most {grouping.gap} apart"
        if by == "prefix" or _like_frames(sizes, len(pool), splits):
            return groups, said
        why = f"names without their numbers make {counted(len(sizes), '1 group', 'groups')}, not fit to divide"
        return list(pool.paths), f"grouped by file: {why}; frames of one flight may land in different splits"
    if by == "video":
        return list(pool.groups), f"grouped by video: {len(named)} groups"
    if by == "file":
        return list(pool.paths), f"grouped by file: {len(set(pool.paths))} groups"
    return [str(index) for index in range(len(pool))], "not grouped"


def assign(keys: Sequence[str], weights: Sequence[Mapping[int, float]], ratios: Sequence[float]) -> list[int]:
    """The split of each group.

    Parameters
    ----------
    keys:
        Decide the order among groups of about equal weight.
    weights:
        The shares that a group has: of all pictures (entry -1) and of all objects of each class that it holds.
    ratios:
        The wished share of each split.
    """
    # To the next power of two, so that the keys decide among groups of about equal weight.
    heavy = [math.frexp(max(one.values()))[1] for one in weights]
    order = sorted(range(len(keys)), key=lambda group: (-heavy[group], keys[group]))
    balance = _Balance(weights, ratios)
    for group in order:
        balance.move(group, min(balance.splits, key=lambda split: balance.change(group, split, 1)))
    for split in balance.splits:
        if not balance.counts[split]:
            balance.move(min(balance.movable(order), key=lambda group: balance.gain(group, split)), split)
    for _ in range(_ROUNDS):
        better = balance.improve_by_moves(order)
        if len(order) <= _FEW:
            better = balance.improve_by_swaps(order) or better
        if not better:
            break
    return balance.places


class _Balance:
    """Which split each group is in, and how far all splits are from the wish: the sum of squared differences."""

    def __init__(self, weights: Sequence[Mapping[int, float]], ratios: Sequence[float]) -> None:
        self.weights, self.ratios, self.splits = weights, ratios, range(len(ratios))
        entries = {entry for one in weights for entry in one}
        # The pictures weigh as much as all classes together.
        self.scale = {entry: 1.0 if entry == _PICTURES else 1.0 / (len(entries) - 1) for entry in entries}
        self.held = [dict.fromkeys(entries, 0.0) for _ in ratios]
        self.places = [-1] * len(weights)
        self.counts: Counter[int] = Counter()

    def change(self, group: int, split: int, sign: int) -> float:
        """By how much the sum grows when the group is added to the split (sign 1) or taken from it (-1)."""
        held, wish = self.held[split], self.ratios[split]
        return math.fsum(
            self.scale[entry] * weight * (weight + 2 * sign * (held[entry] - wish))
            for entry, weight in self.weights[group].items()
        )

    def gain(self, group: int, split: int) -> float:
        """By how much the sum grows when the group moves to the split."""
        here = self.places[group]
        return 0.0 if here == split else self.change(group, split, 1) + self.change(group, here, -1)

    def movable(self, order: Sequence[int]) -> Iterator[int]:
        """The groups that are not the last of their split, as of when each is met."""
        return (group for group in order if self.counts[self.places[group]] > 1)

    def move(self, group: int, split: int) -> None:
        """Put the group into the split."""
        here, self.places[group] = self.places[group], split
        self.counts.update({here: -1, split: 1})
        for entry, weight in self.weights[group].items():
            self.held[split][entry] += weight
            if here >= 0:
                self.held[here][entry] -= weight

    def improve_by_moves(self, order: Sequence[int]) -> bool:
        """Move each group to where it lowers the sum most; whether any was moved."""
        moved = False
        for group in self.movable(order):
            gain, split = min((self.gain(group, split), split) for split in self.splits)
            if gain < -_LEAST_GAIN:
                self.move(group, split)
                moved = True
        return moved

    def improve_by_swaps(self, order: Sequence[int]) -> bool:
        """Swap pairs of groups where that lowers the sum; whether any were swapped."""
        swapped = False
        for one, other in combinations(order, 2):
            first, second = self.places[one], self.places[other]
            if first == second:
                continue
            gain = self.gain(one, second)
            self.move(one, second)
            if gain + self.gain(other, first) < -_LEAST_GAIN:
                self.move(other, first)
                swapped = True
            else:
                self.move(one, first)
        return swapped


def _by_prefix(paths: Sequence[str], folders: Sequence[str], gap: int | None) -> list[str]:
    """Groups by folder and file name without the number at its end; a name without number is its own group.

    With a gap, only numbers that steps of at most `gap` connect are together.
    """
    parsed = [_name_and_number(os.path.relpath(path, folder)) for path, folder in zip(paths, folders)]
    if gap is None:
        return [name for name, _ in parsed]
    numbers: dict[str, set[int]] = defaultdict(set)
    for name, number in parsed:
        numbers[name].add(number)
    first: dict[tuple[str, int], int] = {}
    for name, found in numbers.items():
        start = last = min(found)
        for number in sorted(found):
            start = number if number - last > gap else start
            first[name, number] = start
            last = number
    return [f"{name}{first[name, number]}" for name, number in parsed]


def _name_and_number(path: str) -> tuple[str, int]:
    stem = os.path.splitext(path)[0].replace(os.sep, "/")
    match = _NUMBERED.fullmatch(stem)
    return (match[1], int(match[2])) if match else (f"{stem}:", 0)


def _like_frames(sizes: Mapping[str, int], pictures: int, splits: int) -> bool:
    """Whether groups by name look like flights or videos and can be divided."""
    several = sum(count for count in sizes.values() if count > 1)
    enough = len(sizes) >= _GROUPS_PER_SPLIT * splits
    return enough and several >= 0.5 * pictures and max(sizes.values()) <= _LARGEST_SHARE * pictures


def _weigh(pool: Pool, groups: Sequence[Sequence[int]], seed: int) -> tuple[list[str], list[dict[int, float]]]:
    """Per group the key of its place in the order, and its shares of the pictures and of each class's objects."""
    root = common_folder(pool.paths)
    names = [
        f"{os.path.relpath(path, root).replace(os.sep, '/')}:{window}" for path, window in zip(pool.paths, pool.windows)
    ]
    group_of = np.empty(len(pool), np.int64)
    for number, group in enumerate(groups):
        group_of[list(group)] = number
    real = ~pool.rows.ignore
    width = len(pool.classes)
    flat = group_of[pool.picture_of_rows()[real]] * width + pool.rows.labels[real]
    counts = np.bincount(flat, minlength=len(groups) * width).reshape(len(groups), width)
    totals = counts.sum(axis=0).tolist()
    keys, weights = [], []
    for group, row in zip(groups, counts.tolist()):
        name = min(names[picture] for picture in group)
        keys.append(hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).hexdigest())
        shares = {label: count / totals[label] for label, count in enumerate(row) if count}
        weights.append({_PICTURES: len(group) / len(pool), **shares})
    return keys, weights


def _outcome(divided: Sequence[tuple[str, Pool]], ratios: Mapping[str, float], pictures: int) -> list[str]:
    """What to say of splits that are far from the wish or miss a class."""
    notes = []
    counts = {name: tally(pool) for name, pool in divided}
    for name, pool in divided:
        share = len(pool) / pictures
        if abs(share - ratios[name]) > _WORTH_SAYING:
            notes.append(f"{name} has {share:.0%} of the pictures, not {ratios[name]:.0%}: groups are not divided")
        missing = [
            label for label, count in counts[name].objects.items()
            if not count and any(other.objects[label] for other in counts.values())
        ]  # fmt: skip
        if missing:
            notes.append(f"{name} has no object of {', '.join(missing)}")
    return notes
