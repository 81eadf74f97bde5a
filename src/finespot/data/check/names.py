"""Findings about file names: what would overwrite or adjoin what.

Frames of one video that went to different splits show the same objects. Their names tell it: the same text before and
after the last number, and numbers close together. Pictures that are only numbered through look the same by name; where
pixels were decoded, frames must also look more alike than any two pictures of the splits do, or nothing is reported.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finespot.data.check.copies import Ints, Likeness
from finespot.data.check.survey import Survey

_NUMBERED = re.compile(r"(.*?)(\d{1,18})(\D*)", re.DOTALL)

# Evidence against: of so many neighbors or more, less than this share looks more alike than strangers (half is chance).
_ENOUGH, _LEAST_SHARE = 20, 0.65
# Strangers that each picture is compared with.
_STRANGERS = 10


@dataclass(frozen=True)
class _Frame:
    """A picture whose name holds a number: split number, picture, file number."""

    number: int
    split: int
    index: int
    file: int


def check_stems(survey: Survey) -> None:
    """Names that differ in extension or case only, in one folder, and names that occur in two folders."""
    beside: dict[tuple[str, str], str] = {}
    anywhere: dict[str, str] = {}
    for split, index, _ in survey.pictures():
        path = split.dataset.path(index)
        folder, name = os.path.split(path)
        stem = os.path.splitext(name)[0].casefold()
        other = beside.setdefault((folder, stem), path)
        if other != path:
            split.note("shared-stem", "has the same name but for extension or case", index, other)
            continue
        other = anywhere.setdefault(stem, path)
        if other != path:
            split.note("collide", "has the same name", index, other)


def check_frames(survey: Survey, apart: int, likeness: Likeness | None) -> list[str]:
    """Pictures whose names are up to `apart` numbers from one of an earlier split; returns notes on what was let go.

    Exact copies are noted as such alone.
    """
    notes = []
    pairs = _close(survey, apart)
    for place, split in enumerate(survey.splits):
        found = [pair for pair in pairs if pair[0].split == place]
        if not found or split.findings.counts.get("same-split"):
            continue
        share = _share_alike(survey, found, likeness) if likeness is not None else None
        if share is not None and share < _LEAST_SHARE:
            notes.append(
                f"{split.name}: {len(found)} pictures are within {apart} numbers of one of an earlier split, but look "
                f"no more alike than others do (in {share:.0%} of comparisons; chance is 50%): not taken for frames"
            )
            continue
        copies = set(split.pictures.get("leak-copy", ()))
        for frame, near in found:
            if frame.index not in copies:
                other = survey.splits[near.split]
                what = f"is {abs(frame.number - near.number)} apart by number from one of {other.name}"
                split.note("leak-frames", what, frame.index, other.dataset.path(near.index))
    return notes


def _close(survey: Survey, apart: int) -> list[tuple[_Frame, _Frame]]:
    """Each frame that has one of an earlier split close to it, with the closest."""
    videos: dict[tuple[str, str], list[_Frame]] = defaultdict(list)
    for place, numbers in enumerate(survey.numbers):
        for index, file in enumerate(numbers.tolist()):
            numbered = _numbered(survey.splits[place].dataset.path(index))
            if numbered is not None:
                video, number = numbered
                videos[video].append(_Frame(number, place, index, file))
    found: dict[tuple[int, int], tuple[_Frame, _Frame]] = {}
    for frames in videos.values():
        frames.sort(key=lambda frame: (frame.number, frame.split, frame.index))
        for ordered in (frames, frames[::-1]):
            last: dict[int, _Frame] = {}
            for frame in ordered:
                for split, near in last.items():
                    gap = abs(frame.number - near.number)
                    if split < frame.split and gap <= apart and near.file != frame.file:
                        best = found.get((frame.split, frame.index))
                        if best is None or gap < abs(best[0].number - best[1].number):
                            found[frame.split, frame.index] = (frame, near)
                last[frame.split] = frame
    return [found[key] for key in sorted(found)]


def _numbered(path: str) -> tuple[tuple[str, str], int] | None:
    """(text before and after the last number of a name, that number); a name of nothing else belongs to its folder."""
    folder, name = os.path.split(path)
    match = _NUMBERED.fullmatch(os.path.splitext(name)[0])
    if match is None:
        return None
    before, number, after = match.groups()
    return (before if before or after else folder + "/", after), int(number)


def _share_alike(survey: Survey, pairs: Sequence[tuple[_Frame, _Frame]], likeness: Likeness) -> float | None:
    """How often close frames look more alike than a frame and a stranger; None where too few can be compared."""
    frames: Ints = np.array([frame.file for frame, _ in pairs])
    near: Ints = np.array([near.file for _, near in pairs])
    usable = likeness.known[frames] & likeness.known[near]
    frames, near = frames[usable], near[usable]
    earlier = pairs[0][0].split
    strangers = np.concatenate(survey.numbers[:earlier])
    strangers = strangers[likeness.known[strangers]]
    if len(frames) < _ENOUGH or not len(strangers):
        return None
    alike = likeness(frames, near)
    rng = np.random.default_rng(0)
    wins = [alike > likeness(frames, rng.choice(strangers, len(frames))) for _ in range(_STRANGERS)]
    return float(np.mean(wins))
