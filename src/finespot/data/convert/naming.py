"""File names for pictures that come from several folders into one.

A picture keeps its name where it can. A layout with a label file a picture needs names that differ in more than their
extension, and some file systems do not tell `A.jpg` from `a.jpg`; so where two stems of a target folder are equal,
letter case aside, all its pictures get the folders in front that they come from, below the one they have in common:
`seq1/0001.jpg` becomes `seq1_0001.jpg`. What is still equal gets `_2`, `_3` behind. A window of a file is called
after its corner, `P0001_600_1200.png`.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from finespot.data.builder import bytewise
from finespot.data.dataset import Dataset
from finespot.data.formats.layout import Writable
from finespot.structures import Window

Place = tuple[int, int]  # data set and picture


def file_names(
    layout: Writable, datasets: Sequence[Dataset], reencoded: Sequence[Sequence[bool]]
) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """A file name for each picture of each data set, and the old path of each target whose name had to change.

    `reencoded` says which pictures are encoded anew, and so may need another extension.
    """
    folders: dict[str, list[Place]] = defaultdict(list)
    for number, dataset in enumerate(datasets):
        folder = str(PurePosixPath(layout.picture(dataset.split, "picture.jpg")).parent)
        folders[folder] += [(number, index) for index in range(len(dataset))]
    names: dict[Place, str] = {}
    changed: dict[str, str] = {}
    for places in folders.values():
        places.sort(key=lambda place: (place[0], bytewise(datasets[place[0]].path(place[1]))))
        paths = [datasets[number].path(index) for number, index in places]
        own = [_stem(path) + _corner(datasets[number].window(index)) for path, (number, index) in zip(paths, places)]
        for (number, index), path, old, stem in zip(places, paths, own, _unique(own, paths)):
            extension = os.path.splitext(path)[1]
            name = stem + (encoded_extension(extension) if reencoded[number][index] else extension)
            names[number, index] = name
            if stem != old:
                changed[layout.picture(datasets[number].split, name)] = path
    return [tuple(names[number, i] for i in range(len(dataset))) for number, dataset in enumerate(datasets)], changed


def encoded_extension(extension: str) -> str:
    """The extension under which a picture is encoded anew: JPEG stays JPEG, all else becomes PNG without loss."""
    return extension if extension.lower() in (".jpg", ".jpeg", ".png") else ".png"


def common_folder(paths: Sequence[str]) -> str:
    """The deepest folder that all files lie in or below."""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _unique(stems: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Stems that differ, letter case aside."""
    if max(Counter(map(_folded, stems)).values()) > 1:
        root = common_folder(paths)
        fronts = [os.path.relpath(os.path.dirname(path), root).replace(os.sep, "_") for path in paths]
        stems = [stem if front == os.curdir else f"{front}_{stem}" for front, stem in zip(fronts, stems)]
    taken: set[str] = set()
    unique = []
    for stem in stems:
        name, count = stem, 1
        while _folded(name) in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(_folded(name))
        unique.append(name)
    return unique


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _corner(window: Window | None) -> str:
    return "" if window is None else f"_{window[0]}_{window[1]}"


def _folded(stem: str) -> str:
    """What file systems that ignore letter case, or compose accents, take for the same."""
    return unicodedata.normalize("NFC", stem).casefold()
