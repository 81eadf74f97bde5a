"""The data YAML of the YOLO family: where the pictures of each split lie and what the classes are called.

Keys and rules as the Ultralytics documentation describes them. Differs: `path` is relative to the YAML file first
and to the working directory second, and which one was used is noted; a `download` script is never run; names are
read as they are written (`no` and `007` stay text, where YAML 1.1 makes a truth value and a number of them); a key
that occurs twice is refused, where others keep the last. Besides train..., val... and test... every key is a split
whose value is an existing folder or list file, because data sets of other layouts have splits of other names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finespot.data.builder import Builder, no_split
from finespot.data.formats.missing import MissingPictures
from finespot.data.formats.splits import ordered
from finespot.data.formats.text import read_text
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS, find_images

_KNOWN_SPLITS = ("train", "val", "test")
_NO_FOLDING = 1 << 30
_NO_SPLITS = ("path", "names", "nc", "channels", "download", "validation")


@dataclass(frozen=True)
class DataYaml:
    """A data YAML as read: class names, split name -> value as written, root folder, findings."""

    file: Path
    names: tuple[str, ...]
    splits: Mapping[str, Any]
    root: Path
    notes: tuple[str, ...]

    def value(self, split: str) -> list[str]:
        """The folders and files that a split names."""
        value = self.splits.get(split)
        if value is None:
            raise no_split(split, list(self.splits), self.file)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) and one for one in values):
            raise FineSpotError(f"expected a folder or file, or a list of these, as '{split}'", where=self.file)
        return values


def read_data_yaml(file: Path, root: Path | None = None) -> DataYaml:
    """Read a data YAML and check its classes; `notes` say what was found on the way.

    `root` stands in for what the YAML says under `path`.

    Raises
    ------
    FineSpotError
        The file is missing or no YAML mapping, names are missing, doubled or do not fit `nc`, the root is missing.
    """
    content = _load(file)
    names = _names(content, file)
    notes: list[str] = []
    if "download" in content:
        notes.append(f"{file.name} has a download entry; it is never run")
    root_notes: list[str] = []
    if root is None:
        root = _root(str(content.get("path") or ""), file, root_notes)
    elif path := content.get("path"):
        root_notes.append(f"path '{path}' does not exist; {root} is used")
    splits = {}
    for key, value in content.items():
        name = "val" if key == "validation" and "val" not in content else key
        if value and (name.startswith(_KNOWN_SPLITS) or _is_split(name, value, root)):
            splits[name] = value
        if name != key:
            notes.append(f"{file.name} says 'validation'; read as 'val'")
    splits = {name: splits[name] for name in ordered(splits)}
    return DataYaml(file, names, splits, root, (*notes, *root_notes))


def _is_split(key: str, value: object, root: Path) -> bool:
    """Whether a key of another name than train..., val... or test... names a split."""
    if key in _NO_SPLITS or not isinstance(value, str):
        return False
    return os.path.isdir(root / value) or (value.endswith(".txt") and os.path.isfile(root / value))


def data_yaml_text(names: Sequence[str], places: Mapping[str, str]) -> str:
    """A data YAML without `path`, so that the folder can be moved; `places` maps splits to folders or lists.

    Names are quoted, so that every reader takes them as text. They form a list, which older readers need too.

    Raises
    ------
    FineSpotError
        A split has the name of another key.
    """
    for split in places:
        if split in _NO_SPLITS:
            raise FineSpotError(f"a data YAML cannot hold a split named '{split}'", hint="give the split another name")
    head = yaml.safe_dump(dict(places), sort_keys=False, allow_unicode=True, width=_NO_FOLDING) if places else ""
    rows = [f"- {_quoted(name)}  # {number}\n" for number, name in enumerate(names)]
    return f"{head}nc: {len(names)}\nnames:\n{''.join(rows)}"


def _quoted(text: str) -> str:
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=_NO_FOLDING)
    return quoted.rstrip("\n")


def split_place(data: DataYaml, value: str, notes: list[str]) -> Path:
    """The existing folder or file that one value of a split means, relative to the root."""
    place = data.root / value
    if os.path.exists(place):
        return place
    stripped = data.root / value[3:]
    if value.startswith("../") and os.path.exists(stripped):
        notes.append(f"'{value}' does not exist; '{value[3:]}' is used")
        return stripped
    raise FineSpotError(f"'{value}' does not exist", where=data.file, hint=f"expected it below {data.root}")


def split_pictures(data: DataYaml, place: Path, builder: Builder) -> list[str]:
    """Absolute paths of the pictures below a folder or in a list file; listed ones that do not exist are refused."""
    if place.is_dir():
        found = [os.path.abspath(path) for path in find_images(place)]
        if not found:
            raise FineSpotError(f"no pictures below {place}", where=data.file)
        return found
    if place.suffix.lower() in EXTENSIONS:
        return [os.path.abspath(place)]
    return _listed(data, place, builder)


def _listed(data: DataYaml, file: Path, builder: Builder) -> list[str]:
    """Pictures named in a text file, one path a line."""
    found = []
    missing = MissingPictures(builder)
    names = [(f"{file}:{number}", line.strip()) for number, line in enumerate(read_text(file).splitlines(), 1)]
    for where, name in names:
        if not name:
            continue
        # "./" means the list's own folder; other tools take the rest from the working directory, so that is last.
        # Annotation tools write "data/" for the folder itself.
        candidates = [file.parent / name, data.root / name, data.root / name.removeprefix("data/"), Path(name)]
        path = next((one for one in candidates if os.path.isfile(one)), None)
        if path is None:
            missing.refuse(name, [file.parent, data.root], where)
        else:
            found.append(os.path.abspath(path))
    if not any(name for _, name in names):
        raise FineSpotError("expected a list of pictures but the file is empty", where=file)
    return found


class _Loader(yaml.BaseLoader):
    """All scalars as text, so that nothing is built; a key twice in one mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' occurs twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FineSpotError("expected a data YAML but there is no such file", where=file)
    try:
        content = yaml.load(read_text(file), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise FineSpotError(f"no valid YAML ({getattr(error, 'problem', None) or error})", where=where) from error
    except RecursionError as error:
        raise FineSpotError("no valid YAML (nested too deeply)", where=file) from error
    if not isinstance(content, dict):
        raise FineSpotError("expected a mapping with train, val and names", where=file)
    return content


def _names(content: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    names = content.get("names")
    if not names:
        raise FineSpotError("expected class names under 'names' but got none", where=file)
    if isinstance(names, dict):
        try:
            by_id = {int(key): value for key, value in names.items()}
        except ValueError:
            raise FineSpotError("expected class ids as keys of 'names'", where=file) from None
        if sorted(by_id) != list(range(len(names))):
            raise FineSpotError(
                f"expected the ids 0 to {len(names) - 1} in 'names' but got {sorted(by_id)}", where=file
            )
        names = [by_id[number] for number in range(len(by_id))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise FineSpotError("expected 'names' as a list of names or as a mapping from id to name", where=file)
    doubled = sorted(name for name, times in Counter(names).items() if times > 1)
    if doubled:
        raise FineSpotError(f"class names must differ, but {', '.join(doubled)} occurs more than once", where=file)
    count = content.get("nc")
    if count is not None and str(count).strip() != str(len(names)):
        raise FineSpotError(f"nc is {count}, but there are {len(names)} names", where=file)
    return tuple(names)


def _root(path: str, file: Path, notes: list[str]) -> Path:
    beside = file.parent / path
    if not path or Path(path).is_absolute():
        if not os.path.isdir(beside):
            raise FineSpotError(f"the folder under 'path' does not exist: {path}", where=file)
        return beside
    for root, what in ((beside, "the YAML file"), (Path(path), "the working directory")):
        if os.path.isdir(root):
            notes.append(f"path '{path}' is taken relative to {what}: {os.path.abspath(root)}")
            return root
    raise FineSpotError(
        f"the folder under 'path' does not exist: {path}",
        where=file,
        hint=f"looked beside the YAML file and in the working directory {os.getcwd()}",
    )
