"""Findings about picture files: broken, odd or turned ones, copies, and pictures that two splits share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finespot.data.check.copies import Ints
from finespot.data.check.inspection import Facts
from finespot.data.check.survey import Split, Survey
from finespot.structures import Window

# Pixels of one picture that may lie between two boxes of the same object in two label files.
_SAME_PX = 0.5

_EXTENSIONS = {
    "BMP": (".bmp",),
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png",),
    "PPM": (".pgm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_TURNS = {3: "by 180 degrees", 6: "by 90 degrees to the right", 8: "by 90 degrees to the left"}


def check_files(survey: Survey, facts: Sequence[Facts]) -> None:
    """What each picture's own file shows."""
    channels = Counter(one.channels for one in facts if not one.error)
    rarer = min(channels, key=lambda count: channels[count]) if len(channels) == 2 else None
    for split, index, number in survey.pictures():
        one = facts[number]
        if one.error:
            split.note("truncated", one.error, index)
            continue
        extension = "." + split.dataset.path(index).rpartition(".")[2].lower()
        if one.format in _EXTENSIONS and extension not in _EXTENSIONS[one.format]:
            split.note("extension", f"holds {one.format}", index)
        if one.orientation > 1:
            turned = _TURNS.get(one.orientation, "and mirrored")
            split.note("exif", f"is shown turned {turned} (orientation {one.orientation})", index)
        if one.bit_depth == 16:
            split.note("sixteen-bit", "has samples of 16 bits", index)
        elif one.mode not in ("L", "RGB"):
            split.note("odd-mode", f"has the mode {one.mode}", index)
        if one.channels == rarer:
            word, other = ("gray", "color") if rarer == 1 else ("color", "gray")
            split.note("channels", f"is {word} among {max(channels.values()):,} {other} ones", index)


def check_copies(survey: Survey, first: Ints) -> None:
    """The same picture (file content and window) twice in a split, or in two."""
    seen: dict[tuple[int, Window | None], tuple[Split, int]] = {}
    for split, indices in _by_split(survey):
        copies: list[tuple[int, Split, int]] = []
        for index, number in indices:
            key = (int(first[number]), split.dataset.window(index))
            other, other_index = seen.setdefault(key, (split, index))
            if other is split and other_index == index:
                continue
            if other is split:
                split.note("copy", "shows the same as another", index, where=split.dataset.path(other_index))
                _compare_labels(split, index, other, other_index)
            else:
                copies.append((index, other, other_index))
        if copies and len(copies) == len(indices):
            _note_same_split(split, copies)
            continue
        for index, other, other_index in copies:
            where = other.dataset.path(other_index)
            split.note("leak-copy", f"is also in {other.name}", index, where)
            other.copied.append(other_index)
            _compare_labels(split, index, other, other_index)


def check_twins(survey: Survey, first: Ints, home: Ints, twins: tuple[Ints, Ints]) -> None:
    """Pictures that nearly equal another in their split or in an earlier one."""
    inside, across = twins
    for place, (split, indices) in enumerate(_by_split(survey)):
        for index, number in indices:
            content = int(first[number])
            if home[content] != place:  # an exact copy of a picture of an earlier split
                continue
            if across[content] >= 0:
                owner = survey.splits[home[across[content]]].name
                split.note("leak-near", f"looks like one of {owner}", index, survey.files[across[content]])
            if inside[content] >= 0:
                split.note("near", "looks like another", index, survey.files[inside[content]])


def check_groups(survey: Survey) -> None:
    """Videos, scenes or large pictures of which two splits have a part."""
    owners: dict[str, Split] = {}
    for split, indices in _by_split(survey):
        known = set(split.pictures.get("leak-copy", ()))
        for index, _ in indices:
            group = split.dataset.group(index)
            owner = owners.setdefault(group, split)
            if owner is not split and index not in known and not split.findings.counts.get("same-split"):
                split.note("leak-group", f"belongs to {group}, of which {owner.name} has a part", index)


def first_split(survey: Survey) -> Ints:
    """For each file the number of the first split that has it."""
    home = np.full(len(survey.files), len(survey.splits))
    for place, numbers in reversed(list(enumerate(survey.numbers))):
        home[numbers] = place
    return home


def _by_split(survey: Survey) -> list[tuple[Split, list[tuple[int, int]]]]:
    return [(split, list(enumerate(numbers.tolist()))) for split, numbers in zip(survey.splits, survey.numbers)]


def _note_same_split(split: Split, copies: Sequence[tuple[int, Split, int]]) -> None:
    names = Counter(other.name for _, other, _ in copies)
    shared = ", ".join(f"{count} are also in {name}" for name, count in names.items())
    what = f"of {len(copies)} pictures of {split.name}, {shared}"
    split.findings.add("same-split", what, split.dataset.name)


def _compare_labels(split: Split, index: int, other: Split, other_index: int) -> None:
    """Note where two copies of a picture have different truth."""
    if split.dataset.classes.names == other.dataset.classes.names:
        a, b = (_ordered(one, at) for one, at in ((split, index), (other, other_index)))
        if a.shape != b.shape or (np.abs(a - b) > _SAME_PX).any():
            what = f"has {len(a)} boxes, its copy {len(b)}" if len(a) != len(b) else "has other boxes than its copy"
            split.note("contradiction", what, index, other.dataset.path(other_index))


def _ordered(split: Split, index: int) -> NDArray[np.float64]:
    """Label, ignore flag and corners of each box, in an order that does not depend on the file's."""
    boxes, labels, ignore = split.dataset.columns(index)
    rows = np.column_stack([labels, ignore, boxes]).astype(np.float64)
    rounded = np.round(rows)
    return rows[np.lexsort(rounded.T[::-1])]
