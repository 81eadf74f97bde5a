"""The picture files that exports of annotation tools mean, and the ids of pictures.

An export says what a picture was called where it was labelled; the folder that comes with it may be another, and so
may the extension. What is found in another way than by its path is found only where one file fits best.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from finespot.data.builder import Builder, counted
from finespot.data.formats.missing import MissingPictures
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS, find_images


def image_ids(pictures: Sequence[str]) -> list[str]:
    """Stems, as result files name pictures; where two are equal, paths below the common folder.

    Where pictures differ in their extension alone (a.jpg beside a.png), all keep it.
    """
    stems = [os.path.splitext(os.path.basename(picture))[0] for picture in pictures]
    if max(Counter(stems).values(), default=0) <= 1:
        return stems
    common = os.path.commonpath([os.path.dirname(picture) for picture in pictures])
    paths = [os.path.relpath(picture, common).replace(os.sep, "/") for picture in pictures]
    without = [os.path.splitext(path)[0] for path in paths]
    return without if len(set(without)) == len(without) else paths


class NamedPictures:
    """Finds pictures below a folder by what an export calls them."""

    def __init__(self, root: Path, builder: Builder) -> None:
        self._root, self._builder = root, builder
        self._missing = MissingPictures(builder)
        self._tables: tuple[dict[str, list[str]], dict[str, list[str]]] | None = None
        self._others: list[str] = []
        self._claimed: dict[str, str] = {}

    def find(self, names: Sequence[str], folders: Sequence[Path], where: str) -> str | None:
        """The absolute path of a picture that goes by one of `names` (paths with `/` or `\\`).

        It is looked for at these paths below `folders`, then by its file name anywhere below the root, then by its
        stem (the frames of a video are often named without an extension). Refused, which gives None where findings
        are gathered, is a record whose picture does not exist, may be one of several, or is that of another record.
        """
        names = [name.replace("\\", "/") for name in names if name]
        with self._builder.guard(where):
            path = _at(names, folders) or self._below(names, where)
            if path is None:
                name = names[0] if names else "(no name)"
                self._missing.refuse(name, folders, where, f"looked below {self._root}")
            elif path in self._claimed:
                what = f"{path} is also the picture of another record"
                raise FineSpotError(what, where=where, hint=self._claimed[path])
            else:
                self._claimed[path] = where
                return path
        return None

    def note(self) -> None:
        """Say how many pictures have another extension than the export says."""
        if self._others:
            text = counted(len(self._others), "1 picture has another extension", "pictures have other extensions")
            self._builder.notes.append(f"{text} than the labels say ({self._others[0]})")

    def _below(self, names: Sequence[str], where: str) -> str | None:
        if self._tables is None:
            self._tables = defaultdict(list), defaultdict(list)
            for found in find_images(self._root):
                path = os.path.abspath(found)
                self._tables[0][os.path.basename(path)].append(path)
                self._tables[1][os.path.splitext(os.path.basename(path))[0]].append(path)
        by_name, by_stem = self._tables
        for name in names:
            if same := _best(by_name.get(os.path.basename(name), []), name, where):
                return same
        for name in names:
            stem, extension = os.path.splitext(os.path.basename(name))
            known = extension.lower() in EXTENSIONS
            if other := _best(by_stem.get(stem if known else stem + extension, []), name, where):
                if known:
                    self._others.append(f"{os.path.basename(other)} for {os.path.basename(name)}")
                return other
        return None


def _at(names: Sequence[str], folders: Sequence[Path]) -> str | None:
    for folder in folders:
        for name in names:
            path: str = os.path.abspath(os.path.join(folder, name))
            if os.path.isfile(path):
                return path
    return None


def _best(paths: Sequence[str], name: str, where: str) -> str | None:
    """The path that agrees with a name in the most folders."""
    if len(paths) < 2:
        return paths[0] if paths else None
    folders = os.path.dirname(name).split("/")
    agreeing = [_equal_at_end(os.path.dirname(path).split(os.sep), folders) for path in paths]
    best = [path for path, count in zip(paths, agreeing) if count == max(agreeing)]
    if len(best) > 1:
        raise FineSpotError(f"expected one picture called {name} but got {best[0]} and {best[1]}", where=where)
    return best[0]


def _equal_at_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other)):
        if left != right:
            break
        count += 1
    return count
