"""The splits of a data set, opened for checking: what could be read, and what was found about each.

Picture files are numbered once over all splits, by their place on the disk: a file that two names or two splits point
at is one file, decoded once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import no_split
from finespot.data.dataset import Dataset, dataset_splits, find_format, open_dataset
from finespot.data.findings import Finding, Findings
from finespot.data.formats.yolo import Yolo
from finespot.errors import FineSpotError

# Refused records that are kept to be sorted into kinds; more are counted as records.
_MOST_RECORDS = 100_000

# Readers say in words what they refuse. What matches none of these stays a `record`.
_WORDS = (
    (re.compile(r"the label file has no picture"), "orphan"),
    (re.compile(r"the picture (?P<name>.+?) does not exist(; looked in (?P<folders>[^;]+))?"), "missing"),
    (re.compile(r"\d+ of \d+ label files do not exist"), "absent"),
)
# What these are about never became a picture of the set; the finding's `picture` is then one read before.
_WITHOUT_PICTURE = ("orphan", "missing", "case", "absent")


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

    def note(self, kind: str, what: str, index: int, where: str | None = None) -> None:
        """Note a finding about the picture at `index`; its file is the place where none is given."""
        path = self.dataset.path(index)
        self.findings.add(kind, what, path if where is None else where, path)
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
        noted = Findings(_MOST_RECORDS)
        try:
            split = Split(name, open_dataset(data, name, noted), yolo)
        except FineSpotError as error:
            first = first or error
            what = f"{error.what}; {error.hint}" if error.hint else error.what
            unreadable[name] = Finding("unreadable", what, str(error.where or data))
            continue
        _hand_on(noted, split)
        opened.append(split)
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


def _hand_on(noted: Findings, split: Split) -> None:
    """Note what the reader noted, refused records under the kinds that they are."""
    names: dict[str, dict[str, str]] = {}
    stems = {_stem(split.dataset.path(index)) for index in range(len(split.dataset))}
    folded = {stem.casefold() for stem in stems}
    for one in noted:
        kind, what = (one.kind, one.what) if one.kind != "record" else _refused(one, names)
        if kind == "orphan" and _stem(one.where) not in stems and _stem(one.where).casefold() in folded:
            kind, what = "case", "the label file and its picture differ in upper and lower case"
        split.findings.add(kind, what, one.where, "" if kind in _WITHOUT_PICTURE else one.picture)
    for kind, count in noted.counts.items():
        if count > noted.most:
            split.findings.counts[kind] = split.findings.counts.get(kind, 0) + count - noted.most


def _refused(one: Finding, names: dict[str, dict[str, str]]) -> tuple[str, str]:
    """The kind of a refused record and its words; `names` keeps the names of folders that were looked into."""
    if one.picture and one.where == one.picture:
        return "broken", one.what
    match, kind = next(((found, kind) for words, kind in _WORDS if (found := words.match(one.what))), (None, "record"))
    if kind == "missing" and match is not None:
        for folder in (match["folders"] or "").split(", "):
            place = Path(folder, match["name"])
            other = _names(str(place.parent), names).get(place.name.casefold())
            if other is not None:
                return "case", f"expected {match['name']} but the file is called {other}"
    return kind, one.what


def _names(folder: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    """The file names of a folder by what they are without case."""
    if folder not in known:
        known[folder] = {name.casefold(): name for name in os.listdir(folder)} if os.path.isdir(folder) else {}
    return known[folder]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
