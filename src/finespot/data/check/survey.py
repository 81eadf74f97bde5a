"""The splits of a data set, opened for checking: what could be read, and what was found about each.

Picture files are numbered once over all splits, by their place on the disk: a file that two names or two splits point
at is one file, decoded once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import no_split
from finespot.data.dataset import Dataset, dataset_splits, find_format, open_dataset
from finespot.data.findings import Corners, Finding, Findings
from finespot.data.formats.yolo import Yolo
from finespot.errors import FineSpotError


@dataclass
class Split:
    """One opened split with its findings.

    `yolo`: labels may stand in YOLO files. `pictures` lists by kind the pictures (positions) that findings are about,
    `copied` those of which a later split has a copy.
    """

    name: str
    dataset: Dataset
    yolo: bool = False
    findings: Findings = field(default_factory=Findings)
    pictures: dict[str, list[int]] = field(default_factory=dict)
    copied: list[int] = field(default_factory=list)

    def note(self, kind: str, what: str, index: int, where: str | None = None, box: Corners | None = None) -> None:
        """Note a finding about the picture at `index`, or a box of it; its file is the place where none is given."""
        path = self.dataset.path(index)
        self.findings.add(kind, what, path if where is None else where, path, box)
        self.pictures.setdefault(kind, []).append(index)


@dataclass
class Survey:
    """All that was opened: the splits, those that could not be, and the picture files of all of them.

    `files[n]` is a path of file n and `numbers[s][i]` the number of the file of picture i in split s.
    """

    data: str
    splits: list[Split]
    unreadable: dict[str, Finding]
    files: list[str]
    numbers: list[NDArray[np.int64]]

    def pictures(self) -> Iterator[tuple[Split, int, int]]:
        """(split, index, number of its file) of every picture, split by split."""
        for split, numbers in zip(self.splits, self.numbers):
            for index, number in enumerate(numbers.tolist()):
                yield split, index, number


def open_survey(data: str | os.PathLike[str], splits: Sequence[str] | None = None) -> Survey:
    """Open the splits of a data set (all where none are named), noting what is wrong instead of raising.

    Raises
    ------
    FineSpotError
        There is no such data set or split, or not one split can be opened.
    """
    known = dataset_splits(data)
    yolo = isinstance(find_format(data)[0], Yolo)
    for name in splits or ():
        if name not in known:
            raise no_split(name, known, os.fspath(data))
    opened: list[Split] = []
    unreadable: dict[str, Finding] = {}
    first: FineSpotError | None = None
    for name in dict.fromkeys(splits or known):
        findings = Findings()
        try:
            opened.append(Split(name, open_dataset(data, name, findings), yolo, findings))
        except FineSpotError as error:
            first = first or error
            what = f"{error.what}; {error.hint}" if error.hint else error.what
            unreadable[name] = Finding("unreadable", what, str(error.where or data))
    if not opened:
        raise first or FineSpotError("expected at least one split but got none", where=os.fspath(data))
    return Survey(os.fspath(data), opened, unreadable, *_number_files(opened))


def _number_files(splits: Sequence[Split]) -> tuple[list[str], list[NDArray[np.int64]]]:
    files: list[str] = []
    known: dict[object, int] = {}
    numbers = []
    for split in splits:
        row = np.empty(len(split.dataset), np.int64)
        for index in range(len(split.dataset)):
            path = split.dataset.path(index)
            place = _place(path)
            if place not in known:
                known[place] = len(files)
                files.append(path)
            row[index] = known[place]
        numbers.append(row)
    return files, numbers


def _place(path: str) -> object:
    """What two names of one file have in common."""
    try:
        found = os.stat(path)
    except OSError:  # vanished since it was opened
        return path
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
